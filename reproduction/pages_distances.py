"""Figure 5: perturbation distance behind a LIF layer over its leak, and spike distance of each layer (Definition 2)."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure

from reproduction import figures
from reproduction.page import UNCLEAR, Cell, Claim, Page, Table, verdict
from reproduction.paper import CLAIMS, DIGITS, VGG5, Run, images_label, network_label, seeds_label, text
from reproduction.results import Results
from reproduction.statistics import SeedStat
from reproduction.study import Measurement

LEAKS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
STEPS = ("0.01", "0.02", "8/255")
"""Step sizes of Fig. 5a: the paper's alpha, twice that, and the whole bound in one step."""
SIDES = {"right": "M1, right on the perturbed image", "wrong": "M2, wrong on the perturbed image"}
OBSERVATION = "sec. 3.1, Observation 3"


def fig5a(results: Results) -> Page:
    """Distance behind the layer over the distance of the images, for two random digits and for all."""
    scale, setting = results.scale, CLAIMS["fig5a"]
    scale.some([DIGITS])
    # one PGD step of size alpha from the image is FGSM with that bound
    behind = [Measurement("leak-distances", DIGITS, "ann", attack=f"fgsm:eps={step}", grid=LEAKS) for step in STEPS]
    measured = dict(zip(STEPS, results.all(*behind), strict=True))
    ratios = {
        which: {
            step: [SeedStat.of(seed[which][at] / seed[image] for seed in seeds) for at in range(len(LEAKS))]
            for step, seeds in measured.items()
        }
        for which, image in (("few", "image"), ("all", "images"))
    }
    titles = {"few": f"{setting['images']} random digits", "all": f"{measured[STEPS[0]][0]['of']} digits"}
    columns = ["leak", *(f"step {step}, {titles[which]}" for which in ratios for step in STEPS)]
    rows: list[list[Cell]] = [
        [f"{leak:g}", *(ratios[which][step][at] for which in ratios for step in STEPS)] for at, leak in enumerate(LEAKS)
    ]
    pixels: list[list[Cell]] = [
        [step, *(SeedStat.of(seed[image] for seed in seeds) for image in ("image", "images"))]
        for step, seeds in measured.items()
    ]
    tables = [
        Table(text("fig5a.caption"), columns, rows),
        Table(text("fig5a.images"), ["step", *titles.values()], pixels),
    ]

    def figure() -> Figure:
        drawing, panels = figures.figure(1, 2, height=2.6)
        for number, (axes, which) in enumerate(zip(panels, ratios, strict=True), start=1):
            for step, style in zip(STEPS, ("clean", "fgsm", "pgd"), strict=True):
                figures.line(axes, LEAKS, ratios[which][step], figures.STYLES[style].named(f"step {step}"))
            figures.level(axes, 1.0, figures.STYLES["clean"].named("distance of the images"))
            axes.set_ylim(bottom=0)
            y = "distance behind the layer\nover that of the images" if number == 1 else ""
            figures.label(axes, x="leak λ of the LIF layer", y=y, title=titles[which], panel=number)
        figures.outside(drawing, columns=4)
        return drawing

    recipe, source = scale.recipe(Run(DIGITS, "ann")), scale.source(DIGITS).rpartition("/")[2]
    model = {"model": recipe.model.label, "width": recipe.model.width, "epochs": recipe.ann.epochs}
    notes = [
        text("fig5a.digits", source=source, timesteps=setting["timesteps"], threshold=setting["threshold"]),
        text("fig5a.attack", seeds=seeds_label(scale.seeds_of(DIGITS)).capitalize(), **model),
        text("not_printed"),
    ]
    claims = [_certain_range(ratios["all"][step], step) for step in STEPS]
    return Page(tables, figure, notes, (DIGITS,), claims, images_label(scale.analysed))


