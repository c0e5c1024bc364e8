"""2x2 average pooling of spikes in one pass over memory, forward and backward.

PyTorch's own kernel for channels-last tensors is slow on a CPU, most of all in bfloat16: its backward pass alone costs
as much as that of the neurons before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hiresnn.neurons import Window
from hiresnn.neurons.compiled import kernel
from hiresnn.neurons.layout import spread


class AveragePool(nn.Module):
    """Mean over windows of 2x2 pixels: [N, C, H, W] -> [N, C, H // 2, W // 2]; odd edges are left out.

    Where the window runs compiled kernels, a tensor of even size in channels-last memory is pooled by one.
    """

    def forward(self, rows: Tensor, window: Window) -> Tensor:
        """Pool rows, with or without time."""
        return _pool(rows) if window.fused and self.fits(rows) else F.avg_pool2d(rows, 2)

    @staticmethod
    def fits(rows: Tensor) -> bool:
        """Tell whether `rows` can be pooled in one pass: [N, C, H, W] of even size in channels-last memory."""
        even = rows.dim() == 4 and rows.shape[2] % 2 == 0 and rows.shape[3] % 2 == 0
        return even and rows.is_contiguous(memory_format=torch.channels_last)

    @staticmethod
    def replaces(layer: nn.Module | None) -> bool:
        """Tell whether this class computes the same as `layer`."""
        if not isinstance(layer, nn.AvgPool2d) or layer.ceil_mode or layer.divisor_override:
            return False
        return layer.kernel_size in (2, (2, 2)) and layer.stride in (None, 2, (2, 2)) and layer.padding in (0, (0, 0))


def pool_cells(cells: Tensor) -> Tensor:
    """[rows, 2, columns, 2, channels] -> [rows, columns, channels]: the mean of the four."""
    wide = cells.to(torch.promote_types(cells.dtype, torch.float32))
    total = wide[:, 0, :, 0] + wide[:, 0, :, 1] + wide[:, 1, :, 0] + wide[:, 1, :, 1]
    return (total / 4).to(cells.dtype)


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        count, channels, height, width = rows.shape
        cells = rows.permute(0, 2, 3, 1).reshape(count * height // 2, 2, width // 2, 2, channels)
        pooled: Tensor = kernel(pool_cells, True)(cells)
        return pooled.view(count, height // 2, width // 2, channels).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return spread(grad)


_pool = cast("Callable[[Tensor], Tensor]", _Pool.apply)
