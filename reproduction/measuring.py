"""How each kind of measurement is carried out: `measure` finds a value in the store, or measures and stores it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hiresnn import data
from hiresnn.analysis import Energy, SpikingActivity, evaluate
from hiresnn.analysis.accuracy import accuracy as split_accuracy
from hiresnn.app.context import splits
from hiresnn.app.recipe import digest
from hiresnn.attacks import frozen, pgd, seeded, transfer, verified
from hiresnn.data import Split
from hiresnn.errors import RunError
from hiresnn.metrics import correct
from hiresnn.network.layers import AveragePool, Encoder
from hiresnn.neurons import Window
from reproduction import checks, cost, distances
from reproduction.distances import parts
from reproduction.measurements import Measurement
from reproduction.quantised import quantised
from reproduction.study import StoredValue, Study


def measure(study: Study, measurement: Measurement) -> StoredValue:
    """The value of a measurement whose runs are trained."""
    if found := study.find(measurement):
        return found
    started = time.perf_counter()
    with seeded(int(digest(study.key(measurement))[:8], 16)):  # no value depends on what else was measured
        value = MEASURE[measurement.kind](study, measurement)
    return study.put(measurement, value, time.perf_counter() - started)


def accuracy(study: Study, wanted: Measurement) -> float:
    """Percent of right answers on test images, clean or under attack."""
    return _accuracy(study, wanted, study.test(wanted.network, study.scale.images))


def held_out(study: Study, wanted: Measurement) -> float:
    """The same on images that the recipe held out of training, on which hyperparameters are chosen."""
    held = splits(study.recipe(wanted.run), study.dataset(wanted.network))[1]
    if held is None:
        raise RunError(f"{study.name(wanted.run)} held no images out; set data.holdout_images in its recipe.")
    return _accuracy(study, wanted, data.first(held, min(study.scale.images or len(held), len(held))))


def _accuracy(study: Study, wanted: Measurement, split: Split) -> float:
    networks, spec = [study.network(run) for run in wanted.runs()], wanted.spec(study.scale)
    torch.manual_seed(wanted.seed or 0)  # as `hiresnn evaluate` does
    return split_accuracy(
        networks[0],
        split,
        attack=spec and transfer(spec, networks[-1]),
        eps=None if spec is None else spec.eps,
        device=study.device(wanted.network),
        title=f"{study.name(wanted.run)}: {wanted.attack or 'clean'}, {wanted.box}",
        progress=study.progress,
    )


def by_iteration(study: Study, wanted: Measurement) -> list[float]:
    """Percent of right answers after each number of PGD iterations, watched in one attack of the longest."""
    model, spec = study.network(wanted.run), wanted.spec(study.scale)
    shown, labels = study.shown(wanted.network, study.scale.images)
    right = dict.fromkeys(wanted.grid, 0)
    assert spec is not None
    for batch, truth in zip(torch.split(shown, 200), torch.split(labels, 200), strict=True):

        def watch(done: int, logits: Tensor, truth: Tensor = truth) -> None:
            if done in right:
                right[done] += int(correct(logits, truth).sum())

        adversarial = pgd(model, batch, truth, watch=watch, **spec.arguments())
        with frozen(model), torch.no_grad():
            watch(int(wanted.grid[-1]), model(adversarial))
    return [100 * count / len(labels) for count in right.values()]


def by_time(study: Study, wanted: Measurement) -> list[float]:
    """Percent of right answers on clean images when the network is stopped after each number of timesteps."""
    network, shown = study.spiking(wanted.run), study.shown(wanted.network, study.scale.analysed)
    return [
        evaluate(partial(network, timesteps=steps), *shown, batch_size=max(1, distances.ROWS // steps))
        for steps in map(int, wanted.grid)
    ]


def activity(study: Study, wanted: Measurement) -> dict[str, list[float]]:
    """Layer -> [neurons, timesteps, spikes per image] on clean images (Definition 1)."""
    network = study.spiking(wanted.run)
    spikes, names = SpikingActivity(), {}
    shown, _ = study.shown(wanted.network, study.scale.analysed)
    for (images,) in parts(network, shown):
        recorded = distances.spikes_of(network, images)
        names = distances.layer_names(recorded)
        spikes.update(recorded)
    return {names[name]: [layer.neurons, layer.timesteps, layer.spikes] for name, layer in spikes.compute().items()}


def pool_activity(study: Study, wanted: Measurement) -> dict[str, list[float]]:
    """Pooling layer -> [outputs, T, steps at which an output is not 0 per image, layers of neurons before it].

    The authors' code counts the spikes of a pooling layer in this way. An average of spikes is not 0 where one spikes.
    """
    network = study.spiking(wanted.run)
    modules, neurons = dict(network.layers.named_modules()), list(network.neurons)
    order = [str(node.target) for node in network.layers.graph.nodes if node.op == "call_module"]
    pools = [at for at, name in enumerate(order) if isinstance(modules.get(name), AveragePool)]
    places = {order[at]: sum(name in neurons for name in order[:at]) for at in pools}
    counted = SpikingActivity()
    for (images,) in parts(network, study.shown(wanted.network, study.scale.analysed)[0]):
        spikes = distances.spikes_of(network, images)
        before = {name: spikes[neurons[place - 1]] for name, place in places.items()}
        pooled = {name: F.max_pool2d(each.flatten(0, 1), 2) for name, each in before.items()}
        counted.update({name: each.view(*before[name].shape[:2], *each.shape[1:]) for name, each in pooled.items()})
    found = counted.compute() if places else {}
    return {
        f"pool{number}": [layer.neurons, layer.timesteps, layer.spikes, places[name]]
        for number, (name, layer) in enumerate(found.items(), start=1)
    }


def input_codings(study: Study, wanted: Measurement) -> dict[str, Any]:
    """The first test image as direct input and rate-coded: "direct" and, for each number of averaged steps, "rate".

    Pixels are [height][width][channel] in 0 to 255, undoing the normalisation; "errors" are root mean squares over the
    normalised pixels, "silent" the percent of them without a spike.
    """
    recipe, dataset = study.scale.recipe(wanted.run), study.dataset(wanted.network)
    image = study.shown(wanted.network, 1)[0].cpu()
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in data.channel_statistics(splits(recipe, dataset)[0]))
    direct = (image - mean) / std
    steps = Encoder("poisson")(direct, Window(int(max(wanted.grid)), 1))
    averages = [steps[: int(count)].mean(0, keepdim=True) for count in wanted.grid]

    def pixels(normalised: Tensor) -> Any:
        shown = (normalised * std + mean).clamp(0, 1)[0].permute(1, 2, 0)
        return (255 * shown).round().int().tolist()

    return {
        "direct": pixels(direct),
        "rate": [pixels(average) for average in averages],
        "errors": [float((average - direct).square().mean().sqrt()) for average in averages],
        "silent": [100 * float((steps[: int(count)] == 0).all(0).float().mean()) for count in wanted.grid],
    }


def operations(study: Study, wanted: Measurement) -> dict[str, Any]:
    """The `hiresnn.analysis.EnergyReport` of one image that changes grid[0] times within T, as JSON."""
    network, spec = study.spiking(wanted.run), wanted.spec(study.scale)
    counted = Energy(network, variants=int(wanted.grid[0]))
    images, labels = study.shown(wanted.network, study.scale.analysed)
    size = max(1, int(0.8 * distances.ROWS) // network.timesteps)
    for shown, truth in zip(torch.split(images, size), torch.split(labels, size), strict=True):
        counted.update(shown if spec is None else verified(spec, network, shown, truth, eps=spec.eps))
    report = counted.compute()
    return {"timesteps": report.timesteps, "layers": [asdict(layer) for layer in report.layers]}


def quantised_ann(study: Study, wanted: Measurement) -> list[float]:
    """Percent of right answers of the ANN, its activations rounded after training to each number of bits."""
    model, shown = study.network(wanted.run), study.shown(wanted.network, study.scale.images)
    recipe = study.scale.recipe(wanted.run)
    training = splits(recipe, study.dataset(wanted.network))[0]
    count = min(recipe.conversion.images, len(training))
    calibration = data.first(training, count).images.to(shown[0].device) / 255
    percent = []
    for bits in wanted.grid:
        with quantised(model, calibration, int(bits)):
            percent.append(evaluate(model, *shown))
    return percent


def training_cost(study: Study, wanted: Measurement) -> dict[str, Any]:
    """Peak memory and time of a training batch, from a process of its own, see `cost.spend`."""
    shape, recipe = study.dataset(wanted.network), study.scale.recipe(wanted.run)
    channels, size, classes = shape.in_channels, shape.image_size, shape.num_classes
    return cost.measure(recipe, study.scale.cost_batches, channels=channels, size=size, classes=classes)


MEASURE: dict[str, Callable[[Study, Measurement], Any]] = {
    "accuracy": accuracy,
    "held-out": held_out,
    "by-iteration": by_iteration,
    "by-time": by_time,
    "activity": activity,
    "pool-activity": pool_activity,
    "input-codings": input_codings,
    "operations": operations,
    "quantised-ann": quantised_ann,
    "gradient-checks": checks.gradient_checks,
    "spike-distances": distances.spike_distances,
    "leak-distances": distances.leak_distances,
    "cost": training_cost,
}
"""Kind of measurement -> the function that carries it out, which says what it returns."""
