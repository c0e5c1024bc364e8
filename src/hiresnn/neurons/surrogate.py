"""Surrogate gradients: what replaces the derivative of a spike in the backward pass (Eq. 5).

A spike is a step of z = u / v_t - 1, so its derivative is zero almost everywhere. Training and attacks replace it by a
rule: a function z -> d spike / d z, applied element by element. The rule is the trainer's choice; an attacker is free
to use another one, see `gradient_rule` and neurons/rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from hiresnn.errors import UsageError

Surrogate = Callable[[Tensor], Tensor]
"""A rule: normalised membrane z of any shape -> d spike / d z, same shape. Hashable, without state."""


@dataclass(frozen=True)
class Linear:
    """The paper's rule (Eq. 5, Bellec et al. 2018): gamma * max(0, 1 - abs(z) / width).

    Args:
        gamma: height at the threshold, the damping factor of Eq. 5; above 0.
        width: distance from the threshold, in units of it, at which the gradient vanishes; above 0.
    """

    gamma: float = 0.3
    width: float = 1.0

    def __post_init__(self) -> None:
        for field, value in (("gamma", self.gamma), ("width", self.width)):
            if not value > 0:
                raise UsageError(f"Linear surrogate: {field} is {value}; it must be above 0.")

    def __call__(self, z: Tensor) -> Tensor:
        """Return d spike / d z at the normalised membrane z."""
        return self.gamma * torch.clamp(1 - z.abs() / self.width, min=0)
