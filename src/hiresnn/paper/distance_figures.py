"""Figure 5: perturbation distance behind a LIF layer over its leak, and spike distance layer by layer."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from hiresnn.paper.accuracy_page import Values
from hiresnn.paper.claims import claims
from hiresnn.paper.distances import digits_attack, digits_recipe
from hiresnn.paper.labels import VGG5, network_label, seeds_label, setting_notes, text
from hiresnn.paper.measurements import Measurement
from hiresnn.paper.page import Cell, Page, Table, judged
from hiresnn.paper.scales import Scale
from hiresnn.paper.seedstat import SeedStat

LEAKS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
SIDES = {"right": "M1, right on the perturbed image", "wrong": "M2, wrong on the perturbed image"}


LAYER = Measurement("layer-distances", grid=LEAKS)
"""What Fig. 5a needs, for each seed of the scale."""
NETWORKS = Measurement("spike-distances", VGG5, "traditional", 0, "pgd", grid=(0, 1, 2))
"""What Fig. 5b needs: two networks, and a third on which PGD makes the images."""


def fig5a(values: Values) -> Page:
    """Perturbation distance of digits, and of the spikes that a LIF layer makes of them, over the leak."""
    found = values.all(LAYER)
    few, image, every, images = (
        [SeedStat.of(seeds) for seeds in zip(*(each[name] for each in found), strict=True)]
        for name in ("few", "image", "all", "images")
    )
    setting, chosen = claims().fig5a, f"{claims().fig5a.images} random digits"
    rows: list[list[Cell]] = [
        [f"{leak:g}", few[at], image[0], few[at].over(image[0]), every[at], images[0]] for at, leak in enumerate(LEAKS)
    ]
    below = [f"{leak:g}" for leak, stat in zip(LEAKS, few, strict=True) if stat.mean < image[0].mean]
    lowest = min(zip(LEAKS, few, strict=True), key=lambda pair: pair[1].mean)[0]
    which = ", ".join(below) or "none"
    words = text("fig5a.found", below=len(below), leaks=len(LEAKS), which=which, lowest=lowest)
    claim = judged(text("fig5a.claim"), 0 < len(below) < len(LEAKS), words)
    columns = ["leak", f"spike PD, {chosen}", f"image PD, {chosen}", "ratio", "spike PD, all", "image PD, all"]

    def figure(charts: Any) -> Any:
        drawn, (axes,) = charts.figure(height=2.7)
        hire, direct = charts.STYLES["hire"], charts.STYLES["direct"]
        charts.line(axes, LEAKS, few, hire.named(f"LIF layer, {chosen}"))
        charts.line(axes, LEAKS, every, direct.named("LIF layer, all test digits"))
        charts.level(axes, image[0].mean, hire.named(f"images, {chosen}"))
        charts.level(axes, images[0].mean, direct.named("images, all test digits"))
        axes.set_ylim(bottom=0)
        charts.label(axes, x="leak λ of the LIF layer (1)", y="perturbation distance ($L_2$)")
        charts.outside(drawn, columns=2)
        return drawn

    notes = [*_digits_notes(values.scale), text("not_printed")]
    notes += [text("fig5a.limit", threshold=setting.threshold, ratio=1 / setting.threshold), claim]
    return Page([Table(text("fig5a.caption"), columns, rows)], figure, notes)


def _digits_notes(scale: Scale) -> list[str]:
    setting, recipe, attack = claims().fig5a, digits_recipe(0), digits_attack(0)
    model = {"model": recipe.model.label, "width": recipe.model.width, "epochs": recipe.ann.epochs}
    options = {"iterations": setting.iterations, "eps": 255 * attack.eps, "step": attack.resolved()["step"]}
    seeds = seeds_label(tuple(range(scale.seeds))).capitalize()
    return [
        text("fig5a.digits", timesteps=setting.timesteps, threshold=setting.threshold),
        text("fig5a.attack", seeds=seeds, **model, **options),
    ]


def fig5b(values: Values) -> Page:
    """Spike distance of every layer on one image, and its mean over all images that divide the two networks."""
    (found,) = values.all(NETWORKS)
    layers, images = found.get("layers", []), {"count": found["images"], "of": found["of"]}
    rows: list[list[Cell]] = []
    if layers:
        rows.append(["image", "", *[found["image"][0]] * 2, *[_mean(found["image"][1], 0)] * 2])
    for at, layer in enumerate(layers):
        one: list[Cell] = [found[side]["one"][at] for side in SIDES]
        rows.append([layer, f"{found['neurons'][at]}", *one, *(_mean(found[side]["all"], at) for side in SIDES)])
    columns = ["layer", "neurons", *(f"{words.partition(',')[0]}, one image" for words in SIDES.values())]
    columns += ["right network, all images", "wrong network, all images"]
    one_seed, other, maker = map(int, NETWORKS.grid)
    notes = [
        *setting_notes(values.scale, (VGG5,)),
        text("fig5b.networks", one=one_seed, other=other, maker=maker),
        text("fig5b.images", **images) + (f"; {text('fig5b.one')}" if layers else "."),
        text("fig5b.per_neuron"),
        text("not_printed"),
        *_judgements(found, layers),
    ]
    caption = text("fig5b.caption", network=network_label(VGG5))
    return Page([Table(caption, columns, rows)], lambda charts: _fig5b(charts, found), notes, (VGG5,))


def _judgements(found: dict[str, Any], layers: list[str]) -> list[str]:
    """Observation 3: the distance does not always fall from layer to layer, whether the network is right or wrong."""
    notes = []
    for side, words in SIDES.items() if layers else ():
        change = [value / math.sqrt(size) for value, size in zip(found[side]["one"], found["neurons"], strict=True)]
        rises = [name for name, (before, after) in zip(layers[1:], pairwise(change), strict=True) if after > before]
        numbers = f"judged per neuron, it rises at {', '.join(rises) or 'no layer'}"
        notes.append(judged(text("fig5b.claim"), bool(rises), numbers, of=words))
    return notes


def _fig5b(charts: Any, found: dict[str, Any]) -> Any:
    drawn, panels = charts.figure(1, 2, width=charts.FULL_WIDTH, height=2.5)
    layers = found.get("layers", [])
    if layers:
        styles = [
            charts.STYLES[key].named(words) for key, words in zip(("direct", "hire"), SIDES.values(), strict=True)
        ]
        one = [[SeedStat.of([value]) for value in found[side]["one"]] for side in SIDES]
        every = [[_mean(found[side]["all"], at) for at in range(len(layers))] for side in SIDES]
        for axes, values in zip(panels, (one, every), strict=True):
            charts.bars(axes, layers, list(zip(styles, values, strict=True)))
        charts.outside(drawn, columns=2)
    for axes, title in zip(panels, ("(a) one image", f"(b) mean of {found['images']} images"), strict=True):
        charts.label(axes, x="layer", y="spike PD ($L_2$ of spikes per step)", title=title)
    return drawn


def _mean(values: list[list[float]], at: int) -> SeedStat:
    """Over images."""
    return SeedStat.of(image[at] for image in values)
