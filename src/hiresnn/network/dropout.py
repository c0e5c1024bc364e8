"""Dropout with one mask a sample and window, shared by all timesteps.

A fresh mask at every step would be averaged away by the sum over time, and would regularise nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.neurons import Window


class SharedDropout(nn.Module):
    """Zeroes a unit with probability `p` at all timesteps of a window, and scales the rest by 1 / (1 - p)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise UsageError(f"dropout is {p}; it must lie in [0, 1).")
        self.p = p

    def forward(self, rows: Tensor, window: Window) -> Tensor:
        """[T*B, ...] (or [B, ...]) -> the same shape; in eval mode the input itself."""
        if not self.training or self.p == 0:
            return rows
        mask = window.masks.get(self)
        if mask is None:
            mask = torch.empty_like(rows[: window.batch]).bernoulli_(1 - self.p).div_(1 - self.p)
            if window.carried:
                window.masks[self] = mask
        return (window.by_step(rows) * mask).flatten(0, 1)

    def extra_repr(self) -> str:
        """Values shown when a network is printed."""
        return f"p={self.p}"
