"""The L-infinity ball: one sign step and one projection, shared by kappa and by every attack (Eq. 3, 4, 6)."""

from __future__ import annotations

from torch import Tensor


def ascend(perturbation: Tensor, gradient: Tensor, step: float, bound: float) -> Tensor:
    """clip(perturbation + step * sign(gradient), -bound, bound), in pixel units.

    Eq. 6 is this with step eps_s and bound eps_t; Eq. 4 with step alpha and bound eps, before its clip to
    [0, 1]; Eq. 3 is one such step from zero with step = bound = eps.
    """
    return (perturbation + step * gradient.sign()).clamp(-bound, bound)


def perturbed(images: Tensor, perturbation: Tensor) -> Tensor:
    """images + perturbation, clipped to the valid range [0, 1]."""
    return (images + perturbation).clamp(0, 1)
