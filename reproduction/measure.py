"""How each kind of measurement is carried out: `measure` finds a value in the store, or measures and stores it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn import data
from hiresnn.analysis import evaluate
from hiresnn.analysis.accuracy import accuracy as split_accuracy
from hiresnn.app.context import device_of, splits
from hiresnn.app.recipe import digest
from hiresnn.attacks import Model, frozen, parse, pgd, seeded, transfer, verified
from hiresnn.audit import InstrumentedModel
from hiresnn.audit.behaviour import OWN
from hiresnn.audit.bounds import bound_at
from hiresnn.audit.rules import DIRECTIONS, RuleScreening, questions, screen_rule
from hiresnn.data import Split
from hiresnn.errors import RunError
from hiresnn.metrics import correct
from hiresnn.network import evaluating
from reproduction import cost, spikes
from reproduction.scales import TWINS
from reproduction.study import Measurement, StoredValue, Study

TWIN_STEP = 0.25  # step size of the attack on a twin, as a share of the bound
CEILINGS = tuple(step / 20 for step in range(1, 21))
"""Ceilings that are tried for a quantised activation, as shares of the largest one."""


def measure(study: Study, measurement: Measurement) -> StoredValue:
    """The value of a measurement whose runs are trained."""
    if stored := study.find(measurement):
        return stored
    started = time.perf_counter()
    with seeded(int(digest(study.key(measurement))[:8], 16)):  # no value depends on what else was measured
        value = MEASURE[measurement.kind](study, measurement)
    return study.put(measurement, value, time.perf_counter() - started)


def accuracy(study: Study, one: Measurement) -> float:
    """Percent of right answers on test images, clean or under attack."""
    return _accuracy(study, one, study.test(one.network, study.scale.images))


def held_out(study: Study, one: Measurement) -> float:
    """The same on images that the recipe held out of training, on which hyperparameters are chosen."""
    held = splits(study.recipe(one.run), study.dataset(one.network))[1]
    if held is None:
        raise RunError(f"{study.name(one.run)} held no images out; set data.holdout_images in its recipe.")
    return _accuracy(study, one, data.first(held, min(study.scale.images or len(held), len(held))))


def _accuracy(study: Study, one: Measurement, split: Split) -> float:
    networks, spec = [study.network(run) for run in one.runs()], one.spec(study.scale)
    torch.manual_seed(one.seed or 0)  # as `hiresnn evaluate` does
    return split_accuracy(
        networks[0],
        split,
        attack=spec and transfer(spec, networks[-1]),
        eps=None if spec is None else spec.eps,
        device=device_of(study.scale.recipe(one.run)),
        title=f"{study.name(one.run)}: {one.attack or 'clean'}, {one.box}",
        progress=study.progress,
    )


def by_iteration(study: Study, one: Measurement) -> list[float]:
    """Percent of right answers after each number of PGD iterations, watched in one attack of the longest."""
    model, spec = study.network(one.run), one.spec(study.scale)
    images, labels = study.images(one.network, study.scale.images)
    right = dict.fromkeys(one.grid, 0)
    for batch, truth in zip(torch.split(images, 200), torch.split(labels, 200), strict=True):

        def watch(done: int, logits: Tensor, truth: Tensor = truth) -> None:
            if done in right:
                right[done] += int(correct(logits, truth).sum())

        adversarial = pgd(model, batch, truth, watch=watch, **spec.arguments())
        with frozen(model), torch.no_grad():
            watch(int(one.grid[-1]), model(adversarial))
    return [100 * count / len(labels) for count in right.values()]


def quantised_ann(study: Study, one: Measurement) -> list[float]:
    """Percent of right answers of the ANN, its activations rounded after training to each number of bits."""
    model, (images, labels) = study.network(one.run), study.images(one.network, study.scale.images)
    recipe = study.scale.recipe(one.run)
    training = splits(recipe, study.dataset(one.network))[0]
    count = min(recipe.conversion.images, len(training))
    calibration = data.first(training, count).images.to(images.device) / 255
    percent = []
    for bits in one.grid:
        with quantised(model, calibration, int(bits)):
            percent.append(evaluate(model, images, labels))
    return percent


def quantise(activations: Tensor, ceiling: float, bits: int) -> Tensor:
    """Activations, not negative, rounded to 2^bits levels between 0 and `ceiling`, which is above 0.

    q(a) = round(min(a, c) / c * (2^b - 1)) * c / (2^b - 1)

    >>> quantise(torch.tensor([0.0, 0.4, 1.4, 9.0]), 3.0, 2).tolist()
    [0.0, 0.0, 1.0, 3.0]
    """
    levels = 2**bits - 1
    return (activations.clamp(max=ceiling) * (levels / ceiling)).round() * (ceiling / levels)


def best_ceiling(activations: Tensor, bits: int) -> float:
    """The ceiling among shares of the largest activation with the least mean square error; 1 where all are 0."""
    top = float(activations.max())
    if not top > 0:
        return 1.0
    errors = [float((quantise(activations, top * share, bits) - activations).square().mean()) for share in CEILINGS]
    return top * CEILINGS[errors.index(min(errors))]


@contextmanager
def quantised(ann: nn.Module, images: Tensor, bits: int) -> Iterator[None]:
    """`ann` in eval mode with activations of `bits` bits, calibrated on `images` [B, C, H, W].

    Weights, sums and the image keep 32 bits, as `Prices.quantised_mac` counts.
    """
    ceilings: dict[nn.Module, float] = {}

    def rounded(relu: nn.Module, inputs: tuple[Tensor, ...], activations: Tensor) -> Tensor:
        if relu not in ceilings:  # the calibration: layers come in order, the earlier ones rounded
            ceilings[relu] = best_ceiling(activations, bits)
        return quantise(activations, ceilings[relu], bits)

    with ExitStack() as stack:
        for relu in (module for module in ann.modules() if isinstance(module, nn.ReLU)):
            stack.enter_context(relu.register_forward_hook(rounded))
        stack.enter_context(evaluating(ann))
        with torch.no_grad():
            ann(images)
        yield


def gradient_checks(study: Study, one: Measurement) -> list[dict[str, Any]]:
    """The audit's five questions on one network (Athalye et al. 2018); a yes means that the check fails."""
    study.progress.line(f"  {study.name(one.run)}: five checks, image by image")
    images, labels = study.images(one.network, study.scale.images)
    network, *twins = (study.network(run) for run in one.runs())
    eps = study.scale.recipe(one.run).attack.eps
    return answers(network, dict(zip(TWINS, twins, strict=True)), eps, images, labels, one.grid)


