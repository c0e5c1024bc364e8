"""What torchrun tells a process in its environment; torch is not imported for it."""

from __future__ import annotations

import os


def processes() -> int:
    """How many processes work together; 1 without WORLD_SIZE, whatever else an earlier program left behind."""
    size = os.environ.get("WORLD_SIZE", "")
    return max(1, int(size)) if size.isdecimal() else 1


def leads() -> bool:
    """Whether this process speaks for all: it is alone, or rank 0."""
    return processes() == 1 or os.environ.get("RANK", "0") == "0"
