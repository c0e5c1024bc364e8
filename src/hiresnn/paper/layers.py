"""What the layers of a trained network spike on clean test images (Definition 1), seed by seed, kept as figures."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hiresnn.analysis import SpikingActivity
from hiresnn.network import SpikingNetwork, record
from hiresnn.paper.plan import attack_seconds
from hiresnn.paper.stat import Stat
from hiresnn.paper.study import Study

BATCH_ROWS = 2000
"""Images times timesteps that are shown at once: what a long T would else take of the memory."""


@dataclass(frozen=True)
class Layer:
    """A layer of neurons over seeds.

    Attributes:
        name: conv1, conv2, ..., fc1, ... in the order of the network.
        neurons: of one image; timesteps: T.
        spikes: of one image over all T steps, the mean over images.
    """

    name: str
    neurons: int
    timesteps: int
    spikes: Stat

    @property
    def sa(self) -> Stat:
        """Spiking activity: spikes / neurons, 0 to T."""
        return Stat.of(value / self.neurons for value in self.spikes.values)

    @property
    def tasa(self) -> Stat:
        """Time-averaged spiking activity: SA / T, 0 to 1."""
        return Stat.of(value / self.timesteps for value in self.sa.values)


def activity(study: Study, network: str, method: str) -> list[Layer]:
    """The layers of a network trained by `method`, first layer first; empty where no seed is measured yet."""
    seeds = [_measured(study, network, method, seed) for seed in study.seeds_of(network, method)]
    known: dict[str, list[float]] = next(filter(None, seeds), {})
    return [
        Layer(name, int(first[0]), int(first[1]), Stat.of(found[name][2] if found else math.nan for found in seeds))
        for name, first in known.items()
    ]


def total(layers: list[Layer]) -> Layer:
    """All neurons of a network as one layer, "total"; at least one layer."""
    seeds = zip(*(layer.spikes.values for layer in layers), strict=True)
    return Layer("total", sum(layer.neurons for layer in layers), layers[0].timesteps, Stat.of(map(sum, seeds)))


def names_of(spikes: dict[str, Tensor]) -> dict[str, str]:
    """Layer name -> conv1, conv2, ... where the neurons of a recording [T, B, ...] form a map, fc1, ... elsewhere."""
    counted = {"conv": 0, "fc": 0}
    names = {}
    for name, layer in spikes.items():
        kind = "conv" if layer.dim() == 5 else "fc"
        counted[kind] += 1
        names[name] = f"{kind}{counted[kind]}"
    return names


def _measured(study: Study, network: str, method: str, seed: int) -> dict[str, list[float]]:
    """Layer -> [neurons, timesteps, spikes an image]."""
    run, recipe, images = study.run(network, method, seed), study.recipe(network, method, seed), study.scale.analysed

    def work() -> dict[str, list[float]]:
        trained = study.network_of(run)
        assert isinstance(trained, SpikingNetwork)
        shown, _ = study.images.shown(network, images)
        measure, names = SpikingActivity(), {}
        for part in torch.split(shown, max(1, BATCH_ROWS // trained.timesteps)):
            with torch.no_grad(), record(trained) as spikes:
                trained(part)
            names = names_of(spikes)
            measure.update(spikes)
        return {
            names[name]: [layer.neurons, layer.timesteps, layer.spikes] for name, layer in measure.compute().items()
        }

    key = {"what": "activity", "run": run.name, "images": images}
    nothing: dict[str, Any] = {}
    seconds = attack_seconds(recipe, study.setting(network), images, 0)
    found: dict[str, list[float]] = study.measured(key, work, seconds=seconds, like=nothing)
    return found
