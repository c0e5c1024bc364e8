"""Layers of a spiking network that are no neurons: shared dropout, the encoder of images, and average pooling."""

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hiresnn.errors import UsageError, closest
from hiresnn.neurons import Window
from hiresnn.neurons.compiled import kernel
from hiresnn.neurons.layer import folded, layout_of, spread


class SharedDropout(nn.Module):
    """Set a unit to zero with probability `p` at all timesteps of a window, and scale the others by 1 / (1 - p).

    A new mask at every step would be averaged away by the sum over time and would not regularise.

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
        return f"p={self.p}, channels={self.channels}"


Encoding = Literal["direct", "poisson", "frames"]
ENCODINGS: tuple[Encoding, ...] = ("direct", "poisson", "frames")


class Encoder(nn.Module):
    """Encode normalised images [B, C, H, W], as the layer behind the normalisation, or event grids [B, T, P, H, W].

    Direct: the image itself, [B, C, H, W], which has no time, so that the first layer computes its current once.
    Poisson: [T*B, C, H, W], at every step and pixel a spike of sign x with probability min(|x|, 1), drawn anew at every
    call from `generator` (None: torch's global one); the gradient is that of the expectation, clip(x, -1, 1).
    Frames: [T*B, P, H, W], timestep t gets bin t of event grids, which must have as many bins as there are timesteps.

    Raises:
        UsageError: the encoding is unknown; in a call, the input is not what the encoding takes.
    """

    def __init__(self, encoding: Encoding = "direct") -> None:
        super().__init__()
        if encoding not in ENCODINGS:
            raise UsageError(f"encoding is {encoding!r}; {closest(encoding, ENCODINGS)}.")
        self.encoding: Encoding = encoding
        self.generator: torch.Generator | None = None

    def forward(self, images: Tensor, window: Window) -> Tensor:
        if (self.encoding == "frames") != (images.dim() == 5):
            takes = "event grids [B, T, P, H, W]" if self.encoding == "frames" else "images [B, C, H, W]"
            remedy = f'it was converted with encoding="{self.encoding}"'
            raise UsageError(f"the network takes {takes}, and got a tensor {list(images.shape)}; {remedy}.")
        if self.encoding == "direct":
            return images
        if self.encoding == "frames":
            if images.shape[1] != window.timesteps:
                raise UsageError(
                    f"the network runs for {window.timesteps} timesteps, and the event grids have {images.shape[1]} "
                    "bins; merge adjacent bins with hiresnn.data.rebin, or give the network as many timesteps."
                )
            return images.transpose(0, 1).flatten(0, 1)
        return _poisson_spikes(window.with_time(images), self.generator)

    def extra_repr(self) -> str:
        return repr(self.encoding)


class _PoissonSpikes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rates: Tensor, generator: torch.Generator | None) -> Tensor:
        ctx.save_for_backward(rates)
        if generator is None:
            draws = torch.rand_like(rates)
        else:
            draws = torch.rand(rates.shape, generator=generator, device=generator.device).to(rates)
        return torch.sign(rates) * (draws < rates.abs()).to(rates.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rates,) = ctx.saved_tensors
        return grad * (rates.abs() < 1), None


_poisson_spikes = cast("Callable[..., Tensor]", _PoissonSpikes.apply)


class AveragePool(nn.Module):
    """Mean over windows of 2x2 pixels: [N, C, H, W] -> [N, C, H // 2, W // 2]; odd edges are left out.

    Where the window runs compiled kernels, a tensor of even size in channels-last memory is pooled by one: PyTorch's
    own kernel is slow there on a CPU, and its backward pass alone costs as much as that of the neurons before it.
    """

    def forward(self, rows: Tensor, window: Window) -> Tensor:
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
