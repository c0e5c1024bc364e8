"""Figures 1a, 1b, 3, 5 and 10a: codings, spikes of each layer and their distances (Definitions 1, 2), steps needed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise, product
from typing import Any

from matplotlib.figure import Figure

from reproduction import figures
from reproduction.page import OPEN, UNCLEAR, Cell, Claim, Page, Table, beside_paper, verdict
from reproduction.paper import (
    CLAIMS,
    DIGITS,
    VGG5,
    VGG11,
    VGGS,
    Run,
    images_label,
    network_label,
    network_labels,
    seeds_label,
    text,
)
from reproduction.results import Results, compared
from reproduction.statistics import SeedStat
from reproduction.study import Measurement

CODINGS = {"direct": "traditional", "rate": "rate"}  # input coding -> the method that trains such a network
OBSERVATION_1, OBSERVATION_3 = "sec. 3.1, Observation 1", "sec. 3.1, Observation 3"  # where the paper claims
EARLY = 2  # number of spiking layers that count as the initial convolutions
GRID = (1, 2, 3, 4, 6, 8, 10, 15, 20, 30, 50, 75, 100, 150, 200)
"""Timesteps after which networks are stopped in Fig. 10a."""
AVERAGED = (1, 8, 25, 150)
"""Numbers of rate-coded timesteps that Fig. 1a averages: one, T of direct VGG11, and T of VGG5 at scales cpu and paper.

