"""Dropout with one mask a sample and window, shared by all timesteps.

A fresh mask at every step would be averaged away by the sum over time, and would regularise nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.neurons import Window
from hiresnn.neurons.layout import folded, layout_of


class SharedDropout(nn.Module):
    """Zeroes a unit with probability `p` at all timesteps of a window, and scales the rest by 1 / (1 - p).

    With `channels`, whole channels of [B, C, ...] instead (`nn.Dropout2d`); single units where there are no places.
    """

    def __init__(self, p: float, *, channels: bool = False) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise UsageError(f"dropout is {p}; it must lie in [0, 1).")
        self.p, self.channels = p, channels

    def forward(self, rows: Tensor, window: Window) -> Tensor:
        """[T*B, ...] (or [B, ...]) -> the same shape; in eval mode the input itself."""
        mask = self.mask(rows[: window.batch], window)
        return rows if mask is None else (window.by_step(rows) * mask).flatten(0, 1)

    def mask(self, like: Tensor, window: Window) -> Tensor | None:
        """What units are multiplied by, as `like` [B, ...], drawn once for each window; None where nothing drops."""
        if not self.training or self.p == 0:
            return None
        mask = window.masks.get(self)
        if mask is None:
            mask = self._drawn(like)
            if window.carried:
                window.masks[self] = mask
        return mask

    def _drawn(self, like: Tensor) -> Tensor:
        # 16 random bits for each unit, four at a draw: bernoulli_ takes five times as long, 1 to 8 % of a training
        # step. The probability is met to 1 in 100,000.
        if self.channels and like.dim() > 2 and like[0, 0].numel() > 1:
            drawn = self._drawn(like.new_empty(like.shape[:2])).reshape(*like.shape[:2], *(1,) * (like.dim() - 2))
            return drawn.expand_as(like).contiguous(memory_format=layout_of(like))
        count, layout = like.numel(), layout_of(like)
        draws = torch.empty((count + 3) // 4, dtype=torch.int64, device=like.device).random_(-(2**63), None)
        of_all = max(1, round((1 - self.p) * 2**16))
        kept = draws.view(torch.int16)[:count] <= of_all - 1 - 2**15
        return folded(kept.to(like.dtype).div_(1 - self.p), layout, like.shape)

    def extra_repr(self) -> str:
        """Values shown when a network is printed."""
        return f"p={self.p}, channels={self.channels}"
