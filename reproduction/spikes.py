"""What is measured on spikes: activity (Definition 1), distances (Definition 2), operations, accuracy over time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hiresnn import data
from hiresnn.analysis import Energy, PerturbationDistance, SpikeDistance, SpikingActivity, evaluate
from hiresnn.app.context import splits
from hiresnn.attacks import verified
from hiresnn.metrics import correct
from hiresnn.network import SpikingNetwork, record
from hiresnn.network.layers import AveragePool, Encoder
from hiresnn.neurons import LIF, Window
from reproduction.paper import CLAIMS
from reproduction.study import Measurement, Study

ROWS = 2000  # images times timesteps of a batch


def parts(network: SpikingNetwork, *tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Tensors of as many images each, in batches that suit the network's T."""
    size = max(1, ROWS // network.timesteps)
    return zip(*(torch.split(tensor, size) for tensor in tensors), strict=True)


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


def accuracy_by_time(study: Study, one: Measurement) -> list[float]:
    """Percent of right answers on clean images when the network is stopped after each number of timesteps."""
    network, images = study.network(one.run), study.images(one.network, study.scale.analysed)
    return [
        evaluate(partial(network, timesteps=steps), *images, batch_size=max(1, ROWS // steps))
        for steps in map(int, one.grid)
    ]


def activity(study: Study, one: Measurement) -> dict[str, list[float]]:
    """Layer -> [neurons, timesteps, spikes per image] on clean images (Definition 1)."""
    network = study.network(one.run)
    counted, names = SpikingActivity(), {}
    for (images,) in parts(network, study.images(one.network, study.scale.analysed)[0]):
        spikes = spikes_of(network, images)
        names = layer_names(spikes)
        counted.update(spikes)
    return {names[name]: [layer.neurons, layer.timesteps, layer.spikes] for name, layer in counted.compute().items()}


def pool_activity(study: Study, one: Measurement) -> dict[str, list[float]]:
    """Pooling layer -> [outputs, T, steps at which an output is not 0 per image, layers of neurons before it].

    The authors' code counts the spikes of a pooling layer in this way. An average of spikes is not 0 where one spikes.
    """
    network = study.network(one.run)
    modules, neurons = dict(network.layers.named_modules()), list(network.neurons)
    order = [str(node.target) for node in network.layers.graph.nodes if node.op == "call_module"]
    pools = [at for at, name in enumerate(order) if isinstance(modules.get(name), AveragePool)]
    before = {order[at]: sum(name in neurons for name in order[:at]) for at in pools}
    counted = SpikingActivity()
    for (images,) in parts(network, study.images(one.network, study.scale.analysed)[0]):
        spikes = spikes_of(network, images)
        inputs = {name: spikes[neurons[number - 1]] for name, number in before.items()}
        pooled = {name: F.max_pool2d(layer.flatten(0, 1), 2) for name, layer in inputs.items()}
        counted.update({name: layer.view(*inputs[name].shape[:2], *layer.shape[1:]) for name, layer in pooled.items()})
    layers = counted.compute() if before else {}
    return {
        f"pool{number}": [layer.neurons, layer.timesteps, layer.spikes, before[name]]
        for number, (name, layer) in enumerate(layers.items(), start=1)
    }


def input_codings(study: Study, one: Measurement) -> dict[str, Any]:
    """The first test image as direct input and rate-coded: "direct" and, for each number of averaged steps, "rate".

    Pixels are [height][width][channel] in 0 to 255, undoing the normalisation; "errors" are root mean squares over the
    normalised pixels, "silent" the percent of them without a spike.
    """
    recipe, dataset = study.scale.recipe(one.run), study.dataset(one.network)
    image = study.images(one.network, 1)[0].cpu()
    mean, std = (torch.tensor(part).view(1, -1, 1, 1) for part in data.channel_statistics(splits(recipe, dataset)[0]))
    direct = (image - mean) / std
    steps = Encoder("poisson")(direct, Window(int(max(one.grid)), 1))
    averages = [steps[: int(number)].mean(0, keepdim=True) for number in one.grid]

    def pixels(normalised: Tensor) -> Any:
        visible = (normalised * std + mean).clamp(0, 1)[0].permute(1, 2, 0)
        return (255 * visible).round().int().tolist()

    return {
        "direct": pixels(direct),
        "rate": [pixels(average) for average in averages],
        "errors": [float((average - direct).square().mean().sqrt()) for average in averages],
        "silent": [100 * float((steps[: int(number)] == 0).all(0).float().mean()) for number in one.grid],
    }


def operations(study: Study, one: Measurement) -> dict[str, Any]:
    """The `hiresnn.analysis.EnergyReport` of one image that changes grid[0] times within T, as JSON."""
    network, spec = study.network(one.run), one.spec(study.scale)
    counted = Energy(network, variants=int(one.grid[0]))
    images, labels = study.images(one.network, study.scale.analysed)
    size = max(1, int(0.8 * ROWS) // network.timesteps)
    for batch, truth in zip(torch.split(images, size), torch.split(labels, size), strict=True):
        counted.update(batch if spec is None else verified(spec, network, batch, truth, eps=spec.eps))
    report = counted.compute()
    return {"timesteps": report.timesteps, "layers": [asdict(layer) for layer in report.layers]}


def leak_distances(study: Study, one: Measurement) -> dict[str, Any]:
    """Mean distances behind one LIF layer: "few" and "all" images at each leak, "image" and "images" of the pixels.

    The attack moves the images on an ANN. The "few" are the same random images for every attack of a seed.
    """
    setting, attack, network = CLAIMS["fig5a"], one.spec(study.scale), study.network(one.run)
    images, labels = study.images(one.network, study.scale.analysed)
    adversarial = verified(attack, network, images, labels, eps=attack.eps)
    generator = torch.Generator().manual_seed(one.seed or 0)
    few = torch.randperm(len(images), generator=generator)[: setting["images"]]
    pixels = _moved(images, adversarial)
    options = {"threshold": setting["threshold"], "timesteps": setting["timesteps"]}
    distances = [lif_distances(images, adversarial, leak=leak, **options) for leak in one.grid]
    return {
        "few": [float(distance[few].mean()) for distance in distances],
        "all": [float(distance.mean()) for distance in distances],
        "image": float(pixels[few].mean()),
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


def spike_distances(study: Study, one: Measurement) -> dict[str, Any]:
    """Distances on the images that both networks classify correctly when clean and exactly one when perturbed.

    These are "images" of "of". If there are any, "right" and "wrong" hold for that network "one" (a distance per layer,
    on a random one of these images) and "all" (the same for every image), and "image" the distances of the pixels.
    """
    first, second, maker = (study.network(run) for run in one.runs())
    attack = one.spec(study.scale)
    images, labels = study.images(one.network, study.scale.analysed)
    attacked = torch.cat([verified(attack, maker, *part, eps=attack.eps) for part in parts(first, images, labels)])
    both = _right(first, images, labels) & _right(second, images, labels)
    first_right, second_right = (both & _right(network, attacked, labels) for network in (first, second))
    split = (first_right ^ second_right).nonzero()[:, 0]
    if not len(split):
        return {"images": 0, "of": len(images)}
    clean, moved = images[split], attacked[split]
    (layers, ours), (_, theirs) = (network_distances(network, clean, moved) for network in (first, second))
    is_first = first_right[split].cpu()[:, None]
    right, wrong = torch.where(is_first, ours, theirs), torch.where(is_first, theirs, ours)  # [image, layer]
    pixels = _moved(clean, moved)
    chosen = int(torch.randint(len(split), ()))
    return {
        "layers": layers,
        "neurons": [layer[0, 0].numel() for layer in spikes_of(first, images[:1]).values()],
        "right": {"one": right[chosen].tolist(), "all": right.tolist()},
        "wrong": {"one": wrong[chosen].tolist(), "all": wrong.tolist()},
        "image": [float(pixels[chosen]), pixels[:, None].tolist()],
        "images": len(split),
        "of": len(images),
    }


@torch.no_grad()
def network_distances(network: SpikingNetwork, images: Tensor, attacked: Tensor) -> tuple[list[str], Tensor]:
    """Names of the layers, and their spike distances [image, layer]."""
    distance, names = SpikeDistance(), {}
    for pair in parts(network, images, attacked):
        recordings = [spikes_of(network, batch) for batch in pair]
        names = layer_names(recordings[0])
        distance.update(*recordings)
    layers = distance.compute()
    return [names[name] for name in layers], torch.stack([layer.per_image for layer in layers.values()], 1)


@torch.no_grad()
def _right(network: SpikingNetwork, images: Tensor, labels: Tensor) -> Tensor:
    return correct(torch.cat([network(part) for (part,) in parts(network, images)]), labels)
