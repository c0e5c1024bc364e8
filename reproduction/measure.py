"""How each kind of value is measured: accuracies, spikes (Definitions 1 and 2), operations, checks, cost."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn import data
from hiresnn.analysis import Energy, PerturbationDistance, SpikeDistance, SpikingActivity, evaluate
from hiresnn.analysis.accuracy import accuracy as split_accuracy
from hiresnn.app.build import device_of, splits
from hiresnn.app.recipe import digest
from hiresnn.app.targets import normalisation
from hiresnn.attacks import Model, frozen, parse, pgd, seeded, transfer, verified
from hiresnn.attacks.losses import margin
from hiresnn.audit import InstrumentedModel
from hiresnn.audit.behaviour import OWN, ROUNDED_OFF
from hiresnn.audit.build_card import questions
from hiresnn.audit.presets import DIRECTIONS
from hiresnn.audit.sweep import screen_rule
from hiresnn.calls import bound_at
from hiresnn.checks import correct
from hiresnn.errors import RunError
from hiresnn.modes import evaluating
from hiresnn.network import SpikingNetwork, record
from hiresnn.network.layers import AveragePool, Encoder
from hiresnn.neurons import LIF, Window
from reproduction import cost
from reproduction.paper import CLAIMS, TWINS
from reproduction.study import Measurement, Study

ROWS = 2000  # images times timesteps of a batch whose spikes are recorded
TWIN_STEP = 0.25  # step size of the attack on a twin, as a share of the bound
CEILINGS = tuple(step / 20 for step in range(1, 21))  # tried for a quantised activation, as shares of the largest one


def measure(study: Study, measurement: Measurement) -> None:
    """Measure a value whose runs are trained, and store it, unless it is stored."""
    if study.find(measurement):
        return
    started = time.perf_counter()
    with seeded(int(digest(study.key(measurement))[:8], 16)):  # no value depends on what else was measured
        right: list[bool] = []
        options = {"right": right} if MEASURE[measurement.kind] is accuracy else {}
        value = MEASURE[measurement.kind](study, measurement, **options)
    study.put(measurement, value, time.perf_counter() - started, right)


def accuracy(study: Study, one: Measurement, right: list[bool] | None = None) -> float:
    """Percent of right answers, clean or under attack; "held-out" on images that the recipe held out of training.

    `right` gets whether each answer is right, image by image.
    """
    if one.kind == "accuracy":
        split = study.test(one.network, study.scale.images)
    elif held := splits(study.recipe(one.run), study.dataset(one.network))[1]:
        split = data.first(held, min(study.scale.images or len(held), len(held)))
    else:
        raise RunError(f"{study.name(one.run)} held no images out; set data.holdout_images in its recipe.")
    network, spec = study.network(one.run), one.spec(study.scale)
    torch.manual_seed(one.seed or 0)  # as `hiresnn evaluate` does
    title = f"{study.name(one.run)}: {one.attack or 'clean'}, {one.box}"
    options = {"device": device_of(study.scale.recipe(one.run)), "title": title, "progress": study.progress}
    options["right"] = right
    if spec:
        options |= {"attack": transfer(spec, study.attacked(one.runs()[-1])), "eps": spec.eps}
    return split_accuracy(network, split, **options)


@torch.no_grad()
def margins(study: Study, one: Measurement) -> list[float]:
    """True logit minus largest other one: what 10, 50 and 90 % of the images do not exceed; percent above 16.6."""
    network, (images, labels) = study.network(one.run), study.images(one.network, study.scale.images)
    with frozen(network):
        parts = [
            -margin(network(batch), truth) for batch, truth in zip(images.split(200), labels.split(200), strict=True)
        ]
    gaps = torch.cat(parts).double()
    quantiles = torch.quantile(gaps, gaps.new_tensor([0.1, 0.5, 0.9])).tolist()
    return [*quantiles, 100 * float((gaps > ROUNDED_OFF).double().mean())]


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


def by_time(study: Study, one: Measurement) -> list[float]:
    """Percent of right answers on clean images when the network is stopped after each number of timesteps."""
    network, images = study.network(one.run), study.images(one.network, study.scale.analysed)
    return [
        evaluate(partial(network, timesteps=steps), *images, batch_size=max(1, ROWS // steps))
        for steps in map(int, one.grid)
    ]


def quantised_ann(study: Study, one: Measurement) -> list[float]:
    """Percent of right answers of the ANN, its activations rounded after training to each number of bits."""
    model, (images, labels) = study.network(one.run), study.images(one.network, study.scale.images)
    recipe = study.scale.recipe(one.run)
    training = splits(recipe, study.dataset(one.network))[0]
    calibration = data.first(training, min(recipe.conversion.images, len(training))).images.to(images.device) / 255
    percent = []
    for bits in map(int, one.grid):
        with quantised(model, calibration, bits):
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
    return min(
        (top * share for share in CEILINGS),
        key=lambda ceiling: float((quantise(activations, ceiling, bits) - activations).square().mean()),
    )


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


def parts(network: SpikingNetwork, *tensors: Tensor, rows: int = 0) -> Iterator[tuple[Tensor, ...]]:
    """Tensors of as many images each, in batches that suit the network's T."""
    size = max(1, (rows or ROWS) // network.timesteps)
    return zip(*(torch.split(tensor, size) for tensor in tensors), strict=True)


@torch.no_grad()
def spikes_of(network: SpikingNetwork, images: Tensor) -> dict[str, Tensor]:
    """The spikes [T, B, ...] of each layer: conv1, conv2, ... where its neurons form a map, else fc1, ..."""
    with record(network) as spikes:
        network(images)
    counters = {"conv": count(1), "fc": count(1)}
    kinds = ("conv" if layer.dim() == 5 else "fc" for layer in spikes.values())
    return {f"{kind}{next(counters[kind])}": layer for kind, layer in zip(kinds, spikes.values(), strict=True)}


def activity(study: Study, one: Measurement) -> dict[str, list[float]]:
    """Layer -> [neurons, timesteps, spikes per image] on clean images (Definition 1)."""
    network, counted = study.network(one.run), SpikingActivity()
    for (images,) in parts(network, study.images(one.network, study.scale.analysed)[0]):
        counted.update(spikes_of(network, images))
    return {name: [layer.neurons, layer.timesteps, layer.spikes] for name, layer in counted.compute().items()}


def pool_activity(study: Study, one: Measurement) -> dict[str, list[float]]:
    """Pooling layer -> [outputs, T, steps at which an output is not 0 per image, layers of neurons before it].

    The authors' code counts the spikes of a pooling layer in this way. An average of spikes is not 0 where one spikes.
    """
    network, counted = study.network(one.run), SpikingActivity()
    modules = dict(network.layers.named_modules())
    order = [str(node.target) for node in network.layers.graph.nodes if node.op == "call_module"]
    pools = [at for at, name in enumerate(order) if isinstance(modules.get(name), AveragePool)]
    if not pools:
        return {}
    before = {f"pool{n}": sum(name in network.neurons for name in order[:at]) for n, at in enumerate(pools, start=1)}
    for (images,) in parts(network, study.images(one.network, study.scale.analysed)[0]):
        layers = list(spikes_of(network, images).values())
        for name, number in before.items():
            steps = layers[number - 1]
            counted.update({name: F.max_pool2d(steps.flatten(0, 1), 2).unflatten(0, steps.shape[:2])})
    return {
        name: [layer.neurons, layer.timesteps, layer.spikes, before[name]] for name, layer in counted.compute().items()
    }


def input_codings(study: Study, one: Measurement) -> dict[str, Any]:
    """The first test image as direct input and rate-coded: "direct" and, for each number of averaged steps, "rate".

    Pixels are [height][width][channel] in 0 to 255, undoing the normalisation; "errors" are root mean squares over the
    normalised pixels, "silent" the percent of them without a spike.
    """
    recipe, dataset = study.scale.recipe(one.run), study.dataset(one.network)
    image = study.images(one.network, 1)[0].cpu()
    mean, std = (
        torch.tensor(part).view(1, -1, 1, 1) for part in normalisation(recipe, dataset, splits(recipe, dataset)[0])
    )
    direct = (image - mean) / std
    steps = Encoder("poisson")(direct, Window(int(max(one.grid)), 1))
    first = [steps[: int(number)] for number in one.grid]
    averages = [some.mean(0, keepdim=True) for some in first]

    def pixels(normalised: Tensor) -> Any:
        visible = (normalised * std + mean).clamp(0, 1)[0].permute(1, 2, 0)
        return (255 * visible).round().int().tolist()

    return {
        "direct": pixels(direct),
        "rate": [pixels(average) for average in averages],
        "errors": [float((average - direct).square().mean().sqrt()) for average in averages],
        "silent": [100 * float((some == 0).all(0).float().mean()) for some in first],
    }


def operations(study: Study, one: Measurement) -> dict[str, Any]:
    """The `hiresnn.analysis.EnergyReport` of one image that changes grid[0] times within T, as JSON."""
    network, spec = study.network(one.run), one.spec(study.scale)
    counted = Energy(network, variants=int(one.grid[0]))
    for images, labels in parts(network, *study.images(one.network, study.scale.analysed), rows=int(0.8 * ROWS)):
        counted.update(images if spec is None else verified(spec, network, images, labels, eps=spec.eps))
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
    distance.update(*({"lif": window.by_step(lif(pixels, window, False))} for pixels in (images, adversarial)))
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

    @torch.no_grad()
    def right_on(network: SpikingNetwork, pixels: Tensor) -> Tensor:
        return correct(torch.cat([network(part) for (part,) in parts(network, pixels)]), labels)

    both = right_on(first, images) & right_on(second, images)
    first_right, second_right = (both & right_on(network, attacked) for network in (first, second))
    split = (first_right ^ second_right).nonzero()[:, 0]
    if not len(split):
        return {"images": 0, "of": len(images)}
    clean, moved = images[split], attacked[split]
    ours, theirs = (network_distances(network, clean, moved) for network in (first, second))
    is_first = first_right[split].cpu()[:, None]
    right, wrong = torch.where(is_first, ours, theirs), torch.where(is_first, theirs, ours)  # [image, layer]
    pixels, layers = _moved(clean, moved), spikes_of(first, images[:1])
    chosen = int(torch.randint(len(split), ()))
    return {
        "layers": list(layers),
        "neurons": [layer[0, 0].numel() for layer in layers.values()],
        "right": {"one": right[chosen].tolist(), "all": right.tolist()},
        "wrong": {"one": wrong[chosen].tolist(), "all": wrong.tolist()},
        "image": [float(pixels[chosen]), pixels[:, None].tolist()],
        "images": len(split),
        "of": len(images),
    }


def network_distances(network: SpikingNetwork, images: Tensor, attacked: Tensor) -> Tensor:
    """Spike distances [image, layer]."""
    distance = SpikeDistance()
    for pair in parts(network, images, attacked):
        distance.update(*(spikes_of(network, batch) for batch in pair))
    return torch.stack([layer.per_image for layer in distance.compute().values()], 1)


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
    """Answers on correctly classified images; `budget`: most images, PGD iterations, queries of Square, noise draws."""
    limit, steps, queries, draws = map(int, budget)
    model, bound = InstrumentedModel(network, images[:16]), bound_at(eps)
    with torch.no_grad():
        right = correct(torch.cat([network(part) for part in torch.split(images, 200)]), labels)
    images, labels = images[right][:limit], labels[right][:limit]
    screened = screen_rule(model, OWN, images, labels, bound, steps, DIRECTIONS)

    def broken(attack: str, maker: Model | None = None) -> Any:
        spec = parse(attack, eps=bound.radius, step=TWIN_STEP * bound.radius)
        adversarial = verified(transfer(spec, maker or model), model, images, labels, eps=bound.radius)
        with torch.no_grad():
            return (~correct(model(adversarial), labels)).cpu().numpy()

    blind = {f"noise, {kind}": broken(f"noise:kind={kind},draws={draws}") for kind in ("uniform", "sign")}
    blind["Square"] = broken(f"square:queries={queries}")
    for kind, twin in twins.items():
        blind[f"images of the {kind} twin"] = broken(f"pgd-restarts:iterations={steps},restarts=1,loss=margin", twin)
    return [{"yes": bool(answer.yes), "evidence": answer.evidence} for answer in questions(screened, blind, bound)]


def training_cost(study: Study, one: Measurement) -> dict[str, Any]:
    """Peak memory and time of a training batch, from a process of its own, see `cost.spend`."""
    dataset, recipe = study.dataset(one.network), study.scale.cost_recipe(one.run)
    shape = {"channels": dataset.in_channels, "size": dataset.height, "classes": dataset.num_classes}
    return cost.measure(recipe, study.scale.cost_batches, **shape)


MEASURE: dict[str, Callable[..., Any]] = {
    "accuracy": accuracy,
    "margins": margins,
    "held-out": accuracy,
    "by-iteration": by_iteration,
    "by-time": by_time,
    "activity": activity,
    "pool-activity": pool_activity,
    "input-codings": input_codings,
    "operations": operations,
    "quantised-ann": quantised_ann,
    "gradient-checks": gradient_checks,
    "spike-distances": spike_distances,
    "leak-distances": leak_distances,
    "cost": training_cost,
}
"""Kind of measurement -> the function that carries it out, which says what it returns."""
