"""How an image enters a spiking network: as it is at every step (direct), or as Poisson spikes (rate)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hiresnn.errors import UsageError, closest
from hiresnn.neurons import Window

Encoding = Literal["direct", "poisson"]
ENCODINGS: tuple[Encoding, ...] = ("direct", "poisson")


class Encoder(nn.Module):
    """Encode normalised images [B, C, H, W], as the layer behind the normalisation.

    Direct: the image itself, [B, C, H, W], which has no time, so that the first layer computes its current once.
    Poisson: [T*B, C, H, W], at every step and pixel a spike of sign x with probability min(|x|, 1), drawn anew at every
    call from `generator` (None: torch's global one); the gradient is that of the expectation, clip(x, -1, 1).

    Raises:
        UsageError: the encoding is unknown.
    """

    def __init__(self, encoding: Encoding = "direct") -> None:
        super().__init__()
        if encoding not in ENCODINGS:
            raise UsageError(f"encoding is {encoding!r}; {closest(encoding, ENCODINGS)}.")
        self.encoding: Encoding = encoding
        self.generator: torch.Generator | None = None

    def forward(self, images: Tensor, window: Window) -> Tensor:
        """Encode normalised images for `window.timesteps` steps."""
        if self.encoding == "direct":
            return images
        return _poisson_spikes(window.with_time(images), self.generator)

    def extra_repr(self) -> str:
        """Return the values to print."""
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
