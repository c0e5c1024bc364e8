"""Crafted input noise kappa: the heart of HIRE-SNN (Eq. 6, Algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from hiresnn.attacks.ball import ascend, perturbed
from hiresnn.errors import UsageError


class CraftedNoise:
    """kappa, in pixel units: starts at zero once, and is carried from period to period and batch to batch.

    It has the shape of a batch. A shorter last batch uses and updates its first rows.

    Args:
        step: eps_s, the step along the sign of the input gradient; at least 0.
        bound: eps_t, the largest |kappa|; at least 0.

    Raises:
        UsageError: step or bound below 0.
    """

    crafted = True

    def __init__(self, step: float, bound: float) -> None:
        if not (step >= 0 and bound >= 0):
            raise UsageError(f"crafted noise: step is {step} and bound {bound}; neither may be negative.")
        self.step, self.bound = step, bound
        self.kappa: Tensor | None = None

    def apply(self, images: Tensor) -> Tensor:
        """clip(images + kappa, 0, 1) for a batch [B, C, H, W] in [0, 1]."""
        if self.kappa is None:
            self.kappa = torch.zeros_like(images)
        rows = images.shape[0]
        if rows > self.kappa.shape[0]:  # a resumed or first batch may be the short one
            self.kappa = torch.cat([self.kappa, torch.zeros_like(images[self.kappa.shape[0] :])])
        return perturbed(images, self.kappa[:rows])

    def update(self, gradient: Tensor) -> None:
        """Eq. 6 with the loss's gradient in the perturbed images."""
        assert self.kappa is not None, "apply comes before update"
        rows = gradient.shape[0]
        self.kappa[:rows] = ascend(self.kappa[:rows], gradient, self.step, self.bound)

    def state_dict(self) -> dict[str, Tensor]:
        """kappa, which belongs to the training state: a resumed run goes on with it."""
        return {} if self.kappa is None else {"kappa": self.kappa}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take kappa from `state_dict`."""
        kappa = state.get("kappa")
        self.kappa = None if kappa is None else kappa.clone()