def answers(
    network: nn.Module,
    twins: Mapping[str, nn.Module],
    eps: float,
    images: Tensor,
    labels: Tensor,
    budget: Sequence[float],
) -> list[dict[str, Any]]:
    """Answers on correctly classified images.

    `budget` is the largest number of images, PGD iterations, queries of Square, draws of noise.
    """
    count, steps, queries, draws = map(int, budget)
    model, bound = InstrumentedModel(network, images[:16]), bound_at(eps)
    with torch.no_grad():
        right = correct(torch.cat([network(part) for part in torch.split(images, 200)]), labels)
    images, labels = images[right][:count], labels[right][:count]
    screened = RuleScreening.read(OWN, screen_rule(model, OWN, images, labels, bound, steps, DIRECTIONS))

    def broken(attack: str, maker: Model | None = None) -> Any:
        spec = parse(attack, eps=bound.radius, step=TWIN_STEP * bound.radius)
        aimed = spec if maker is None else transfer(spec, maker)
        adversarial = verified(aimed, model, images, labels, eps=bound.radius)
        with torch.no_grad():
            return (~correct(model(adversarial), labels)).cpu().numpy()

    blind = {f"noise, {kind}": broken(f"noise:kind={kind},draws={draws}") for kind in ("uniform", "sign")}
    blind["Square"] = broken(f"square:queries={queries}")
    for kind, twin in twins.items():
        made = f"pgd-restarts:iterations={steps},restarts=1,loss=margin"
        blind[f"images of the {kind} twin"] = broken(made, twin)
    return [{"yes": bool(answer.yes), "evidence": answer.evidence} for answer in questions(screened, blind, bound)]


def training_cost(study: Study, one: Measurement) -> dict[str, Any]:
    """Peak memory and time of a training batch, from a process of its own, see `cost.spend`."""
    dataset, recipe = study.dataset(one.network), study.scale.recipe(one.run)
    shape = {"channels": dataset.in_channels, "size": dataset.image_size, "classes": dataset.num_classes}
    return cost.measure(recipe, study.scale.cost_batches, **shape)


MEASURE: dict[str, Callable[[Study, Measurement], Any]] = {
    "accuracy": accuracy,
    "held-out": held_out,
    "by-iteration": by_iteration,
    "by-time": spikes.accuracy_by_time,
    "activity": spikes.activity,
    "pool-activity": spikes.pool_activity,
    "input-codings": spikes.input_codings,
    "operations": spikes.operations,
    "quantised-ann": quantised_ann,
    "gradient-checks": gradient_checks,
    "spike-distances": spikes.spike_distances,
    "leak-distances": spikes.leak_distances,
    "cost": training_cost,
}
"""Kind of measurement -> the function that carries it out, which says what it returns."""
