"""Random draws that can be repeated, and a caller who keeps his own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators for a while; afterwards they go on from where they were.

    The CPU's, and those of all GPUs where CUDA is in use.
    """
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(gpus, device_type="cuda"):
        torch.manual_seed(seed)
        yield