def _certain_range(ratios: Sequence[SeedStat], step: str) -> Claim:
    """The claim for one step size: closer than the images at some leaks, but not at all."""
    below = [f"{leak:g}" for leak, ratio in zip(LEAKS, ratios, strict=True) if ratio.mean < 1]
    ratio, leak = min((ratio.mean, leak) for leak, ratio in zip(LEAKS, ratios, strict=True))
    numbers = text(
        "fig5a.found", below=len(below), leaks=len(LEAKS), which=", ".join(below) or "none", lowest=leak, ratio=ratio
    )
    return Claim(text("fig5a.claim"), verdict(0 < len(below) < len(LEAKS)), numbers, f"step {step}", OBSERVATION)


def fig5b(results: Results) -> Page:
    """Spike distance of every layer on one image, and its mean over all images that divide the two networks."""
    results.scale.some([VGG5])
    # two networks, and a third on which PGD makes the images
    between = Measurement("spike-distances", VGG5, "traditional", 0, "pgd", grid=(0, 1, 2))
    ((distances,),) = results.all(between)
    layers = distances.get("layers", [])
    one, every = ([distances[side][which] for side in SIDES if layers] for which in ("one", "all"))
    means = [list(map(SeedStat.of, zip(*images, strict=True))) for images in every]  # over images, of each layer
    rows: list[list[Cell]] = []
    if layers:
        pixels, all_pixels = distances["image"]
        mean = SeedStat.of(pixel for (pixel,) in all_pixels)
        rows = [["image", "", pixels, pixels, mean, mean]]
        rows += [
            [layer, f"{neurons}", *cells]
            for layer, neurons, *cells in zip(layers, distances["neurons"], *one, *means, strict=True)
        ]
    columns = ["layer", "neurons", "M1, one image", "M2, one image"]
    columns += ["right network, all images", "wrong network, all images"]
    first, second, maker = map(int, between.grid)
    some = text("fig5b.images", count=distances["images"], of=distances["of"])
    notes = [
        *results.scale.setting_notes((VGG5,), rated=False),
        text("fig5b.networks", one=first, other=second, maker=maker),
        some + (f"; {text('fig5b.one')}" if layers else "."),
        text("not_printed"),
    ]

    def figure() -> Figure:
        drawing, panels = figures.figure(1, 2, height=2.5)
        styles = [figures.STYLES[key].named(name) for key, name in zip(("direct", "hire"), SIDES.values(), strict=True)]
        titles = {"one image": [[SeedStat.of([value]) for value in side] for side in one]}
        titles[f"mean of {distances['images']} images"] = means
        for number, (axes, (title, values)) in enumerate(zip(panels, titles.items(), strict=True), start=1):
            if layers:
                figures.bars(axes, layers, list(zip(styles, values, strict=True)), digits=1)
                axes.margins(y=0.12)
            figures.label(axes, x="layer", y="spike PD ($L_2$ of spikes / T)", title=title, panel=number)
        if layers:
            figures.outside(drawing, columns=2)
        return drawing

    table = Table(text("fig5b.caption", network=network_label(VGG5)), columns, rows)
    claims = [_rises(layers, distances[side], of) for side, of in SIDES.items() if layers]
    about = f"{distances['images']} of {distances['of']} test images"
    return Page([table], figure, notes, (VGG5,), claims, about)


def _rises(layers: Sequence[str], distances: Any, side: str) -> Claim:
    """The claim by the distances of Definition 2: it agrees if it is true of at least half of the images."""

    def rising(values: Sequence[float]) -> list[str]:
        return [name for name, (before, after) in zip(layers[1:], pairwise(values), strict=True) if after > before]

    rises, images = rising(distances["one"]), len(distances["all"])
    some = sum(bool(rising(values)) for values in distances["all"])
    numbers = text("fig5b.found", layers=", ".join(rises) or "no layer", some=some, images=images)
    result = UNCLEAR if 0 < 2 * some < images else verdict(some > 0)
    return Claim(text("fig5b.claim"), result, numbers, side, OBSERVATION)
