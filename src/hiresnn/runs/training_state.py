"""The state that a training resumes from, as bytes: sealed by a checksum, and read by a loader that runs no code."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hiresnn.errors import RunError
from hiresnn.runs.checkpoint import require_finite

SEAL = b"hiresnn-sha256:"
"""Precedes the SHA-256 at the end of a training state; version one wrote none."""


def resume_bytes(state: dict[str, Any]) -> bytes:
    """Return a training state (tensors, numbers, text, lists and dicts of them) as bytes for `read_resume`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    return content + SEAL + hashlib.sha256(content).digest()


def read_resume(path: Path) -> dict[str, Any]:
    """Read a training state. torch's loader is restricted to data, so the file cannot run code.

    Raises:
        RunError: the file is damaged, or a weight in it is not finite.
    """
    hint = "delete it to train from the start"
    try:
        content, seal, checksum = path.read_bytes().rpartition(SEAL)
        if not seal:
            content = checksum  # version one wrote no checksum
        elif checksum != hashlib.sha256(content).digest():
            raise ValueError
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about a foreign pickle before it refuses it
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}); {hint}.") from None
    if not isinstance(state, dict):
        raise RunError(f"{path} is no training state; {hint}.")
    weights = state.get("model")
    if isinstance(weights, dict):
        require_finite({k: v for k, v in weights.items() if isinstance(v, Tensor)}, str(path), hint)
    return state
