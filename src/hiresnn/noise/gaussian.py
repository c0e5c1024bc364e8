"""The controls for crafted noise: Gaussian noise of the same size (Fig. 9), and none at all."""

from __future__ import annotations

import torch
from torch import Tensor

from hiresnn.attacks.ball import perturbed
from hiresnn.errors import UsageError


class NoNoise:
    """The images as they are: traditional training, or periods without noise."""

    crafted = False

    def apply(self, images: Tensor) -> Tensor:
        """Return the batch itself."""
        return images

    def update(self, gradient: Tensor) -> None:
        """Nothing is learned from a gradient."""

    def state_dict(self) -> dict[str, Tensor]:
        """No state."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """No state."""


class GaussianNoise(NoNoise):
    """Fresh Gaussian noise in every period, zero mean, drawn from torch's global generator.

    Args:
        std: standard deviation in pixel units, eps_s in Fig. 9; at least 0.

    Raises:
        UsageError: std below 0.
    """

    def __init__(self, std: float) -> None:
        if not std >= 0:
            raise UsageError(f"Gaussian noise: std is {std}; it must not be negative.")
        self.std = std

    def apply(self, images: Tensor) -> Tensor:
        """clip(images + noise, 0, 1)."""
        return perturbed(images, self.std * torch.randn_like(images))