The paper prints no rate-coded T: 150 is 25 times the T of VGG5, its largest gain in latency."""
WITHIN = 1.0  # percentage points below an accuracy that count as having reached it


@dataclass(frozen=True)
class Layer:
    """A layer: its name, the number of its outputs, T, and its spikes per image over all T steps.

    A pooling layer has outputs instead of neurons, and a "spike" of it is a timestep at which an output is not zero.
    """

    name: str
    neurons: int
    timesteps: int
    spikes: SeedStat

    @property
    def sa(self) -> SeedStat:
        """Spiking activity: spikes / neurons, 0 to T."""
        return self.spikes.map(lambda spikes: spikes / self.neurons)

    @property
    def tasa(self) -> SeedStat:
        """Time-averaged spiking activity: SA / T, 0 to 1."""
        return self.sa.map(lambda sa: sa / self.timesteps)


Codings = dict[str, list[Layer]]  # coding -> layers


def layers_of(seeds: Sequence[Any], origins: Sequence[str] = ()) -> list[Layer]:
    """The layers of a measured activity, given for each seed; `origins` as in `SeedStat`."""
    return [
        Layer(name, int(neurons), int(steps), SeedStat.of((seed[name][2] for seed in seeds), origins))
        for name, (neurons, steps, *_) in seeds[0].items()
    ]


def _spiking(layers: list[Layer]) -> list[Layer]:
    return [layer for layer in layers if not layer.name.startswith("pool")]


def total(layers: list[Layer]) -> Layer:
    """All neurons of a network as one layer; pooling layers have none."""
    layers = _spiking(layers)
    seeds = zip(*(layer.spikes.values for layer in layers), strict=True)
    neurons = sum(layer.neurons for layer in layers)
    return Layer("total", neurons, layers[0].timesteps, SeedStat.of(map(sum, seeds), layers[0].spikes.origins))


def layers_in_both(results: Results, networks: Sequence[str]) -> dict[str, Codings]:
    """For each network its layers of neurons, and the pooling layers between them if measured in both codings."""
    keys = list(product(networks, CODINGS))
    neurons, pools = (
        {key: Measurement(kind, key[0], CODINGS[key[1]]) for key in keys} for kind in ("activity", "pool-activity")
    )
    pooled = {key: results.find(one) for key, one in pools.items()}
    both: dict[str, Codings] = {network: {} for network in networks}
    for key, measured in zip(keys, results.all(*neurons.values()), strict=True):
        network, coding = key
        layers = both[network][coding] = layers_of(measured, results.origins(neurons[key]))
        if all(pooled[network, other] for other in CODINGS):
            seeds = pooled[key] or []
            places = [int(before) for *_, before in seeds[0].values()]
            between = list(zip(places, layers_of(seeds, results.origins(pools[key])), strict=True))
            for place, layer in reversed(between):  # from the last, so that earlier places stay right
                layers.insert(place, layer)
    return both


def _with_total(layers: Codings) -> list[tuple[Layer, Layer]]:
    """Each layer in both codings, and all layers together at the end."""
    return [*zip(layers["direct"], layers["rate"], strict=True), (total(layers["direct"]), total(layers["rate"]))]


def _pool_note(layers: Codings) -> str:
    return text("fig3.pools" if len(_spiking(layers["direct"])) < len(layers["direct"]) else "fig3.no_pools")


def fig1b(results: Results) -> Page:
    """Spikes of each layer of VGG11 over all T steps, beside what the authors draw."""
    results.scale.rated([VGG11])
    layers = layers_in_both(results, [VGG11])[VGG11]
    by_authors, steps = CLAIMS["fig1b"], CLAIMS["fig1b"]["timesteps"]
    columns = ["layer", "neurons", "spikes, direct", "spikes, rate-coded"]
    rows: list[list[Cell]] = []
    for direct, rate in _with_total(layers):
        activity = compared(by_authors["direct"].get(direct.name), direct.sa)
        activity += compared(by_authors["rate"].get(direct.name), rate.sa)
        rows.append([direct.name, f"{direct.neurons}", direct.spikes, rate.spikes, *activity])

    def figure() -> Figure:
        drawing, (axes,) = figures.figure(height=2.8)
        names = [layer.name for layer in layers["direct"]]
        source = f"drawn by the authors (T = {steps['direct']}, rate-coded T = {steps['rate']})"
        for coding, coded in layers.items():
            figures.line(axes, range(len(coded)), [layer.sa for layer in coded], figures.STYLES[coding])
            theirs = [by_authors[coding].get(name) for name in names]
            figures.paper_points(axes, range(len(names)), theirs, figures.STYLES[coding], name=source)
        if any(layer.spikes.mean for coded in layers.values() for layer in coded):
            figures.logarithmic(axes, "y")
        axes.set_xticks(range(len(names)), names)
        figures.label(axes, x="layer", y="spikes per neuron (SA)")
        figures.outside(drawing, columns=3)
        return drawing

    notes, images = [text("fig1b.source"), _pool_note(layers)], results.scale.analysed_label([VGG11])
    columns += beside_paper("SA, direct", "SA, rate-coded")
    table = Table(text("fig1b.caption", network=network_label(VGG11)), columns, rows)
    claims = [replace(_lower_sa(VGG11, layers), source="")]  # Fig. 3 judges it
    return results.page([VGG11], [table], notes, rated=True, claims=claims, figure=figure, images=images)


def fig3(results: Results) -> Page:
    """TASA of each layer of VGG5 and VGG11."""
    networks = results.scale.rated(VGGS)
    both = layers_in_both(results, networks)
    columns = ["model", "data set", "layer", "neurons", "TASA, direct", "TASA, rate-coded", "SA, direct"]
    rows: list[list[Cell]] = [
        [*network_labels(network), direct.name, f"{direct.neurons}", direct.tasa, rate.tasa, direct.sa, rate.sa]
        for network, layers in both.items()
        for direct, rate in _with_total(layers)
    ]

    def figure() -> Figure:
        widths = [3 + len(layers["direct"]) for layers in both.values()]  # a panel is as wide as its network is deep
        drawing, panels = figures.figure(1, len(networks), height=2.7, widths=widths)
        for number, (axes, (network, layers)) in enumerate(zip(panels, both.items(), strict=True), start=1):
            series = [(figures.STYLES[coding], [layer.tasa for layer in coded]) for coding, coded in layers.items()]
            figures.bars(axes, [layer.name for layer in layers["direct"]], series)
            axes.tick_params(axis="x", labelrotation=45)
            y = "" if number > 1 else "TASA"
            figures.label(axes, x="layer", y=y, title=network_label(network), panel=number)
        figures.outside(drawing, columns=2)
        return drawing

    notes = [text("not_printed"), *dict.fromkeys(map(_pool_note, both.values()))]
    images = results.scale.analysed_label(networks)
    claims = [
        replace(one, counted=results.scale.counts_rate(network))
        for network, layers in both.items()
        for one in (_lower_sa(network, layers), *_tasa(network, layers))
    ]
    table = Table(text("fig3.caption"), [*columns, "SA, rate-coded"], rows)
    return results.page(networks, [table], notes, rated=True, claims=claims, figure=figure, images=images)


def _lower_sa(network: str, layers: Codings) -> Claim:
    """The first half of Observation 1, on all neurons together."""
    direct, rate = (total(coded).sa for coded in layers.values())
    holds = direct.mean < rate.mean if direct.minus(rate).known else None
    numbers = f"SA {direct.mean:.3g} direct, {rate.mean:.3g} rate-coded, all layers together"
    numbers = _with_seeds(numbers, direct, rate)
    of = network_label(network)
    return Claim(text("fig3.lower"), verdict(holds), numbers, of, OBSERVATION_1)


def _tasa(network: str, layers: Codings) -> list[Claim]:
    """The second half of Observation 1: all layers, and the first two, each layer with equal weight."""
    claims = []
    for words, count in (("all layers", None), (f"the first {EARLY} layers", EARLY)):
        chosen = [[layer.tasa for layer in _spiking(coded)[:count]] for coded in layers.values()]
        direct, rate = (
            SeedStat.of(
                (sum(values) / len(values) for values in zip(*(tasa.values for tasa in coded), strict=True)),
                coded[0].origins,
            )
            for coded in chosen
        )
        other = rate if rate.seeds > 1 else SeedStat.of([rate.mean] * len(direct.values))  # one network stands for all
        low, high = direct.minus(other).limits
        result = UNCLEAR if low <= 0 <= high else verdict(low > 0)
        result = result if direct.minus(rate).known else OPEN
        numbers = _with_seeds(f"mean TASA {direct.mean:.3g} direct, {rate.mean:.3g} rate-coded", direct, rate)
        of = f"{network_label(network)}, {words}"
        claims.append(Claim(text("fig3.higher"), result, numbers, of, OBSERVATION_1))
    return claims


def _with_seeds(numbers: str, direct: SeedStat, rate: SeedStat) -> str:
    """Numbers of both codings, with how many seeds decide, or why nothing does."""
    if not direct.minus(rate).known:
        return text("not_compared", found=numbers)
    return f"{numbers} (seeds: {direct.seeds} and {rate.seeds})"


# Fig. 1a and 10a: the codings themselves, and how long they take


def fig1a(results: Results) -> Page:
    """One test image as direct input, and as rate-coded input averaged over some timesteps."""
    results.scale.some([VGG11])
    ((coded,),) = results.all(Measurement("input-codings", VGG11, "rate", 0, grid=AVERAGED))
    names = [f"rate-coded,\n{'one step' if steps == 1 else f'mean of {steps} steps'}" for steps in AVERAGED]
    images = {"direct input": coded["direct"], **dict(zip(names, coded["rate"], strict=True))}
    rows = [
        [f"{steps}", error, share]
        for steps, error, share in zip(AVERAGED, coded["errors"], coded["silent"], strict=True)
    ]

    def figure() -> Figure:
        drawing, panels = figures.figure(1, len(images), height=1.9)
        for number, (axes, (title, pixels)) in enumerate(zip(panels, images.items(), strict=True), start=1):
            figures.image(axes, pixels, title=title, panel=number)
        return drawing

    notes = [text("fig1a.coding"), text("fig1a.shown"), text("not_printed")]
    table = Table(text("fig1a.caption"), ["timesteps", "error (root mean square)", "pixels without a spike, %"], rows)
    return Page([table], figure, notes, (VGG11,), images="one test image")


TimeCurve = dict[int, SeedStat]  # timesteps -> clean accuracy in percent


def fig10a(results: Results) -> Page:
    """How many timesteps each network needs, and its accuracy in percent when it is stopped earlier."""
    scale = results.scale
    networks = scale.rated(VGGS)
    stopped = {}
    for network, coding in product(networks, ("rate", "direct")):
        last = scale.recipe(Run(network, CODINGS[coding])).snn.timesteps
        grid = (*(steps for steps in GRID if steps < last), last)
        stopped[network, coding] = Measurement("by-time", network, CODINGS[coding], grid=grid)
    curves: dict[str, dict[str, TimeCurve]] = {network: {} for network in networks}
    for ((network, coding), one), seeds in zip(stopped.items(), results.all(*stopped.values()), strict=True):
        stats = [SeedStat.of(values, results.origins(one)) for values in zip(*seeds, strict=True)]
        curves[network][coding] = dict(zip(map(int, one.grid), stats, strict=True))
    limit = CLAIMS["fig10a"]["latency_gain_max"]
    rows = [row for network, both in curves.items() for row in _latency_rows(network, both)]
    judged = {network: _fewer_steps(network, both, limit) for network, both in curves.items()}
    claims = [replace(claim, counted=scale.counts_rate(network)) for network, claim in judged.items()]
    grid = sorted({steps for both in curves.values() for curve in both.values() for steps in curve})
    columns = ["model", "data set", "T", "rate-coded", *beside_paper("direct-coded"), "rate over direct"]
    table = Table(text("fig10a.caption", within=WITHIN, grid=", ".join(map(str, grid))), columns, rows)
    notes, images, draw = [text("fig10a.trained")], scale.analysed_label(networks), partial(_draw_fig10a, curves)
    return results.page(networks, [table], notes, rated=True, claims=claims, figure=draw, images=images)


def _fewer_steps(network: str, curves: dict[str, TimeCurve], limit: float) -> Claim:
    """The claim on latency, judged by the steps that each network needs for its own accuracy."""
    rate, direct = (needed(curves[coding], curves[coding]) for coding in ("rate", "direct"))
    ours, numbers = None, "a network does not keep its own accuracy"
    if (
        rate is not None
        and direct is not None
        and rate.mean == max(curves["rate"])
        and direct.mean == max(curves["direct"])
    ):
        numbers = text("fig10a.rising", direct=direct.mean, rate=rate.mean)
    elif rate is not None and direct is not None:
        times = rate.over(direct)
        ours = times.mean if times.known else None
        numbers = f"it needs {direct.mean:.3g} steps, rate coding {rate.mean:.3g}"
        numbers = text("not_compared", found=numbers) if ours is None else f"{numbers}: {ours:.1f} times fewer"
    claim, source = text("fig10a.claim", limit=limit), "abstract, sec. 5.3, 6"
    holds, paper = None if ours is None else ours > 1, limit if network == VGG11 else None
    return Claim(claim, verdict(holds), numbers, network_label(network), source, paper, ours)


def _latency_rows(network: str, curves: dict[str, TimeCurve]) -> list[list[Cell]]:
    """What was chosen, what each network needs for its own accuracy, what both need for the direct-coded one's."""
    labels, rate, direct = network_labels(network), curves["rate"], curves["direct"]
    steps = compared(float(CLAIMS["setting"]["timesteps"][network.partition("-")[0]]), float(max(direct)))
    rows: list[list[Cell]] = [[*labels, "trained with", float(max(rate)), *steps, max(rate) / max(direct)]]
    for what, target in (("needed, own accuracy", rate), ("needed, accuracy of direct-coded", direct)):
        slow, fast = needed(rate, target), needed(direct, direct)
        times = None if slow is None or fast is None else slow.over(fast)
        rows.append([*labels, what, slow or "not reached", *compared(None, fast), times])
    return rows


