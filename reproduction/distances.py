"""What Fig. 5 measures: distances between the spikes on clean and on perturbed images (Definition 2)."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

import torch
from torch import Tensor

from hiresnn.analysis import PerturbationDistance, SpikeDistance
from hiresnn.attacks import verified
from hiresnn.metrics import correct
from hiresnn.network import SpikingNetwork, record
from hiresnn.neurons import LIF, Window
from reproduction.claims import claims
from reproduction.measurements import Measurement
from reproduction.study import Study

ROWS = 2000
"""Images times timesteps of a batch."""


def leak_distances(study: Study, wanted: Measurement) -> dict[str, Any]:
    """Mean distances behind one LIF layer: "few" and "all" images at each leak, "image" and "images" of the pixels.

    The attack moves the images on an ANN. The "few" are the same random images for every attack of a seed.
    """
    setting, attack, network = claims().fig5a, wanted.spec(study.scale), study.network(wanted.run)
    images, labels = study.shown(wanted.network, study.scale.analysed)
    assert attack is not None
    adversarial = verified(attack, network, images, labels, eps=attack.eps)
    generator = torch.Generator().manual_seed(wanted.seed or 0)
    chosen = torch.randperm(len(images), generator=generator)[: setting.images]
    pixels = _moved(images, adversarial)
    spikes = [
        lif_distances(images, adversarial, threshold=setting.threshold, leak=leak, timesteps=setting.timesteps)
        for leak in wanted.grid
    ]
    return {
        "few": [float(each[chosen].mean()) for each in spikes],
        "all": [float(each.mean()) for each in spikes],
        "image": float(pixels[chosen].mean()),
        "images": float(pixels.mean()),
        "of": len(images),
    }


def _moved(images: Tensor, adversarial: Tensor) -> Tensor:
    """Distance [B] of the pixels."""
    moved = PerturbationDistance()
    moved.update(images, adversarial)
    return moved.compute().per_image


def lif_distances(images: Tensor, adversarial: Tensor, *, threshold: float, leak: float, timesteps: int) -> Tensor:
    """Spike distance [B] behind one LIF layer whose input currents are the pixels [B, C, H, W]."""
    window = Window(timesteps, len(images))
    lif = LIF(threshold, leak, trainable=False).to(images.device)
    distance = SpikeDistance()
    clean, attacked = (window.by_step(lif(currents, window, False)) for currents in (images, adversarial))
    distance.update({"lif": clean}, {"lif": attacked})
    return distance.compute()["lif"].per_image


def spike_distances(study: Study, wanted: Measurement) -> dict[str, Any]:
    """Distances on the images that both networks classify correctly when clean and exactly one when perturbed.

    These are "images" of "of". If there are any, "right" and "wrong" hold for that network "one" (a distance per layer,
    on a random one of these images) and "all" (the same for every image), and "image" the distances of the pixels.
    """
    one, other, maker = (study.spiking(run) for run in wanted.runs())
    attack = wanted.spec(study.scale)
    assert attack is not None
    shown, labels = study.shown(wanted.network, study.scale.analysed)
    attacked = torch.cat([verified(attack, maker, *part, eps=attack.eps) for part in parts(one, shown, labels)])
    both = _right(one, shown, labels) & _right(other, shown, labels)
    first, second = (both & _right(network, attacked, labels) for network in (one, other))
    split = (first ^ second).nonzero()[:, 0]
    if not len(split):
        return {"images": 0, "of": len(shown)}
    (layers, ours), (_, theirs) = (network_distances(each, shown[split], attacked[split]) for each in (one, other))
    is_first = first[split].cpu()[:, None]
    right, wrong = torch.where(is_first, ours, theirs), torch.where(is_first, theirs, ours)  # [image, layer]
    pixels = _moved(shown[split], attacked[split])
    chosen = int(torch.randint(len(split), ()))
    return {
        "layers": layers,
        "neurons": [layer[0, 0].numel() for layer in spikes_of(one, shown[:1]).values()],
        "right": {"one": right[chosen].tolist(), "all": right.tolist()},
        "wrong": {"one": wrong[chosen].tolist(), "all": wrong.tolist()},
        "image": [float(pixels[chosen]), pixels[:, None].tolist()],
        "images": len(split),
        "of": len(shown),
    }


def parts(network: SpikingNetwork, *tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Tensors of as many images each, in batches that suit the network's T."""
    size = max(1, ROWS // network.timesteps)
    return zip(*(torch.split(each, size) for each in tensors), strict=True)


@torch.no_grad()
def network_distances(network: SpikingNetwork, images: Tensor, attacked: Tensor) -> tuple[list[str], Tensor]:
    """Names of the layers, and their spike distances [image, layer]."""
    distance, names = SpikeDistance(), {}
    for both in parts(network, images, attacked):
        recordings = [spikes_of(network, shown) for shown in both]
        names = layer_names(recordings[0])
        distance.update(*recordings)
    found = distance.compute()
    return [names[name] for name in found], torch.stack([layer.per_image for layer in found.values()], 1)


@torch.no_grad()
def spikes_of(network: SpikingNetwork, images: Tensor) -> dict[str, Tensor]:
    """Name of a layer -> its spikes [T, B, ...]."""
    with record(network) as spikes:
        network(images)
    return spikes


def layer_names(spikes: dict[str, Tensor]) -> dict[str, str]:
    """Name of a layer in a recording [T, B, ...] -> conv1, conv2, ... where its neurons form a map, else fc1, ..."""
    counters = {"conv": count(1), "fc": count(1)}
    kinds = {name: "conv" if layer.dim() == 5 else "fc" for name, layer in spikes.items()}
    return {name: f"{kind}{next(counters[kind])}" for name, kind in kinds.items()}


@torch.no_grad()
def _right(network: SpikingNetwork, images: Tensor, labels: Tensor) -> Tensor:
    return correct(torch.cat([network(part) for (part,) in parts(network, images)]), labels)
