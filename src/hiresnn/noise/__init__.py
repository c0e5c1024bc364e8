"""Noise on input images, in pixel units: crafted (Eq. 6), Gaussian (Fig. 9), none."""

from typing import Protocol

from torch import Tensor

from hiresnn.noise.crafted import CraftedNoise
from hiresnn.noise.gaussian import GaussianNoise, NoNoise


class Noise(Protocol):
    """What a training method does to its input in each period."""

    crafted: bool
    """Whether `update` wants the loss's gradient in the input."""

    def apply(self, images: Tensor) -> Tensor:
        """Noisy images in [0, 1], same shape."""

    def update(self, gradient: Tensor) -> None:
        """Take the gradient of the loss in the noisy images."""

    def state_dict(self) -> dict[str, Tensor]:
        """What a resumed run needs."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Inverse of `state_dict`."""


__all__ = ["CraftedNoise", "GaussianNoise", "NoNoise", "Noise"]