def needed(curve: TimeCurve, target: TimeCurve) -> SeedStat | None:
    """The fewest steps from which on each seed stays within WITHIN of the target's final accuracy; None for never."""
    steps, finals = list(curve), list(target.values())[-1].values
    fewest = []
    for values, final in zip(zip(*(stat.values for stat in curve.values()), strict=True), finals, strict=False):
        short = [count for count, value in zip(steps, values, strict=True) if value < final - WITHIN]
        if short and short[-1] == steps[-1]:
            return None
        fewest.append(next(count for count in steps if not short or count > short[-1]))
    return SeedStat.of(fewest, curve[steps[0]].origins)


def _draw_fig10a(curves: dict[str, dict[str, TimeCurve]]) -> Figure:
    codings = ("rate", "direct")
    drawing, panels = figures.figure(1, 1 + len(curves), height=2.6)
    groups = [
        f"{network_labels(network)[0]}\ntrained: {max(both['rate']):g}, {max(both['direct']):g}"
        for network, both in curves.items()
    ]
    series = [(figures.STYLES[c], [needed(both[c], both[c]) for both in curves.values()]) for c in codings]
    figures.bars(panels[0], groups, series)  # without stars: the paper prints the steps of training, not those needed
    figures.label(panels[0], x="network", y="timesteps needed", title="needed for own accuracy", panel=1)
    for number, (axes, (network, both)) in enumerate(zip(panels[1:], curves.items(), strict=True), start=2):
        for coding, curve in both.items():
            figures.line(axes, list(curve), list(curve.values()), figures.STYLES[coding])
        longest = max(both["rate"])
        figures.logarithmic(axes, "x", [steps for steps in (1, 2, 5, 10, 20, 50, 100, 200) if steps <= longest])
        axes.set_ylim(bottom=0)
        figures.label(axes, x="timesteps shown", y="clean accuracy (%)", title=network_label(network), panel=number)
    figures.outside(drawing, columns=3)
    return drawing


