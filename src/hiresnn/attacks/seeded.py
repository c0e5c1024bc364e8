"""Random draws that can be repeated, and a caller who keeps his own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators for a while; afterwards they go on from where they were.

    The CPU's, and those of all GPUs. GPUs that were not in use before start, when they are, from the caller's seed.
    """
    used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    try:
        with torch.random.fork_rng(range(torch.cuda.device_count()) if used else (), device_type="cuda"):
            torch.manual_seed(seed)
            yield
    finally:
        if not used:  # there was no state to come back to, and `seed` would stay in force
            torch.cuda.manual_seed_all(torch.initial_seed())
