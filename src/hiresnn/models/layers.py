"""Layers of an ANN: QCFS activations, and the normalisation that comes first, so that images stay in [0, 1] outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hiresnn.errors import UsageError

FIRST_THRESHOLD = 1.0
"""Threshold before training: a standard deviation behind a batch norm. It moves slowly, so a large one stays coarse."""
LEAST = 1e-3


class QCFS(nn.Module):
    """Quantised clipped ReLU with a learned threshold (Bu et al., ICLR 2022).

        y = threshold * clip(floor(levels * x / threshold + 1/2) / levels, 0, 1)

    The gradient passes straight through the rounding: with respect to x it is 1 where 0 <= x <= threshold, else 0; with
    respect to the threshold it is (y - x) / threshold there, 1 above and 0 below.

    `hiresnn.convert` makes it a LIF with this threshold. Over T = `levels` steps of constant input, a neuron that
    starts at half its threshold and does not leak sends exactly levels * y / threshold spikes.

    Args:
        levels: number of steps above 0, at least 1.
        threshold: first value, above 0.

    Example:
        >>> QCFS(4, threshold=1.0)(torch.tensor([-1.0, 0.1, 0.2, 0.9, 2.0])).tolist()
        [0.0, 0.0, 0.25, 1.0, 1.0]

    Raises:
        UsageError: a value is out of range.
    """

    def __init__(self, levels: int, threshold: float = FIRST_THRESHOLD) -> None:
        super().__init__()
        if levels < 1 or not threshold > 0:
            raise UsageError(
                f"QCFS: levels is {levels} and threshold is {threshold}; levels must be at least 1 and threshold "
                "above 0."
            )
        self.levels = levels
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))

    @no_type_check  # torch.fx may call it with a Proxy
    def forward(self, current: Tensor) -> Tensor:
        threshold = self.threshold.clamp(min=LEAST)
        scaled = (current / threshold).clamp(0, 1) * self.levels
        rounded = scaled + ((scaled + 0.5).floor() - scaled).detach()
        return rounded * (threshold / self.levels)

    def extra_repr(self) -> str:
        return f"levels={self.levels}, threshold={self.threshold.item():.4g}"


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
        if len(mean) != len(std) or not mean:
            raise UsageError(
                f"mean has {len(mean)} and std has {len(std)} numbers; give one number per channel in both."
            )
        if not (all(map(math.isfinite, mean)) and all(0 < number < math.inf for number in std)):
            raise UsageError(f"mean is {list(mean)} and std is {list(std)}; give finite numbers, those of std above 0.")
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(1, -1, 1, 1))

    @no_type_check  # torch.fx calls it with a Proxy, which a run-time check of the shapes would refuse
    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Scale images in [0, 1] to about zero mean and unit variance."""
        return (images - self.mean) / self.std

    def extra_repr(self) -> str:
        return f"mean={self.mean.flatten().tolist()}, std={self.std.flatten().tolist()}"


class OwnNetwork(nn.Module):
    """Images [B, C, H, W] in [0, 1] -> logits [B, K], by a network of the user.

    Args:
        network: the user's; it gets normalised images.
        spec: what describes it, in JSON types: name, source, num_classes, in_channels, height, width, normalise.
        mean, std: one number per channel, in [0, 1] units; None for no normalisation.

    Attributes:
        normalise: a `Normalise`, or None.
    """

    normalise: Normalise | None

    def __init__(
        self,
        network: nn.Module,
        spec: dict[str, Any],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.normalise = Normalise(mean, std) if mean is not None and std is not None else None
        self.network, self.spec = network, spec

    @no_type_check  # torch.fx calls it with a Proxy, which a run-time check of the shapes would refuse
    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch classes"]:
        return self.network(images if self.normalise is None else self.normalise(images))
