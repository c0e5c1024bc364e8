"""Rows as [T, n] in the order of memory, and back: a scan follows memory, and never permutes it."""

from __future__ import annotations

import torch
from torch import Tensor

from hiresnn.neurons.compiled import kernel


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


def _quarters(grad: Tensor) -> Tensor:
    """[rows, columns, channels] -> [rows, 2, columns, 2, channels]: a quarter to each of the four."""
    rows, columns, channels = grad.shape
    return (grad / 4)[:, None, :, None, :].expand(rows, 2, columns, 2, channels).contiguous()


def spread(grad: Tensor) -> Tensor:
    """Gradient of the rows [N, C, 2h, 2w] from that of their means [N, C, h, w], channels-last."""
    count, channels, height, width = grad.shape
    pixels: Tensor = kernel(_quarters, True)(grad.permute(0, 2, 3, 1).reshape(count * height, width, channels))
    return pixels.view(count, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)
