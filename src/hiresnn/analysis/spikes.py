"""Spiking activity (Definition 1) and perturbation distance (Definition 2).

SA = spikes over all T steps / neurons, and TASA = SA / T, layer by layer. PD = || |x - x_adv| ||_2 of an image; spike
PD = || |s - s_adv| ||_2 of a layer, where s is the spikes of each neuron / T, in [0, 1].
"""

import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from hiresnn.attacks import frozen
from hiresnn.errors import UsageError
from hiresnn.foreign import Unrolled
from hiresnn.foreign import record as record_foreign
from hiresnn.network import SpikingNetwork, record


@dataclass(frozen=True, eq=False)
class LayerActivity:
    """The spikes of one layer of neurons.

    Attributes:
        neurons: number of neurons of the layer, at least 1.
        timesteps: T.
        counts: spikes over all T steps, per image; 0 to neurons * T. `spikes` is their mean over images.
        sa: spiking activity, spikes / neurons; 0 to T.
        tasa: time-averaged spiking activity, SA / T, also per image as `image_rates`; 0 to 1.
    """

    neurons: int
    timesteps: int
    counts: Float64[Tensor, " image"]

    @property
    def spikes(self) -> float:
        return float(self.counts.mean())

    @property
    def sa(self) -> float:
        return self.spikes / self.neurons

    @property
    def tasa(self) -> float:
        return self.sa / self.timesteps

    @property
    def image_rates(self) -> Float64[Tensor, " image"]:
        return self.counts / (self.neurons * self.timesteps)


class SpikingActivity:
    """Accumulates the spikes that `recording` collects.

    Two neurons, three steps, one image: four spikes of six possible.

    >>> spikes = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]]).reshape(3, 1, 2)
    >>> activity = SpikingActivity()
    >>> activity.update({"relu1": spikes})
    >>> layer = activity.compute()["relu1"]
    >>> layer.spikes, layer.sa, round(layer.tasa, 3)
    (4.0, 2.0, 0.667)
    """

    def __init__(self) -> None:
        self._counts: dict[str, list[Tensor]] = {}
        self._shapes: dict[str, tuple[int, int]] = {}

    def update(self, spikes: Mapping[str, Tensor]) -> None:
        """Add a batch: layer name -> spikes [T, B, ...]; UsageError if steps or neurons differ from earlier batches."""
        for name, layer in spikes.items():
            shape = (layer.shape[0], math.prod(layer.shape[2:]))
            earlier = self._shapes.setdefault(name, shape)
            if shape != earlier:
                hint = "use one accumulator per network and T"
                raise UsageError(f"layer {name!r} had (steps, neurons) {earlier}, this batch has {shape}; {hint}.")
            counts = layer.transpose(0, 1).flatten(1).sum(1, dtype=torch.float64)
            self._counts.setdefault(name, []).append(counts.cpu())

    def compute(self) -> dict[str, LayerActivity]:
        """Return layer name -> activity over all images so far; UsageError before the first update."""
        if not self._counts:
            raise UsageError("spiking activity: no spikes were added; call update first.")
        counts = {name: torch.cat(batches) for name, batches in self._counts.items()}
        return {name: LayerActivity(neurons, steps, counts[name]) for name, (steps, neurons) in self._shapes.items()}


def recording(network: SpikingNetwork | Unrolled) -> AbstractContextManager[dict[str, Tensor]]:
    """Record the spikes of a network of this package, or of another library in its adapter: name -> [T, B, ...]."""
    return record_foreign(network) if isinstance(network, Unrolled) else record(network)


def spike_rates(
    network: SpikingNetwork | Unrolled, images: Float[Tensor, "image ..."], *, batch_size: int = 200
) -> dict[str, float]:
    """Return layer name -> spike rate (TASA): spikes per neuron and step, the mean over the images; 0 to 1.

    The network runs in eval mode and is left as it was. The images [N, C, H, W] are floats in [0, 1] on its device.
    Raises UsageError without images.
    """
    if not len(images):
        raise UsageError("spike rates: there are no images.")
    activity = SpikingActivity()
    with torch.no_grad(), frozen(network), recording(network) as spikes:
        for batch in torch.split(images, batch_size):
            network(batch.clone())  # it may write into its input
            activity.update(spikes)
    return {name: layer.tasa for name, layer in activity.compute().items()}


@dataclass(frozen=True, eq=False)
class Distances:
    """L2 distances per image: in pixel units [0, 1] for images, in spikes per step for layers."""

    per_image: Float64[Tensor, " image"]

    @property
    def mean(self) -> float:
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
        """Add a batch: layer name -> spikes [T, B, ...], clean and attacked; UsageError if layers or shapes differ."""
        if clean.keys() != attacked.keys():
            odd = min(clean.keys() ^ attacked.keys())
            raise UsageError(f"distance: layer {odd!r} is in only one of the two recordings; record one network twice.")
        for name, spikes in clean.items():
            changed = attacked[name]
            if spikes.shape != changed.shape:
                raise UsageError(
                    f"distance: {name!r} has {list(spikes.shape)} clean and {list(changed.shape)} attacked."
                )
            change = spikes.mean(0, dtype=torch.float64) - changed.mean(0, dtype=torch.float64)
            self._norms.setdefault(name, []).append(change.flatten(1).square().sum(1).sqrt().cpu())

    def compute(self) -> dict[str, Distances]:
        """Return layer name -> distances of all images so far; UsageError before the first update."""
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
        """Add images and their adversarial images, both [B, C, H, W] in [0, 1]; UsageError if the shapes differ."""
        self._images.update({"images": images[None]}, {"images": adversarial[None]})  # as a sequence of one step

    def compute(self) -> Distances:
        """Return the distances of all images so far; UsageError before the first update."""
        return self._images.compute()["images"]
