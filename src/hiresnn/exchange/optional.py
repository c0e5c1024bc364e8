"""Packages that only an export needs, imported when a user asks for that export."""

from __future__ import annotations

import importlib
from typing import Any

from hiresnn.errors import UsageError


def optional(name: str, extra: str) -> Any:
    """Import and return a package.

    Args:
        name: of the package, such as "onnxruntime".
        extra: of hiresnn that installs it, such as "onnx".

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"this export needs {name}, which cannot be imported ({error}); run pip install 'hiresnn[{extra}]'."
        ) from None
