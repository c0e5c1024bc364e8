"""Perturbation distance (Definition 2): how far an attack moves the image, and the spikes of every layer.

PD = || |x - x_adv| ||_2 of an image; spike PD = || |s - s_adv| ||_2 of a layer, where s is the spike map normalised by
the number of steps: spikes of each neuron / T, in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from hiresnn.errors import UsageError


@dataclass(frozen=True, eq=False)
class Distances:
    """L2 distances per image: in pixel units [0, 1] for images, in spikes per step for layers."""

    per_image: Float64[Tensor, " image"]

    @property
    def mean(self) -> float:
        """Mean over images."""
        return float(self.per_image.mean())


class SpikeDistance:
    """L2 norm of the change in a layer's normalised spike map, for every layer.

    One neuron spikes at both of two steps instead of at none, the other spikes once both times:

    >>> distance = SpikeDistance()
    >>> clean = torch.tensor([[0.0, 1.0], [0.0, 0.0]]).reshape(2, 1, 2)
    >>> attacked = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).reshape(2, 1, 2)
    >>> distance.update({"relu1": clean}, {"relu1": attacked})
    >>> distance.compute()["relu1"].mean
    1.0
    """

    def __init__(self) -> None:
        self._norms: dict[str, list[Tensor]] = {}

    def update(self, clean: Mapping[str, Tensor], attacked: Mapping[str, Tensor]) -> None:
        """Add a batch: layer name -> spikes [T, B, ...] on the clean and on the attacked images, in the same order.

        Raises:
            UsageError: layers or shapes differ.
        """
        if clean.keys() != attacked.keys():
            odd = min(clean.keys() ^ attacked.keys())
            raise UsageError(f"distance: layer {odd!r} is in only one of the two recordings; record one network twice.")
        for name, before in clean.items():
            after = attacked[name]
            if before.shape != after.shape:
                shapes = f"the shape {list(before.shape)} clean and {list(after.shape)} attacked"
                raise UsageError(f"distance: {name!r} has {shapes}; add pairs of one shape.")
            change = before.mean(0, dtype=torch.float64) - after.mean(0, dtype=torch.float64)
            self._norms.setdefault(name, []).append(change.flatten(1).square().sum(1).sqrt().cpu())

    def compute(self) -> dict[str, Distances]:
        """Return layer name -> distances of all images so far. Raises UsageError before the first update."""
        if not self._norms:
            raise UsageError("distance: nothing was added; call update with a batch first.")
        return {name: Distances(torch.cat(norms)) for name, norms in self._norms.items()}


class PerturbationDistance:
    """L2 norm of the change that an attack makes to an image.

    >>> distance = PerturbationDistance()
    >>> distance.update(torch.zeros(1, 1, 1, 2), torch.tensor([0.3, 0.4]).reshape(1, 1, 1, 2))
    >>> round(distance.compute().mean, 4)
    0.5
    """

    def __init__(self) -> None:
        self._images = SpikeDistance()

    def update(self, images: Tensor, adversarial: Tensor) -> None:
        """Add a batch of images and their adversarial images, both [B, C, H, W] in [0, 1].

        Raises UsageError if the shapes differ.
        """
        self._images.update({"images": images[None]}, {"images": adversarial[None]})  # as a sequence of one step

    def compute(self) -> Distances:
        """Return the distances of all images so far; UsageError before the first update."""
        return self._images.compute()["images"]
