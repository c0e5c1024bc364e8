"""Packages that only exports and imports need, loaded when a user asks for one of these."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from hiresnn.errors import UsageError


def optional(name: str, extra: str) -> Any:
    """Import and return a package; a UsageError names the `extra` of hiresnn that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"this needs {name}, which cannot be imported ({error}); run pip install 'hiresnn[{extra}]'."
        ) from None


@contextlib.contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Silence what a package prints and warns of, and what its loggers say below an error; an error still raises."""
    levels = {logger: logger.level for logger in map(logging.getLogger, loggers)}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            for logger in levels:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in levels.items():
                logger.setLevel(level)
