"""Training noise that is remembered for every image from epoch to epoch, moved with its crop and flip (ATTA, MEP)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hiresnn.attacks.ball import perturbed
from hiresnn.data import Batches
from hiresnn.data.loader import gathered
from hiresnn.errors import UsageError
from hiresnn.training.noise import Noise

FRESH = 10
"""Epochs after which all noise is drawn anew."""
PARTS = 127
"""Steps of int8 from 0 to the bound."""


class MemoryNoise(Noise):
    """One noise d_i per training image, updated from the gradient that the training step computes anyway.

        shown: clip(A_i(x_i + d_i), 0, 1),   then d_i <- clip(d_i + step * sign(A_i^T gradient), -bound, bound)

    A_i is the crop and flip of image i in this batch (Zheng et al., CVPR 2020; Jia et al. 2022, FGSM-MEP). d_i starts
    at a uniform draw and is stored as int8. With several processes each has a memory of its own.

    Args:
        step: alpha, in pixel units; at least 0.
        bound: radius of the ball, in pixel units; above 0.

    Raises:
        UsageError: a value is out of range.
    """

    needs_gradient = True

    def __init__(self, step: float, bound: float) -> None:
        if not (step >= 0 and bound > 0):
            raise UsageError(f"memory noise: step is {step} and bound is {bound}; give a bound above 0.")
        self.step, self.bound, self.batches = step, bound, 0
        self.source: Batches  # since `attach`
        self.memory: Tensor  # since the first batch: int8 [N, C, H, W], in parts of the bound

    def attach(self, batches: Any) -> None:
        """Remember the batches, which know the images that they show."""
        batches = getattr(batches, "source", batches)  # `hiresnn.fit` checks batches in a wrapper
        if not isinstance(batches, Batches):
            raise UsageError(
                "memory noise needs to know which images a batch shows; train with hiresnn.data.Batches, or with "
                "uint8 images and labels."
            )
        self.source = batches

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Take the noise of the images of this batch."""
        if self.batches % (FRESH * len(self.source)) == 0:
            shape = (len(self.source.labels), *images.shape[1:])
            self.memory = torch.randint(-PARTS, PARTS + 1, shape, dtype=torch.int8, device=images.device)
        self.batches += 1
        assert self.source.latest is not None
        self.rows, self.pixels = self.source.latest
        delta = self.memory[self.rows].to(images) * (self.bound / PARTS)
        self.delta = delta if self.pixels is None else gathered(delta, self.pixels)
        if not len(delta):  # another process has the last rows; this one shows a blank image
            self.delta = torch.zeros_like(images)

    def apply(self, images: Tensor) -> Tensor:
        """Return clip(images + delta, 0, 1)."""
        return perturbed(images, self.delta)

    def update(self, gradient: Tensor) -> None:
        """Improve the noise of the images of this batch."""
        if not len(self.rows):
            return
        if self.pixels is not None:
            moved = torch.zeros_like(gradient).flatten(2)
            pixels = self.pixels.expand(-1, gradient.shape[1], -1)
            gradient = moved.scatter_add_(2, pixels, gradient.flatten(2)).view(gradient.shape)
        steps = self.memory[self.rows].to(gradient) + gradient.sign() * (self.step / self.bound * PARTS)
        self.memory[self.rows] = steps.round().clamp(-PARTS, PARTS).to(torch.int8)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the memory and the number of batches so far."""
        known = {"memory": self.memory} if self.batches else {}
        return {"batches": torch.tensor(self.batches), **known}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.batches = int(state.get("batches", 0))
        if self.batches:
            self.memory = state["memory"].clone()
