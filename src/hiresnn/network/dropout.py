"""Dropout with one mask per sample and window, shared by all timesteps.

A new mask at every step would be averaged away by the sum over time and would not regularise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.neurons import Window
from hiresnn.neurons.layout import folded, layout_of


class SharedDropout(nn.Module):
    """Set a unit to zero with probability `p` at all timesteps of a window, and scale the others by 1 / (1 - p).

    Args:
        p: in [0, 1).
        channels: drop whole channels of [B, C, ...], as `nn.Dropout2d` does; single units where there are no pixels.

    Attributes:
        name: of the layer in its network, for messages; `convert` sets it.

    Raises:
        UsageError: `p` is out of range.
    """

    def __init__(self, p: float, *, channels: bool = False) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise UsageError(f"dropout is {p}; it must lie in [0, 1).")
        self.p, self.channels, self.name = p, channels, "dropout"

    def forward(self, rows: Tensor, window: Window, timed: bool = True) -> Tensor:
        """Drop units of [T * rows per step, ...], or of the rows of one step where not `timed`; same shape."""
        mask = self.mask(rows[: window.rows_per_step(rows, timed, self.name)], window)
        if mask is None:
            return rows
        return (window.by_step(rows) * mask).flatten(0, 1) if timed else rows * mask

    def mask(self, like: Tensor, window: Window) -> Tensor | None:
        """Return the factors of the units, shaped as `like` [rows per step, ...]; None where nothing is dropped."""
        if not self.training or self.p == 0:
            return None
        mask = window.masks.get(self)
        if mask is None:
            mask = self._draw(like)
            if window.carried:
                window.masks[self] = mask
        return mask

    def _draw(self, like: Tensor) -> Tensor:
        # 16 random bits per unit, four units per draw: bernoulli_ takes five times as long, 1 to 8 % of a training
        # step. The probability is exact to 1 in 100,000.
        if self.channels and like.dim() > 2 and like[0, 0].numel() > 1:
            mask = self._draw(like.new_empty(like.shape[:2])).reshape(*like.shape[:2], *(1,) * (like.dim() - 2))
            return mask.expand_as(like).contiguous(memory_format=layout_of(like))
        count, layout = like.numel(), layout_of(like)
        bits = torch.empty((count + 3) // 4, dtype=torch.int64, device=like.device).random_(-(2**63), None)
        survivors = max(1, round((1 - self.p) * 2**16))  # of 2^16 equally likely values
        mask = bits.view(torch.int16)[:count] <= survivors - 1 - 2**15
        return folded(mask.to(like.dtype).div_(1 - self.p), layout, like.shape)

    def extra_repr(self) -> str:
        """Return the values to print."""
        return f"p={self.p}, channels={self.channels}"
