"""The L-infinity ball: step, projection and random draw, shared by crafted noise and attacks (Eq. 3, 4, 6)."""

from __future__ import annotations

import torch
from torch import Tensor


def ascend(perturbation: Tensor, gradient: Tensor, step: float | Tensor, bound: float) -> Tensor:
    """Return clip(perturbation + step * sign(gradient), -bound, bound), in pixel units.

    Eq. 6 is this function with step eps_s and bound eps_t. Eq. 4 is this function with step alpha and bound eps,
    followed by the clip to [0, 1] in `perturbed`. Eq. 3 is one such step from zero with step = bound = eps. A tensor
    `step` holds one value per sample.
    """
    return (perturbation + step * gradient.sign()).clamp(-bound, bound)


def perturbed(images: Tensor, perturbation: Tensor) -> Tensor:
    """Return images + perturbation, clipped to the valid range [0, 1]."""
    return (images + perturbation).clamp(0, 1)


def uniform(images: Tensor, eps: float, generator: torch.Generator | None) -> Tensor:
    """Draw a perturbation from [-eps, eps], independently for each pixel, on the CPU."""
    return (torch.rand(images.shape, generator=generator) * 2 - 1).to(images) * eps
