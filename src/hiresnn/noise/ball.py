"""The L-infinity ball: steps and one projection, shared by kappa and by every attack (Eq. 3, 4, 6)."""

from __future__ import annotations

from torch import Tensor


def moved(perturbation: Tensor, by: Tensor, bound: float) -> Tensor:
    """clip(perturbation + by, -bound, bound), in pixel units: a step of any shape and its projection."""
    return (perturbation + by).clamp(-bound, bound)


def ascend(perturbation: Tensor, gradient: Tensor, step: float | Tensor, bound: float) -> Tensor:
    """clip(perturbation + step * sign(gradient), -bound, bound), in pixel units.

    Eq. 6 is this with step eps_s and bound eps_t; Eq. 4 with step alpha and bound eps, before its clip to
    [0, 1]; Eq. 3 is one such step from zero with step = bound = eps. `step` may be a tensor, one a sample.
    """
    return moved(perturbation, step * gradient.sign(), bound)


def perturbed(images: Tensor, perturbation: Tensor) -> Tensor:
    """images + perturbation, clipped to the valid range [0, 1]."""
    return (images + perturbation).clamp(0, 1)
