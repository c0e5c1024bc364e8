"""Section `robust`: robust accuracy if any misclassified iterate counts, with and without dropping broken images.

`unbroken` is the second; the first is written out here. Both give a verdict for each image,
and the verdicts have to agree.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from figures import Section, over, rates
from torch import Tensor, nn
from turns import in_turns, say

from hiresnn import SpikingNetwork, data
from hiresnn.app.folder import MODEL, RunFolder
from hiresnn.app.networks import load
from hiresnn.app.recipe import Recipe, override, read
from hiresnn.app.train import train
from hiresnn.attacks import frozen, loss_gradient, unbroken
from hiresnn.attacks.gate import ascend, perturbed
from hiresnn.attacks.losses import cross_entropy
from hiresnn.progress import Progress

UNIT = "images/s"
BATCH = 200


def to_the_end(
    network: nn.Module, images: Tensor, labels: Tensor, *, eps: float, step: float, iterations: int
) -> Tensor:
    """Return which images some iterate breaks, from the image itself to the last iterate; no image is dropped."""
    broken = torch.zeros_like(labels, dtype=torch.bool)
    adversarial = images
    with frozen(network):
        for _ in range(iterations):
            at = loss_gradient(network, adversarial, labels, cross_entropy)
            broken |= at.logits.argmax(1) != labels
            adversarial = perturbed(images, ascend(adversarial - images, at.gradient, step, eps))
        with torch.no_grad():
            return broken | (network(adversarial).argmax(1) != labels)


def until_broken(
    network: nn.Module, images: Tensor, labels: Tensor, *, eps: float, step: float, iterations: int
) -> Tensor:
    """Return the same verdicts, computed by `unbroken`."""
    return ~unbroken(network, images, labels, eps=eps, step=step, iterations=iterations)


def measure_robust(quick: bool, run: Path | None = None) -> Section:
    """Compare both on a trained network, from `run` or the embedded digits; stop if a verdict differs."""
    rounds = 1 if quick else 5
    section = Section(
        "Robust accuracy",
        f"For each image of a trained network: whether any iterate of PGD breaks it, in batches of {BATCH}. All images "
        "run through all iterations, or an image leaves its batch once it is broken. The gain depends on the share of "
        "images that break.",
        {"batch": BATCH, "rounds": rounds},
    )
    with tempfile.TemporaryDirectory() as folder:
        path = run or _digits(Path(folder))
        recipe = RunFolder.open(path).recipe
        network = load(RunFolder.open(path).require(MODEL))
    assert isinstance(network, SpikingNetwork), f"{path} holds no spiking network"
    network.fuse()
    test = data.load(recipe.data.source).test
    shown = data.first(test, min(len(test), 40 if quick else 1000))
    images, labels = shown.images.float() / 255, shown.labels
    bound, count = recipe.attack.eps, len(labels)

    def verdicts(way: Callable[..., Tensor]) -> Tensor:
        settings = {"eps": bound, "step": recipe.attack.step, "iterations": recipe.attack.iterations}
        batches = zip(images.split(BATCH), labels.split(BATCH), strict=True)
        return torch.cat([way(network, *batch, **settings) for batch in batches])

    say(f"  warm-up on {recipe.name}, {recipe.method}")
    full, dropped = verdicts(to_the_end), verdicts(until_broken)
    agree = 100 * float((full == dropped).double().mean())
    if agree < 100:
        differing = int((full != dropped).sum())
        raise SystemExit(
            f"benchmark attack: `unbroken` and the full run differ in {differing} of {count} verdicts on "
            f"{recipe.name} {recipe.method}, so their times are not those of the same work."
        )
    ways = {
        "any iterate, to the end": lambda: verdicts(to_the_end),
        "any iterate, until broken": lambda: verdicts(until_broken),
    }
    for name, seconds in in_turns(ways, rounds=rounds, warmup=0).items():
        section.add(name, {UNIT: rates(seconds, count)})
    speed = over(*(section.median(name, UNIT) for name in reversed(ways)))
    section.at_least("verdicts that agree", agree, 100, " %")
    section.at_least("speed of `until broken` over `to the end`", speed, 3.0, judged=_judged(run, recipe))
    section.notes.append(
        f"The trained network is `{recipe.name}` of width {recipe.model.width:g} by the method {recipe.method}; "
        f"{count:,} test images at {255 * bound:g}/255, {recipe.attack.iterations} iterations, after which "
        f"{100 * float(1 - full.double().mean()):.1f} % are still classified correctly."
    )
    if not _judged(run, recipe):
        section.notes.append("The target of 3 is judged only on a traditional CIFAR network at 8/255: give its --run.")
    return section


def _judged(run: Path | None, recipe: Recipe) -> bool:
    return run is not None and recipe.method == "traditional" and abs(recipe.attack.eps - 8 / 255) < 1e-6


def _digits(folder: Path) -> Path:
    say("  training digits, traditional")
    recipe = override(read("digits"), {"method": "traditional", "device": "cpu"})
    return train(recipe, out=folder / "run", progress=Progress(quiet=True))
