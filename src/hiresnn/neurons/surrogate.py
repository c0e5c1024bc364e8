"""Surrogate gradients: what replaces the derivative of a spike in the backward pass (Eq. 5).

A spike is a step of z = u / v_t - 1, so its derivative is zero almost everywhere. Training and attacks replace it by a
rule: a function z -> d spike / d z, applied element by element. The rule is the trainer's choice; an attacker is free
to use another one, see `gradient_rule`.

z has no unit: -1 is an empty membrane, 0 the threshold, 1 twice the threshold. Widths are in units of z, sharpness and
decay per unit of z; all are above 0. A constant factor does not change the sign of an attack's gradient within one
layer, but it weighs the paths of a residual network, and of time, against each other.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from hiresnn.errors import UsageError

Surrogate = Callable[[Tensor], Tensor]
"""A rule: normalised membrane z of any shape -> d spike / d z, same shape. Hashable, without state."""


@dataclass(frozen=True)
class Positive:
    """A rule whose numbers must all be above 0, or UsageError is raised."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and not isinstance(value, bool) and not value > 0:
                raise UsageError(f"{type(self).__name__} rule: {field.name} is {value}; it must be above 0.")


@dataclass(frozen=True)
class Linear(Positive):
    """The paper's rule (Eq. 5, Bellec et al. 2018): gamma * max(0, 1 - abs(z) / width).

    Args:
        gamma: height at the threshold, the damping factor of Eq. 5.
        width: distance from the threshold, in units of it, at which the gradient vanishes.
    """

    gamma: float = 0.3
    width: float = 1.0

    def __call__(self, z: Tensor) -> Tensor:
        return self.gamma * torch.clamp(1 - z.abs() / self.width, min=0)


def triangular(width: float = 1.0) -> Linear:
    """The linear rule of unit area, max(0, 1 - |z| / width) / width (Bellec et al. 2018); width above 0."""
    if not width > 0:
        raise UsageError(f"triangular rule: width is {width}; it must be above 0.")
    return Linear(gamma=1 / width, width=width)


@dataclass(frozen=True)
class Arctan(Positive):
    """(alpha / 2) / (1 + (pi alpha z / 2)^2), the derivative of an arctan of unit height; never zero."""

    alpha: float = 2.0

    def __call__(self, z: Tensor) -> Tensor:
        return (self.alpha / 2) / (1 + (math.pi / 2 * self.alpha * z).square())


@dataclass(frozen=True)
class Sigmoid(Positive):
    """k s(kz) (1 - s(kz)), the derivative of the logistic function s, with sharpness k."""

    k: float = 4.0

    def __call__(self, z: Tensor) -> Tensor:
        height = torch.sigmoid(self.k * z)
        return self.k * height * (1 - height)


@dataclass(frozen=True)
class Exponential(Positive):
    """height * exp(-gamma |z|). STDB has height 0.3, Ozdenizci and Legenstein 2024 have height = gamma."""

    gamma: float = 2.0
    height: float = 0.3

    def __call__(self, z: Tensor) -> Tensor:
        return self.height * torch.exp(-self.gamma * z.abs())


@dataclass(frozen=True)
class Rectangular(Positive):
    """1 / width where |z| < width / 2, else 0 (Wu et al. 2018)."""

    width: float = 1.0

    def __call__(self, z: Tensor) -> Tensor:
        return (z.abs() < self.width / 2).to(z.dtype) / self.width


@dataclass(frozen=True)
class Erfc(Positive):
    """exp(-z^2 / (2 sigma^2)) / (sqrt(2 pi) sigma), the derivative of a Gaussian error function (Fang et al. 2021)."""

    sigma: float = 0.5

    def __call__(self, z: Tensor) -> Tensor:
        return torch.exp(-z.square() / (2 * self.sigma**2)) / (math.sqrt(2 * math.pi) * self.sigma)


@dataclass(frozen=True)
class StraightThrough:
    """Identity gradient (straight-through estimator, Bengio et al. 2013)."""

    def __call__(self, z: Tensor) -> Tensor:
        return torch.ones_like(z)
