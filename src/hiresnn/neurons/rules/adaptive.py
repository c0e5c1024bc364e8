"""Rules that take their width from the membranes: ASSG during an attack, PDSG within a layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from hiresnn.errors import UsageError
from hiresnn.neurons.rules.layer_rules import ThroughTime


@dataclass(frozen=True, eq=False)
class ASSG(ThroughTime):
    """Adaptive sharpness (Wang et al., CVPR 2026): an arctan whose sharpness adapts to each membrane.

    For each neuron, sample and step, with every backward pass of an attack:
    M = decay M + (1 - decay) |z|; D = decay D + (1 - decay) ||z| - M|, from 0;
    alpha = a / (M + relax D + 1e-4), a = 2 tan(pi vanishing / 2) / pi;
    d spike / d z = (alpha / 2) / (1 + (pi alpha z / 2)^2).

    The published M starts at 1, of which decay^k is left after k backward passes. By default M starts from |z| of the
    first pass. Neither start is clearly stronger (docs/attacks.md).

    The statistics belong to one layer and one attack. `gradient_rule` gives every layer a fresh rule each time it is
    entered, and they restart when the shape of the batch changes. So enter it once per attack, with an attack that
    keeps its batch together (SA-PGD, APGD).

    Args:
        vanishing: expected share of the gradient that vanishes, in (0, 1).
        relax: weight of the deviation D, at least 0.
        decay: memory of both averages, in [0, 1).
        start: what M starts from, at least 0: 1 as published, 0 for |z| of the first pass.
        through_reset, cut_time: see `ThroughTime`.
    """

    vanishing: float = 0.85
    relax: float = 1.5
    decay: float = 0.9
    start: float = 0.0
    statistics: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.vanishing < 1:
            raise UsageError(f"ASSG rule: vanishing is {self.vanishing}; it must lie in (0, 1).")
        if not 0 <= self.decay < 1:
            raise UsageError(f"ASSG rule: decay is {self.decay}; it must lie in [0, 1).")
        for name in ("relax", "start"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"ASSG rule: {name} is {getattr(self, name)}; it must not be negative.")

    def fresh(self) -> ASSG:
        """Return a rule with the same options and without statistics."""
        return replace(self)

    def sharpness(self, z: Tensor) -> Tensor:
        """Add the membranes of one more backward pass to the statistics; return alpha, [T, B, ...]."""
        size, known = z.abs(), self.statistics
        if "level" not in known or known["level"].shape != z.shape:
            known["level"] = torch.full_like(z, self.start) if self.start else size
            known["spread"] = torch.zeros_like(z)
        known["level"] = torch.lerp(size, known["level"], self.decay)
        known["spread"] = torch.lerp((size - known["level"]).abs(), known["spread"], self.decay)
        width = known["level"] + self.relax * known["spread"] + 1e-4
        return 2 * math.tan(math.pi / 2 * self.vanishing) / math.pi / width

    def slope(self, z: Tensor) -> Tensor:
        """See `ThroughTime`."""
        alpha = self.sharpness(z)
        return (alpha / 2) / (1 + (math.pi / 2 * alpha * z).square())


@dataclass(frozen=True)
class PDSG(ThroughTime):
    """Potential-dependent (Lun et al., CVPR 2025): a Gaussian whose width is the channel's standard deviation of z.

    d spike / d z = exp(-(z - shift sigma)^2 / (2 sigma^2)) / (sqrt(2 pi) sigma), with sigma the standard deviation of z
    over the batch, the places and the steps so far: per channel of a feature map, per neuron of a linear layer, and 1
    where nothing varies. So the gradient of a sample depends slightly on the batch that it is in.

    Args:
        shift: centre of the Gaussian in units of sigma.
        through_reset, cut_time: see `ThroughTime`.
    """

    shift: float = 0.5

    def slope(self, z: Tensor) -> Tensor:
        """See `ThroughTime`."""
        sigma = torch.stack([_spread(z[: t + 1]) for t in range(len(z))])
        return torch.exp(-(z / sigma - self.shift).square() / 2) / (math.sqrt(2 * math.pi) * sigma)


def _spread(z: Tensor) -> Tensor:
    """Return the standard deviation of z [time, batch, channel, ...] per channel, to broadcast over [batch, ...]."""
    averaged = [d for d in range(z.dim()) if d != 2]
    sigma = z.std(averaged, correction=min(1, math.prod(z.shape[d] for d in averaged) - 1), keepdim=True)[0]
    return torch.where(sigma > 0, sigma, 1.0)
