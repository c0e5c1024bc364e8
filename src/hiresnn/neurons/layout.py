"""Rows as [T, n] in the order of memory, and back: a scan follows memory, and never permutes it."""

from __future__ import annotations

import torch
from torch import Tensor


def layout_of(rows: Tensor) -> torch.memory_format:
    """Channels-last where `rows` [T*B, C, H, W] is laid out so; contiguous otherwise."""
    if rows.dim() == 4 and rows.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def flat(rows: Tensor, layout: torch.memory_format, shape: tuple[int, ...]) -> Tensor:
    """`rows` as `shape`, such as [T, n] or [n], in memory order; without a copy where the layout is as expected."""
    rows = rows.contiguous(memory_format=layout)
    return (rows.permute(0, 2, 3, 1) if layout is torch.channels_last else rows).reshape(shape)


def folded(values: Tensor, layout: torch.memory_format, shape: torch.Size) -> Tensor:
    """Inverse of `flat`: back to `shape` in the same layout."""
    if layout is torch.channels_last:
        batch, channels, height, width = shape
        return values.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
    return values.reshape(shape)
