"""Rules that take their width from the membranes they meet: ASSG over an attack's iterations, PDSG over a layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from hiresnn.errors import UsageError
from hiresnn.neurons.lif import Reset
from hiresnn.neurons.rules.layer import LayerRule, membranes, through_time


@dataclass(eq=False)
class ASSG(LayerRule):
    """Adaptive sharpness (Wang et al., CVPR 2026): an arctan as sharp as each membrane allows.

    For each neuron, sample and step, with every backward pass of an attack:
    M = decay M + (1 - decay) |z|, from 1; D = decay D + (1 - decay) ||z| - M|, from 0;
    alpha = a / (M + relax D + 1e-4), a = 2 tan(pi vanishing / 2) / pi;
    d spike / d z = (alpha / 2) / (1 + (pi alpha z / 2)^2).

    The statistics belong to one layer and one attack: `gradient_rule` gives every layer a fresh rule each time it is
    entered, and they begin anew when the batch changes its shape. So enter it once an attack, and attack with
    something that keeps its batch together (SA-PGD, APGD).

    Args:
        vanishing: expected share of the gradient that vanishes, in (0, 1).
        relax: weight of the deviation D, at least 0.
        decay: memory of both averages, in [0, 1).
        through_reset, cut_time: see `Unrolled`.
    """

    vanishing: float = 0.85
    relax: float = 1.5
    decay: float = 0.9
    through_reset: bool = False
    cut_time: bool = False
    level: Float[Tensor, "time batch ..."] | None = field(default=None, init=False, repr=False)
    spread: Float[Tensor, "time batch ..."] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.vanishing < 1:
            raise UsageError(f"ASSG rule: vanishing is {self.vanishing}; it must lie in (0, 1).")
        if not self.relax >= 0:
            raise UsageError(f"ASSG rule: relax is {self.relax}; it must not be negative.")
        if not 0 <= self.decay < 1:
            raise UsageError(f"ASSG rule: decay is {self.decay}; it must lie in [0, 1).")

    def fresh(self) -> ASSG:
        """The same options, no statistics yet."""
        return replace(self)

    def sharpness(self, z: Float[Tensor, "time batch ..."]) -> Float[Tensor, "time batch ..."]:
        """Take the membranes of one more iteration into the statistics; return alpha."""
        size = z.abs()
        if self.level is None or self.spread is None or self.level.shape != z.shape:
            self.level, self.spread = torch.ones_like(z), torch.zeros_like(z)
        self.level = torch.lerp(size, self.level, self.decay)
        self.spread = torch.lerp((size - self.level).abs(), self.spread, self.decay)
        return 2 * math.tan(math.pi / 2 * self.vanishing) / math.pi / (self.level + self.relax * self.spread + 1e-4)

    def scan_backward(
        self, current: Tensor, threshold: Tensor, leak: Tensor, residue: Tensor | None, grad: Tensor, reset: Reset
    ) -> Tensor:
        """See `LayerRule`."""
        z = membranes(current, threshold, leak, residue, reset)
        alpha = self.sharpness(z)
        slope = (alpha / 2) / (1 + (math.pi / 2 * alpha * z).square())
        options = {"through_reset": self.through_reset, "cut_time": self.cut_time}
        return through_time(slope, threshold, leak, grad, reset, **options)


@dataclass(frozen=True)
class PDSG(LayerRule):
    """Potential-dependent (Lun et al., CVPR 2025): a Gaussian as wide as the membranes of its channel are spread.

    d spike / d z = exp(-(z - sigma / 2)^2 / (2 sigma^2)) / (sqrt(2 pi) sigma), with sigma the standard deviation of z
    over batch, places and the steps so far: per channel of a feature map, over the whole layer elsewhere, and 1
    where nothing varies. A sample's gradient therefore depends, slightly, on the batch that it is in.

    Args:
        shift: centre of the Gaussian in units of sigma.
        through_reset, cut_time: see `Unrolled`.
    """

    shift: float = 0.5
    through_reset: bool = False
    cut_time: bool = False

    def scan_backward(
        self, current: Tensor, threshold: Tensor, leak: Tensor, residue: Tensor | None, grad: Tensor, reset: Reset
    ) -> Tensor:
        """See `LayerRule`."""
        z = membranes(current, threshold, leak, residue, reset)
        sigma = torch.stack([_spread(z[: t + 1]) for t in range(len(z))])
        slope = torch.exp(-(z / sigma - self.shift).square() / 2) / (math.sqrt(2 * math.pi) * sigma)
        options = {"through_reset": self.through_reset, "cut_time": self.cut_time}
        return through_time(slope, threshold, leak, grad, reset, **options)


def _spread(z: Tensor) -> Tensor:
    """Standard deviation of z [time, batch, ...], shaped to broadcast over [batch, ...]."""
    averaged = [d for d in range(z.dim()) if d != 2 or z.dim() == 3]
    sigma = z.std(averaged, correction=min(1, math.prod(z.shape[d] for d in averaged) - 1), keepdim=True)[0]
    return torch.where(sigma > 0, sigma, 1.0)
