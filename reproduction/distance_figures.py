"""Figure 5: perturbation distance behind a LIF layer over its leak, and spike distance of each layer (Definition 2)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from reproduction.accuracy_page import Values
from reproduction.claims import claims
from reproduction.labels import DIGITS, VGG5, images_label, network_label, seeds_label, setting_notes, text
from reproduction.measurements import Measurement, Run
from reproduction.page import UNCLEAR, Cell, Claim, Page, Table, verdict
from reproduction.scales import Scale
from reproduction.seedstat import SeedStat

LEAKS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
STEPS = ("0.01", "0.02", "8/255")
"""Step sizes of Fig. 5a: the paper's alpha, twice that, and the whole bound in one step."""
SIDES = {"right": "M1, right on the perturbed image", "wrong": "M2, wrong on the perturbed image"}
OBSERVATION = "sec. 3.1, Observation 3"
NETWORKS = Measurement("spike-distances", VGG5, "traditional", 0, "pgd", grid=(0, 1, 2))
"""What Fig. 5b needs: two networks, and a third on which PGD makes the images."""


def behind_layer(step: str) -> Measurement:
    """What Fig. 5a needs: one PGD step of size alpha from the image is FGSM with that bound."""
    return Measurement("leak-distances", DIGITS, "ann", attack=f"fgsm:eps={step}", grid=LEAKS)


def fig5a_needs(scale: Scale) -> list[Measurement]:
    """The distances for each step size."""
    return [behind_layer(step) for step in STEPS if scale.present([DIGITS])]


def fig5a(values: Values) -> Page:
    """Distance behind the layer over the distance of the images, for two random digits and for all."""
    scale, setting = values.scale, claims().fig5a
    found = {step: values.all(behind_layer(step)) for step in STEPS}
    ratios = {
        which: {step: _ratios(seeds, which, image) for step, seeds in found.items()}
        for which, image in (("few", "image"), ("all", "images"))
    }
    titles = {"few": f"{setting.images} random digits", "all": f"{found[STEPS[0]][0]['of']} digits"}
    columns = ["leak", *(f"step {step}, {titles[which]}" for which in ratios for step in STEPS)]
    rows: list[list[Cell]] = [
        [f"{leak:g}", *(ratios[which][step][at] for which in ratios for step in STEPS)] for at, leak in enumerate(LEAKS)
    ]
    distances: list[list[Cell]] = [
        [step, *(SeedStat.of(each[name] for each in seeds) for name in ("image", "images"))]
        for step, seeds in found.items()
    ]
    tables = [
        Table(text("fig5a.caption"), columns, rows),
        Table(text("fig5a.images"), ["step", *titles.values()], distances),
    ]

    def figure(charts: Any) -> Any:
        drawn, panels = charts.figure(1, 2, width=charts.FULL_WIDTH, height=2.6)
        for number, (axes, which) in enumerate(zip(panels, ratios, strict=True), start=1):
            for step, style in zip(STEPS, ("clean", "fgsm", "pgd"), strict=True):
                charts.line(axes, LEAKS, ratios[which][step], charts.STYLES[style].named(f"step {step}"))
            charts.level(axes, 1.0, charts.STYLES["clean"].named("distance of the images"))
            axes.set_ylim(bottom=0)
            y = "distance behind the layer\nover that of the images" if number == 1 else ""
            charts.label(axes, x="leak λ of the LIF layer", y=y, title=titles[which], panel=number)
        charts.outside(drawn, columns=4)
        return drawn

    recipe, source = scale.recipe(Run(DIGITS, "ann", 0)), scale.source(DIGITS).rpartition("/")[2]
    model = {"model": recipe.model.label, "width": recipe.model.width, "epochs": recipe.ann.epochs}
    notes = [
        text("fig5a.digits", source=source, timesteps=setting.timesteps, threshold=setting.threshold),
        text("fig5a.attack", seeds=seeds_label(scale.seeds_of(DIGITS)).capitalize(), **model),
        text("not_printed"),
    ]
    judged = [_certain_range(ratios["all"][step], step) for step in STEPS]
    return Page(tables, figure, notes, (DIGITS,), judged, images_label(scale.analysed))


def _ratios(seeds: Sequence[Any], layer: str, image: str) -> list[SeedStat]:
    return [SeedStat.of(each[layer][at] / each[image] for each in seeds) for at in range(len(LEAKS))]


def _certain_range(ratios: Sequence[SeedStat], step: str) -> Claim:
    """The claim for one step size: closer than the images at some leaks, but not at all."""
    below = [f"{leak:g}" for leak, ratio in zip(LEAKS, ratios, strict=True) if ratio.mean < 1]
    ratio, leak = min((ratio.mean, leak) for leak, ratio in zip(LEAKS, ratios, strict=True))
    words = text(
        "fig5a.found", below=len(below), leaks=len(LEAKS), which=", ".join(below) or "none", lowest=leak, ratio=ratio
    )
    return Claim(text("fig5a.claim"), verdict(0 < len(below) < len(LEAKS)), words, f"step {step}", OBSERVATION)


def fig5b_needs(scale: Scale) -> list[Measurement]:
    """The distances between the two networks."""
    return [NETWORKS] if scale.present([VGG5]) else []


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
        text("not_printed"),
    ]
    table = Table(text("fig5b.caption", network=network_label(VGG5)), columns, rows)
    judged = [_rises(layers, found[side], words) for side, words in SIDES.items() if layers]
    about = f"{found['images']} of {found['of']} test images"
    return Page([table], lambda charts: _fig5b(charts, found), notes, (VGG5,), judged, about)


def _rises(layers: Sequence[str], found: Any, side: str) -> Claim:
    """The claim by the distances of Definition 2: it agrees if it is true of at least half of the images."""

    def rising(values: Sequence[float]) -> list[str]:
        return [name for name, (before, after) in zip(layers[1:], pairwise(values), strict=True) if after > before]

    shown, some = rising(found["one"]), sum(bool(rising(each)) for each in found["all"])
    words = text("fig5b.found", layers=", ".join(shown) or "no layer", some=some, images=len(found["all"]))
    result = UNCLEAR if 0 < 2 * some < len(found["all"]) else verdict(some > 0)
    return Claim(text("fig5b.claim"), result, words, side, OBSERVATION)


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
            charts.bars(axes, layers, list(zip(styles, values, strict=True)), digits=1)
            axes.margins(y=0.12)
        charts.outside(drawn, columns=2)
    titles = ("one image", f"mean of {found['images']} images")
    for number, (axes, title) in enumerate(zip(panels, titles, strict=True), start=1):
        charts.label(axes, x="layer", y="spike PD ($L_2$ of spikes / T)", title=title, panel=number)
    return drawn


def _mean(values: list[list[float]], at: int) -> SeedStat:
    """Over images."""
    return SeedStat.of(image[at] for image in values)
