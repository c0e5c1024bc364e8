"""Normalisation as the first layer of a network, so that images stay in [0, 1] everywhere outside it."""

import math
from collections.abc import Sequence
from typing import no_type_check

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hiresnn.errors import UsageError


class Normalise(nn.Module):
    """Subtract `mean` and divide by `std`, channel by channel.

    An attack that differentiates through this layer measures its bound in pixel units.

    Args:
        mean, std: one number per channel, in the units of the images, [0, 1]; they become buffers of [1, C, 1, 1].

    Raises:
        UsageError: the lengths differ, a number is not finite, or a std is not positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or len(mean) == 0:
            raise UsageError(
                f"mean has {len(mean)} and std has {len(std)} numbers; give one number per channel in both."
            )
        for channel, (centre, spread) in enumerate(zip(mean, std, strict=True)):
            if not math.isfinite(centre):
                raise UsageError(f"mean[{channel}] is {centre}; give a finite number.")
            if not (math.isfinite(spread) and spread > 0):
                raise UsageError(f"std[{channel}] is {spread}; give a finite number above 0.")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    @no_type_check  # torch.fx calls it with a Proxy, which a run-time check of the shapes would refuse
    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Scale images in [0, 1] to about zero mean and unit variance."""
        return (images - self.mean) / self.std

    def extra_repr(self) -> str:
        """Return the values to print."""
        return f"mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"
