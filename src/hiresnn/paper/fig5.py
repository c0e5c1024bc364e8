"""Fig. 5a: what a single layer of LIF neurons makes of a perturbation, over its leak. Fig. 5b: fig5b.py."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hiresnn import data
from hiresnn.analysis import PerturbationDistance, SpikeDistance
from hiresnn.attacks import verified
from hiresnn.neurons import LIF, Window
from hiresnn.paper.artefact import Artefact, Cell, Table
from hiresnn.paper.claims import claims
from hiresnn.paper.fig5b import fig5b
from hiresnn.paper.stat import Stat
from hiresnn.paper.study import Study
from hiresnn.paper.sweep import judged
from hiresnn.runs.checkpoint import load
from hiresnn.runs.evaluate import attack_of
from hiresnn.runs.folder import MODEL
from hiresnn.runs.recipe import Recipe, digest, override, read
from hiresnn.runs.train import train

__all__ = ["distances", "fig5a", "fig5b"]

SECONDS = 5.0
"""To train the small ANN on the digits that makes the perturbations."""


def fig5a(study: Study) -> Artefact:
    """Perturbation distance of digits, and of the spikes that a LIF layer makes of them, over the leak."""
    leaks = study.scale.leaks
    found = [_measured(study, seed) for seed in study.seeds]
    few, image, all_spikes, all_image = (_over(found, name, len(leaks)) for name in ("few", "image", "all", "images"))
    setting, chosen = claims().fig5a, f"{claims().fig5a.images} random digits"
    rows: list[list[Cell]] = [
        [f"{leak:g}", few[at], image[0], _ratio(few[at], image[0]), all_spikes[at], all_image[0]]
        for at, leak in enumerate(leaks)
    ]
    below = [f"{leak:g}" for leak, stat in zip(leaks, few, strict=True) if stat.mean < image[0].mean]
    lowest = min(zip(leaks, few, strict=True), key=lambda pair: pair[1].mean)[0]
    recipe = _recipe(0)
    attack = attack_of(recipe, _attack())
    notes = [
        f"Digits are the 8 x 8 ones of scikit-learn; each pixel, in [0, 1], is the current of one neuron at each of "
        f"T = {setting.timesteps} steps (direct coding). Threshold {setting.threshold:g}.",
        f"PGD-{setting.iterations}, eps = {255 * attack.eps:g}/255, alpha = {attack.resolved()['step']:g}, on an ANN "
        f"({recipe.model.name}, width {recipe.model.width:g}, {recipe.ann.epochs} epochs), which the paper does not "
        f"name. Seeds {', '.join(map(str, study.seeds))}, each with its own ANN and its own digits.",
        "The paper draws this figure and prints none of its numbers.",
        "At leak 1 the spikes per step follow pixel / threshold, so that but for rounding to whole spikes the ratio "
        f"is 1 / {setting.threshold:g} = {1 / setting.threshold:.3g}.",
        judged(
            "the layer makes the distance smaller, but only where its leak falls in a certain range",
            0 < len(below) < len(leaks),
            f"the spikes lie closer than the images at {len(below)} of {len(leaks)} leaks "
            f"({', '.join(below) or 'none'}), and closest at leak {lowest:g}",
        ),
    ]
    columns = ["leak", f"spike PD, {chosen}", f"image PD, {chosen}", "ratio", "spike PD, all", "image PD, all"]
    caption = (
        "L2 distance from clean to perturbed: of the images (pixels in [0, 1]) and of their spikes / T. Mean ± sample "
        "standard deviation over seeds."
    )

    def figure(plotting: Any) -> Any:
        drawn, (axes,) = plotting.figure(height=2.7)
        style = plotting.STYLES
        plotting.line(axes, leaks, few, style["hire"].named(f"LIF layer, {chosen}"))
        plotting.line(axes, leaks, all_spikes, style["direct"].named("LIF layer, all test digits"))
        plotting.level(axes, image[0].mean, style["hire"].named(f"images, {chosen}"))
        plotting.level(axes, all_image[0].mean, style["direct"].named("images, all test digits"))
        axes.set_ylim(bottom=0)
        plotting.label(axes, x="leak λ of the LIF layer (1)", y="perturbation distance ($L_2$)")
        plotting.outside(drawn, columns=2)
        return drawn

    title = "Perturbation distance behind a LIF layer over its leak"
    return Artefact("fig5a", title, [Table(caption, columns, rows)], figure, notes)


def distances(images: Tensor, adversarial: Tensor, *, threshold: float, leak: float, timesteps: int) -> Tensor:
    """Spike PD of each image (Definition 2) behind one LIF layer whose currents are the pixels, [B]."""
    window = Window(timesteps, len(images))
    lif = LIF(threshold, leak, trainable=False)
    measure = SpikeDistance()
    clean, attacked = (window.by_step(lif(currents, window, False)) for currents in (images, adversarial))
    measure.update({"lif": clean}, {"lif": attacked})
    return measure.compute()["lif"].per_image


def _attack() -> str:
    return f"pgd:iterations={claims().fig5a.iterations}"


def _recipe(seed: int) -> Recipe:
    return override(read("digits"), {"method": "ann", "seed": str(seed), "ann.epochs": "10", "device": "cpu"})


def _measured(study: Study, seed: int) -> dict[str, list[float]]:
    """Distances, the mean over images: "few" and "all" at each leak, "image" and "images" of the pixels."""
    setting, recipe, leaks = claims().fig5a, _recipe(seed), study.scale.leaks
    attack = attack_of(recipe, _attack(), seed)
    name = f"digits-ann-seed{seed}-{digest(recipe.model_dump(mode='json'))}"
    key = {
        "what": "lif-layer",
        "ann": name,
        "attack": attack.resolved(),
        "leaks": leaks,
        "threshold": setting.threshold,
        "timesteps": setting.timesteps,
        "images": setting.images,
    }

    def work() -> dict[str, list[float]]:
        out = study.root / "runs" / name
        if not (out / MODEL).is_file():
            train(recipe, out=out, resume=True, progress=study.progress)
        test = data.load(recipe.data.source).test
        images = test.images / 255
        adversarial = verified(attack, load(out / MODEL), images, test.labels, eps=attack.eps)
        chosen = torch.randperm(len(images))[: setting.images]
        changed = PerturbationDistance()
        changed.update(images, adversarial)
        pixels = changed.compute().per_image
        spikes = [
            distances(images, adversarial, threshold=setting.threshold, leak=leak, timesteps=setting.timesteps)
            for leak in leaks
        ]
        return {
            "few": [float(found[chosen].mean()) for found in spikes],
            "all": [float(found.mean()) for found in spikes],
            "image": [float(pixels[chosen].mean())],
            "images": [float(pixels.mean())],
        }

    found: dict[str, list[float]] = study.measured(key, work, seconds=SECONDS)
    return found


def _over(found: list[dict[str, list[float]]], name: str, leaks: int) -> list[Stat]:
    count = 1 if name.startswith("image") else leaks
    values = [list(seed[name]) or [float("nan")] * count for seed in found]
    return [Stat.of(seeds) for seeds in zip(*values, strict=True)]


def _ratio(spikes: Stat, image: Stat) -> Stat:
    return Stat.of(one / other for one, other in zip(spikes.values, image.values, strict=True))
