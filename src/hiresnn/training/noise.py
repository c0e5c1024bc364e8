"""Noise that training adds to its input, in pixel units: none, crafted (Eq. 6) or Gaussian (Fig. 9)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hiresnn.attacks.ball import ascend, perturbed
from hiresnn.errors import UsageError


class Noise:
    """No noise: the images as they are. Base class of every training noise.

    Attributes:
        needs_gradient: whether `update` uses the gradient of the loss with respect to the noisy images.
    """

    needs_gradient = False

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Prepare for a batch of images [B, C, H, W] in [0, 1]; called before its first period."""

    def apply(self, images: Tensor) -> Tensor:
        """Return the noisy images of one period, in [0, 1], which the network may write into."""
        return images.clone()

    def update(self, gradient: Tensor) -> None:
        """Use the gradient of the period's loss with respect to the noisy images, [B, C, H, W]."""

    def end(self) -> None:
        """Let go of the batch; called after its last period, and when it fails."""

    def attach(self, batches: Any) -> None:
        """Get to know the batches of a training before its first epoch."""

    def report(self) -> dict[str, Any]:
        """Return what the noise has to say about the epoch that ended, for its row in the log."""
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state that a resumed training needs."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""


class CraftedNoise(Noise):
    """The crafted noise kappa of HIRE-SNN (Eq. 6, Algorithm 1).

    kappa starts at zero once and continues from period to period and from batch to batch. Row i of kappa belongs to
    row i of every batch, so a shorter batch uses and updates the first rows.

    Args:
        step: eps_s, the step along the sign of the input gradient, in pixel units; at least 0.
        bound: eps_t, the largest absolute value of kappa, in pixel units; at least 0.

    Raises:
        UsageError: step or bound is negative.
    """

    needs_gradient = True

    def __init__(self, step: float, bound: float) -> None:
        if not (step >= 0 and bound >= 0):
            raise UsageError(f"crafted noise: step is {step} and bound is {bound}; neither may be negative.")
        self.step, self.bound = step, bound
        self.kappa: Tensor | None = None

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Give every row of the batch a row of kappa; new rows are zero."""
        kappa = images[:0] if self.kappa is None else self.kappa
        self.kappa = torch.cat([kappa, torch.zeros_like(images[len(kappa) :])])

    def apply(self, images: Tensor) -> Tensor:
        """Return clip(images + kappa, 0, 1)."""
        assert self.kappa is not None, "begin comes before apply"
        return perturbed(images, self.kappa[: len(images)])

    def update(self, gradient: Tensor) -> None:
        """Apply Eq. 6: kappa = clip(kappa + eps_s * sign(gradient), -eps_t, eps_t)."""
        assert self.kappa is not None, "begin comes before update"
        rows = len(gradient)
        self.kappa[:rows] = ascend(self.kappa[:rows], gradient, self.step, self.bound)

    def state_dict(self) -> dict[str, Tensor]:
        """Return kappa, which is part of the training state."""
        return {} if self.kappa is None else {"kappa": self.kappa}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore kappa."""
        self.kappa = state["kappa"].clone() if "kappa" in state else None


class GaussianNoise(Noise):
    """Gaussian noise with zero mean and deviation `std` (eps_s in Fig. 9), drawn anew in every period.

    Raises:
        UsageError: std is negative.
    """

    def __init__(self, std: float) -> None:
        if not std >= 0:
            raise UsageError(f"Gaussian noise: std is {std}; it must not be negative.")
        self.std = std

    def apply(self, images: Tensor) -> Tensor:
        """Return clip(images + noise, 0, 1)."""
        return perturbed(images, self.std * torch.randn_like(images))