# Fig. 5: distances behind a LIF layer over its leak, and behind each layer

LEAKS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
STEPS = ("0.01", "0.02", "8/255")
"""Step sizes of Fig. 5a: the paper's alpha, twice that, and the whole bound in one step."""
SIDES = {"right": "M1, right on the perturbed image", "wrong": "M2, wrong on the perturbed image"}


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
    return Claim(text("fig5a.claim"), verdict(0 < len(below) < len(LEAKS)), numbers, f"step {step}", OBSERVATION_3)


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
    return results.page([VGG5], [table], notes, claims=claims, figure=figure, images=about)


def _rises(layers: Sequence[str], distances: Any, side: str) -> Claim:
    """The claim by the distances of Definition 2: it agrees if it is true of at least half of the images."""

    def rising(values: Sequence[float]) -> list[str]:
        return [name for name, (before, after) in zip(layers[1:], pairwise(values), strict=True) if after > before]

    rises, images = rising(distances["one"]), len(distances["all"])
    some = sum(bool(rising(values)) for values in distances["all"])
    numbers = text("fig5b.found", layers=", ".join(rises) or "no layer", some=some, images=images)
    result = UNCLEAR if 0 < 2 * some < images else verdict(some > 0)
    return Claim(text("fig5b.claim"), result, numbers, side, OBSERVATION_3)
