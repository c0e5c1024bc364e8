"""The images that an attack may reach: a ball in L-infinity or L2 around each image, within the valid range."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from hiresnn.attacks.gate import Norm, ascend, perturbed, uniform, valid_range

TURNS = 30
"""Most turns of Newton's method in `_scale_within`, which ends after as many as there are groups of clipped pixels."""


class Ball(NamedTuple):
    """Images [B, ...] whose change is at most `eps`, in pixel units: of each pixel, or in L2 of the whole image."""

    eps: float
    norm: Norm = "linf"

    def step(self, images: Tensor, adversarial: Tensor, gradient: Tensor, size: float | Tensor) -> Tensor:
        """Return the iterates after one step of that size up the gradient: along its sign, or in L2 its direction."""
        change = adversarial - images
        if self.norm == "linf":
            return perturbed(images, ascend(change, gradient, size, self.eps))
        return self.projected(images, change + size * unit(gradient))

    def projected(self, images: Tensor, change: Tensor) -> Tensor:
        """Return the image nearest to images + change, in the Euclidean sense, in ball and valid range."""
        if self.norm == "linf":
            return perturbed(images, change.clamp(-self.eps, self.eps))
        return perturbed(images, change * _scale_within(images, change, self.eps))

    def draw(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw changes uniformly from the ball, without the valid range, on the CPU."""
        if self.norm == "linf":
            return uniform(images, self.eps, generator)
        radius = torch.rand(len(images), generator=generator) ** (1 / max(images[:1].numel(), 1))
        return self.eps * _per_image(radius.to(images), images) * self._directions(images, generator)

    def draw_surface(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draw changes on the surface of the ball: a draw from a ball, stretched until it has the norm eps."""
        if self.norm == "l2":
            return self.eps * self._directions(images, generator)
        noise = uniform(images, 1.0, generator)
        stretched = self.eps * noise / noise.abs().amax(tuple(range(1, noise.dim())), keepdim=True)
        return stretched.clamp(-self.eps, self.eps)

    def each_pixel(self, images: Tensor) -> float:
        """Return the largest change that all pixels can make at once."""
        return self.eps / math.sqrt(max(images[:1].numel(), 1)) if self.norm == "l2" else self.eps

    @staticmethod
    def _directions(images: Tensor, generator: torch.Generator | None) -> Tensor:
        return unit(torch.randn(images.shape, generator=generator)).to(images)


def unit(change: Tensor) -> Tensor:
    """Return each change [B, ...] divided by its Euclidean length, also where its square is 0 or infinite in float32.

    A change of zero stays zero.
    """
    largest = change.flatten(1).abs().amax(1)
    scaled = change / _per_image(torch.where(largest > 0, largest, 1.0), change)
    return scaled / _per_image(scaled.flatten(1).norm(dim=1).clamp(min=1.0), change)  # the largest entry is 1


def _scale_within(images: Tensor, change: Tensor, eps: float) -> Tensor:
    """Return for each image the largest t <= 1 for which images + t * change, clipped, lies within eps in L2.

    That image is the nearest one in ball and valid range: by the conditions of Karush, Kuhn and Tucker the projection
    is clip(images + change / (1 + multiplier)). The squared distance is concave and piecewise linear in t^2, so
    Newton's method comes from below and ends at the exact value.
    """
    low, high = valid_range(images)
    size, room = change.flatten(1).abs().double(), torch.where(change > 0, high - images, images - low)
    room = room.flatten(1).double()
    scale = (eps / size.norm(dim=1, keepdim=True).clamp(min=torch.finfo(size.dtype).tiny)).clamp(max=1)
    for _ in range(TURNS):
        clipped = scale * size >= room
        left = eps**2 - torch.where(clipped, room, 0).square().sum(1, keepdim=True)
        free = torch.where(clipped, 0, size).square().sum(1, keepdim=True)
        before, scale = scale, torch.where(free > 0, left.clamp(min=0) / free.clamp(min=1e-300), 1).sqrt().clamp(max=1)
        if torch.equal(before, scale):
            break
    return _per_image(scale[:, 0].to(change), change)


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    return values.view(-1, *(1,) * (images.dim() - 1))
