"""Perturbation distance (Definition 2): how far an attack moves the image, and the spikes of every layer.

PD = || |x - x_adv| ||_2 of an image; spike PD = || |s - s_adv| ||_2 of a layer, where s is the spike map
normalised by the number of steps: spikes of each neuron / T, in [0, 1].
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
    """L2 distances, image by image; pixel units [0, 1] for images, spikes a step for layers."""

    per_image: Float64[Tensor, " image"]

    @property
    def mean(self) -> float:
        """Mean over images."""
        return float(self.per_image.mean())


class PerturbationDistance:
    """L2 norm of what an attack changed in an image.

    >>> measure = PerturbationDistance()
    >>> measure.update(torch.zeros(1, 1, 1, 2), torch.tensor([0.3, 0.4]).reshape(1, 1, 1, 2))
    >>> round(measure.compute().mean, 4)
    0.5
    """

    def __init__(self) -> None:
        self._norms: list[Tensor] = []

    def update(self, images: Tensor, adversarial: Tensor) -> None:
        """Add a batch: images and what an attack made of them, both [B, C, H, W] in [0, 1].

        Raises:
            UsageError: the shapes differ.
        """
        self._norms.append(_norms(images, adversarial, "the images"))

    def compute(self) -> Distances:
        """Distances of all images so far. Raises UsageError before the first update."""
        if not self._norms:
            raise UsageError("perturbation distance: no images were added; call update with a batch first.")
        return Distances(torch.cat(self._norms))


class SpikeDistance:
    """L2 norm of the change in a layer's normalised spike map, for every layer.

    One neuron spikes at both of two steps instead of at none, another is as it was:

    >>> measure = SpikeDistance()
    >>> clean = torch.tensor([[0.0, 1.0], [0.0, 0.0]]).reshape(2, 1, 2)
    >>> attacked = torch.tensor([[1.0, 0.0], [1.0, 1.0]]).reshape(2, 1, 2)
    >>> measure.update({"relu1": clean}, {"relu1": attacked})
    >>> measure.compute()["relu1"].mean
    1.0
    """

    def __init__(self) -> None:
        self._norms: dict[str, list[Tensor]] = {}

    def update(self, clean: Mapping[str, Tensor], attacked: Mapping[str, Tensor]) -> None:
        """Add a batch: layer name -> spikes [T, B, ...] on the clean and on the attacked images, in order.

        Raises:
            UsageError: layers or shapes differ.
        """
        if clean.keys() != attacked.keys():
            odd = min(clean.keys() ^ attacked.keys())
            raise UsageError(f"spike distance: layer {odd!r} is in one of the two recordings; record one network.")
        for name, spikes in clean.items():
            norms = _norms(_map(spikes), _map(attacked[name]), f"the spike maps of layer {name!r}")
            self._norms.setdefault(name, []).append(norms)

    def compute(self) -> dict[str, Distances]:
        """Layer name -> distances of all images so far, first layer first. UsageError before an update."""
        if not self._norms:
            raise UsageError("spike distance: no spikes were added; call update with two recordings first.")
        return {name: Distances(torch.cat(norms)) for name, norms in self._norms.items()}


def _map(spikes: Tensor) -> Tensor:
    return spikes.mean(0, dtype=torch.float64)


def _norms(one: Tensor, other: Tensor, what: str) -> Tensor:
    if one.shape != other.shape:
        raise UsageError(f"{what} are {tuple(one.shape)} clean and {tuple(other.shape)} attacked; pair like with like.")
    change = (one.double() - other.double()).flatten(1)
    return change.square().sum(1).sqrt().cpu()
