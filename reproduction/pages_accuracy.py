"""Tables 1, 2, 3 and 5, HIRE-SNN against the rate-coded SNN, accuracy at every bound, Fig. 1c and 9, thresholds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product

from matplotlib.figure import Figure

from reproduction import figures
from reproduction.page import Cell, Claim, Comparison, Page, Table, beside_paper, comparison_notes
from reproduction.pages_activity import layers_of, total
from reproduction.paper import (
    ATTACKS,
    BOXES,
    CLAIMS,
    HEADLINE,
    LABELS,
    PANEL_LABELS,
    VGG5,
    VGG11,
    Changes,
    NotAtThisScaleError,
    Run,
    Scale,
    left_out,
    network_label,
    network_labels,
    printed,
    text,
)
from reproduction.results import (
    FROZEN,
    Gain,
    Pair,
    Results,
    above,
    at_most,
    each_attack,
    has_twin,
    judge,
    largest,
    largest_gain,
    printed_accuracy,
    smallest_gain,
)
from reproduction.statistics import SeedStat, with_limits
from reproduction.study import Measurement

COLUMNS = ("model", "data set", "method", "box")
MEASURED = ("clean", "FGSM", "PGD")
BASELINES = ("traditional", "ann")  # what Tables 2 and 3 subtract from HIRE-SNN
SIMILAR = 2.0
"""Percentage points below the rate-coded network that still count as similar; the paper's own are up to 1.8 below."""
NO_GAIN = 2.0  # percentage points of a gain in Fig. 9 that count as no noticeable improvement
THRESHOLDS = ("0.4", "0.7", "1.0")  # values of conversion.threshold_scale
HELD_OUT = "100"  # images held out where the scale's recipe holds out none

Row = tuple[Sequence[str], Sequence[Pair]]  # texts and measured cells
Group = tuple[str | None, str]  # attack and box


def accuracy_table(caption: str, texts: Sequence[str], measured: Sequence[str], rows: Iterable[Row]) -> Table:
    """A table with three columns for each measured one: the paper's value, ours, and their difference."""
    lines = [[*labels, *(cell for pair in pairs for cell in pair.cells())] for labels, pairs in rows]
    return Table(caption, [*texts, *beside_paper(*measured)], lines)


def networks_of(scale: Scale, section: str) -> tuple[str, ...]:
    """Networks of the scale that a section of claims.toml has, in the paper's order."""
    return scale.some(CLAIMS[section])


def table1(results: Results) -> Page:
    """ANN, rate-coded SNN and traditional SNN, in every box."""
    scale, networks = results.scale, networks_of(results.scale, "table1")
    rows, comparisons, claims = [], [], []
    for network in networks:
        methods = [method for method in CLAIMS["table1"][network] if method != "rate" or scale.is_rated(network)]
        for box in scale.boxes:
            present = [method for method in methods if has_twin(method, box)]
            rows += [_row(results, network, method, box) for method in present]
            for one, other in (("traditional", "ann"), ("rate", "ann"), ("traditional", "rate")):
                if one in present and other in present:
                    what = f"{LABELS[box]}, {LABELS[one]} over {LABELS[other]}"
                    gains = [_gain(results, network, one, other, attack, box) for attack in ATTACKS]
                    comparisons += [_comparison(what, gain) for gain in gains]
        comparisons += [one for method in methods for one in _boxes(results, network, method)]
        if not network.startswith("vgg5"):  # sec. 1 and 3.1 speak of deep SNNs
            claims += _below_ann(results, network)
    notes = [*_notes(scale, "table1", "rate"), text("twins"), text("ann_twin"), text("table1.rate", draws=scale.draws)]
    tables = [accuracy_table(text("table1.caption"), COLUMNS, MEASURED, rows)]
    return make_page(results, networks, tables, notes, comparisons, claims)


def _below_ann(results: Results, network: str) -> list[Claim]:
    """The claim that a direct-input SNN is less accurate than its ANN under attack, for each box that both have.

    In the white box the paper says it of VGG11 (Fig. 1c); the numbers that it prints of ResNet12 contradict it.
    """
    claims = []
    for words, box in (("white", "white"), ("black", "independent")):
        if box in results.scale.boxes and (box != "white" or network == VGG11):
            losses = gains_of(results, [network], "ann", "traditional", [box])
            paper = min(gain.paper for gain in losses.values() if gain.paper is not None)
            claim = text("table1.below", box=words)
            claims.append(smallest_gain(claim, losses, paper, "sec. 1, 3.1", network_label(network)))
    return claims


def table2(results: Results) -> Page:
    """HIRE-SNN in the white box, the change of its clean accuracy, and its gains."""
    networks = networks_of(results.scale, "table2")
    rows: list[Row] = []
    comparisons = []
    kept: dict[str, Gain] = {}
    for network in networks:
        texts, (clean, *attacked) = _row(results, network, "hire", "white")
        change = replace(
            _gain(results, network, "hire", "traditional"), paper=printed("table2", network, "clean_change")
        )
        kept[f"{network_label(network)}, clean"] = change
        rows.append((texts[:2], [clean, change, *attacked]))
        comparisons.append(_comparison("HIRE-SNN over traditional SNN", change))
    gains, compared = _gains(results, "table2", networks, ["white"])
    measured = ("clean", "clean over traditional SNN", "FGSM", "PGD")
    tables = [accuracy_table(text("table2.caption"), COLUMNS[:2], measured, rows), gains]
    lost = min((CLAIMS["table2"][name]["clean_change"] for name in networks), default=0.0)
    over, over_ann = (gains_of(results, networks, "hire", other, ["white"]) for other in BASELINES)
    most = HEADLINE["over_ann"]
    claims = [
        smallest_gain(text("table2.clean", lost=-lost), kept, lost, "abstract", limit=lost),
        smallest_gain(text("table2.better"), over, HEADLINE["white_smallest"], "sec. 5.2"),
        *_headlines(results, networks, ["white"], "white"),
        largest_gain(text("table2.over_ann", paper=most), over_ann, most, "sec. 5.2"),
    ]
    return make_page(results, networks, tables, _notes(results.scale, "table2"), comparisons + compared, claims)


def table3(results: Results) -> Page:
    """HIRE-SNN in the black boxes, its gains, and the black boxes compared with the white box."""
    networks, twins = networks_of(results.scale, "table3"), results.scale.twins
    if not twins:
        raise NotAtThisScaleError
    rows = [_row(results, network, "hire", box) for network, box in product(networks, twins)]
    gains, comparisons = _gains(results, "table3", networks, twins)
    comparisons += [one for network in networks for one in _boxes(results, network, "hire")]
    columns, rows = ("model", "data set", "box"), [((*texts[:2], texts[3]), cells) for texts, cells in rows]
    tables = [accuracy_table(text("table3.caption"), columns, MEASURED, rows), gains]
    pgd, most = gains_of(results, networks, "hire", "traditional", twins, ["pgd"]), HEADLINE["pgd"]
    claims = [
        *_headlines(results, networks, twins, "black"),
        largest_gain(text("table3.pgd", paper=most), pgd, most, "abstract"),
    ]
    for other in BASELINES:
        every, smallest = gains_of(results, networks, "hire", other, twins), HEADLINE["black_smallest"][other]
        claim = text("table3.better", other=LABELS[other])
        claims += [smallest_gain(claim, every, smallest, "sec. 5.2")] if every else []
    notes = [*_notes(results.scale, "table3"), text("twins"), text("ann_twin")]
    return make_page(results, networks, tables, notes, comparisons, claims)


def table5(results: Results) -> Page:
    """Traditional training and HIRE-SNN with threshold and leak frozen at their initial values."""
    scale, networks = results.scale, networks_of(results.scale, "table5")
    rows = [
        _row(results, network, method, box, FROZEN)
        for network, method, box in product(networks, ("traditional", "hire"), scale.boxes)
    ]
    comparisons = []
    over: dict[str, Gain] = {}
    over_trained: dict[str, Gain] = {}
    trained_over: dict[str, Gain] = {}
    for network in networks:
        for attack, box in [(None, "white"), *product(ATTACKS, scale.boxes)]:
            hire, trained = (results.accuracy(network, "hire", attack, box, changes) for changes in (FROZEN, ()))
            gain = results.gain(hire, results.accuracy(network, "traditional", attack, box, FROZEN))
            over_own, box_name = results.gain(hire, trained), f"{LABELS[box]}, " if attack else ""
            comparisons.append(_comparison(f"{box_name}HIRE-SNN over traditional SNN, both frozen", gain))
            comparisons.append(_comparison(f"{box_name}HIRE-SNN frozen over trained", over_own))
            if attack:
                name = f"{attack.upper()}, {LABELS[box]}"
                over[name], over_trained[name] = gain, over_own
            else:
                trained_over[f"{network_label(network)}, clean"] = results.gain(trained, hire)
    smallest, lost = HEADLINE["frozen_smallest"], max((gain.paper or 0 for gain in trained_over.values()), default=0.0)
    claims = [
        smallest_gain(text("table5.better"), over, smallest["traditional"], "sec. 5.3"),
        smallest_gain(text("table5.more"), over_trained, smallest["trained"], "sec. 5.3"),
        smallest_gain(text("table5.cost"), trained_over, lost, "sec. 5.3"),
    ]
    tables = [accuracy_table(text("table5.caption"), COLUMNS, MEASURED, rows)]
    notes = [*_notes(scale, "table5"), text("table5.frozen"), text("twins")]
    return make_page(results, networks, tables, notes, comparisons, claims)


def against_rate(results: Results) -> Page:
    """HIRE-SNN minus the rate-coded SNN, clean and under attack, in every box."""
    scale, networks = results.scale, results.scale.rated(CLAIMS["table1"])
    rows: list[Row] = []
    claims = []
    for network in networks:
        gains = {"clean": _gain(results, network, "hire", "rate")}
        gains |= gains_of(results, [network], "hire", "rate", scale.boxes)
        for box in scale.boxes:
            inside = [gain for name, gain in gains.items() if name == "clean" or gain.better.measurement.box == box]
            rows.append(((*network_labels(network), LABELS[box]), inside))
        paper = min(gain.paper for gain in gains.values() if gain.paper is not None)
        claim, source = text("rate.similar", similar=SIMILAR), "abstract, sec. 5.3, 6"
        claims.append(smallest_gain(claim, gains, paper, source, network_label(network), limit=-SIMILAR))
    notes = [*scale.setting_notes(networks, "rate"), text("twins"), text("table1.rate", draws=scale.draws)]
    table = accuracy_table(text("rate.caption"), ("model", "data set", "box"), MEASURED, rows)
    return make_page(results, networks, [table], notes, claims=claims)


def bounds(results: Results) -> Page:
    """ANN, traditional SNN and HIRE-SNN: clean, under FGSM, and under PGD at every bound of the scale, in every box."""
    scale, networks = results.scale, networks_of(results.scale, "table2")
    attacks = [None, "fgsm", *(f"pgd:eps={eps}" for eps in scale.eps)]

    def at_bound(network: str, method: str, attack: str | None, box: str) -> Pair:
        """Beside the paper's value where the bound is that of the recipe, which the paper uses."""
        accuracy = results.accuracy(network, method, attack, box)
        spec, recipe = accuracy.measurement.spec(scale), scale.recipe(accuracy.measurement.run)
        if spec is None:
            return accuracy
        plain = replace(accuracy.measurement, attack=spec.name)
        return replace(accuracy, paper=printed_accuracy(plain) if abs(spec.eps - recipe.attack.eps) < 1e-9 else None)

    rows: list[Row] = [
        (
            (*network_labels(network), LABELS[method], LABELS[box]),
            [at_bound(network, method, attack, box) for attack in attacks],
        )
        for network, method, box in product(networks, ("ann", "traditional", "hire"), scale.boxes)
        if has_twin(method, box)
    ]
    measured = ("clean", "FGSM", *(f"PGD {eps}" for eps in scale.eps))
    tables = [accuracy_table(text("bounds.caption"), COLUMNS, measured, rows)]
    return make_page(results, networks, tables, [*_notes(scale, "table2"), text("twins")])


def fig1c(results: Results) -> Page:
    """VGG11: the traditional SNN beside its ANN under each attack."""
    results.scale.some([VGG11])
    attacked = [(attack, box) for box in BOXES for attack in ATTACKS]
    bars = {
        method: {group: results.accuracy(VGG11, method, *group) for group in attacked}
        for method in ("ann", "traditional")
    }
    gains = {group: results.gain(bars["traditional"][group], bars["ann"][group]) for group in attacked}
    rows = [
        ((LABELS[box], attack.upper()), [bars["ann"][attack, box], bars["traditional"][attack, box], gain])
        for (attack, box), gain in gains.items()
    ]
    comparisons = [
        Comparison(f"{attack.upper()}, {LABELS[box]}, SNN over ANN", gain.paper, gain.ours, gain.clear)
        for (attack, box), gain in gains.items()
    ]
    measured = (LABELS["ann"], LABELS["traditional"], "SNN minus ANN")
    notes = [*results.scale.setting_notes([VGG11]), text("fig1c.source"), text("twins"), text("ann_twin")]
    tables = [accuracy_table(text("fig1c.caption"), ("box", "attack"), measured, rows)]
    return make_page(results, (VGG11,), tables, notes, comparisons, figure=partial(draw_bars, bars, {"": attacked}))


def swept_networks(scale: Scale) -> tuple[str, ...]:
    """The networks of Fig. 9 and 10b-e at a scale."""
    return scale.some(network for network in (VGG5, VGG11) if network in scale.swept)


def fig9(results: Results) -> Page:
    """A network trained with Gaussian and with crafted noise of the same size, and traditionally.

    The paper draws VGG11; a scale that does not sweep it shows the first network that it sweeps. "noise-free" is a
    control, measured only in the white box.
    """
    networks = swept_networks(results.scale)
    network = VGG11 if VGG11 in networks else networks[0]
    panels = {"clean and FGSM": [(None, "white"), *product(["fgsm"], BOXES)], "PGD": [*product(["pgd"], BOXES)]}
    groups = [(None, "white"), *((attack, box) for box in BOXES for attack in ATTACKS)]
    bars = {
        method: {
            (attack, box): results.accuracy(network, method, attack, box)
            for attack, box in groups
            if box == "white" or method != "noise-free"
        }
        for method in ("traditional", "noise-free", "gaussian", "hire")
    }
    rows = [
        ((LABELS[attack] + (f", {LABELS[box]}" if attack else ""), LABELS[method]), [cell])
        for method, accuracies in bars.items()
        for (attack, box), cell in accuracies.items()
    ]

    def gains(better: str, worse: str, box: str) -> list[SeedStat]:
        return [gain.ours for gain in gains_of(results, [network], better, worse, [box]).values()]

    claims, few, source = [], partial(at_most, limit=NO_GAIN), "sec. 5.3"
    for box in BOXES:
        paper = printed("fig9", "white" if box == "white" else "black", "gain_max") if network == VGG11 else None
        crafted, gaussian = gains("hire", "gaussian", box), gains("gaussian", "traditional", box)
        claims.append(judge(text("fig9.better"), crafted, above, LABELS[box], source, paper, largest, some=True))
        claims.append(judge(text("fig9.none", no_gain=NO_GAIN), gaussian, few, LABELS[box], source, some=True))
    control = gains("noise-free", "traditional", "white")
    claims.append(judge(text("fig9.nothing"), control, lambda stats: (None, each_attack(stats))))
    notes = [*results.scale.setting_notes((network,)), text("fig9.gaussian"), text("fig9.control"), text("twins")]
    notes += [] if network == VGG11 else [text("fig9.other", network=network_label(network))]
    caption = text("fig9.caption", network=network_label(network))
    tables = [accuracy_table(caption, ("images", "trained with"), ("accuracy (%)",), rows)]
    return make_page(results, (network,), tables, notes, (), claims, partial(draw_bars, bars, panels))


def thresholds(results: Results) -> Page:
    """How the threshold scale of the conversion moves every method: not in the paper.

    It is measured on images held out of training, because the scale is a hyperparameter that every other page shares.
    """
    scale = results.scale
    scale.some([VGG5])
    methods = ("traditional", "hire", "rate") if scale.is_rated(VGG5) else ("traditional", "hire")
    held = () if scale.recipe(Run(VGG5, "hire")).data.holdout_images else (("data.holdout_images", HELD_OUT),)
    changes = {threshold: (("conversion.threshold_scale", threshold), *held) for threshold in THRESHOLDS}
    attack = scale.recipe(Run(VGG5, "hire")).attack
    bound, quarter = (f"{255 * eps:.3g}/255" for eps in (attack.eps, attack.eps / 4))
    attacks = {"clean": None, f"FGSM {bound}": "fgsm", f"PGD {bound}": "pgd"}
    attacks[f"PGD {quarter}"] = f"pgd:eps={attack.eps / 4:.6g}"
    rows: list[list[Cell]] = []
    percent: dict[tuple[str, str], list[SeedStat]] = {}
    for method, (threshold, changed) in product(methods, changes.items()):
        one = Measurement("held-out", VGG5, method, changes=changed)
        percent[method, threshold] = [results.stat(replace(one, attack=name)) for name in attacks.values()]
        activity = results.find(replace(one, kind="activity"))
        layers = layers_of(activity) if activity else []
        cells = [layers[0].sa, total(layers).tasa] if layers else [None, None]
        rows.append([LABELS[method], threshold, *percent[method, threshold], *cells])
    held_out = int(scale.recipe(Run(VGG5, "hire", changes=changes[THRESHOLDS[0]])).data.holdout_images)
    images = min(scale.images or held_out, held_out)
    gains = [
        [threshold, *(with_limits(hire.minus(other, images)) for hire, other in zip(*pairs, strict=True))]
        for threshold in THRESHOLDS
        if (pairs := [percent[method, threshold] for method in ("hire", "traditional")])
    ]
    tables = [
        Table(text("thresholds.caption"), ["method", "threshold scale", *attacks, "SA of conv1", "TASA"], rows),
        Table(text("thresholds.gains"), ["threshold scale", *attacks], gains),
    ]
    notes = [*scale.setting_notes((VGG5,), "rate"), text("thresholds.held_out")]
    return Page(tables, notes=notes, networks=(VGG5,), images=f"{images:,} held-out training images")


# Parts of these pages


def make_page(
    results: Results,
    networks: Sequence[str],
    tables: Sequence[Table],
    notes: Sequence[str],
    comparisons: Sequence[Comparison] = (),
    claims: Sequence[Claim] = (),
    figure: Callable[[], Figure] | None = None,
) -> Page:
    """A page of accuracies, with notes on what was compared and what could not be."""
    notes = [*notes, *comparison_notes(comparisons), *results.unpaired_notes()]
    return Page(tables, figure, notes, tuple(networks), list(claims))


def _notes(scale: Scale, section: str, *methods: str) -> list[str]:
    networks = networks_of(scale, section)
    return [*scale.setting_notes(networks, *methods), *left_out(CLAIMS[section], networks)]


def _row(results: Results, network: str, method: str, box: str, changes: Changes = ()) -> Row:
    cells = [results.accuracy(network, method, attack, box, changes) for attack in (None, *ATTACKS)]
    return (*network_labels(network), LABELS[method], LABELS[box]), cells


def _gain(
    results: Results, network: str, better: str, worse: str, attack: str | None = None, box: str = "white"
) -> Gain:
    ours, theirs = (results.accuracy(network, method, attack, box) for method in (better, worse))
    return results.gain(ours, theirs)


def gains_of(
    results: Results,
    networks: Iterable[str],
    better: str,
    worse: str,
    boxes: Collection[str],
    attacks: Collection[str] = ATTACKS,
) -> dict[str, Gain]:
    """Name -> gain of one method over another, for each network, under each attack in each box that both have."""
    return {
        f"{network_label(network)}, {attack.upper()}, {LABELS[box]}": gain
        for network, box, attack in product(networks, boxes, attacks)
        if (gain := _gain(results, network, better, worse, attack, box)).ours is not None
    }


def _headlines(results: Results, networks: Iterable[str], boxes: Collection[str], box: str) -> list[Claim]:
    """The largest gain under FGSM over traditional training, one claim per data set."""
    claims = []
    for dataset, paper in HEADLINE[box].items():
        present = [name for name in networks if name.endswith(f"-{dataset}")]
        gains = gains_of(results, present, "hire", "traditional", boxes, ["fgsm"])
        claim = text("table2.up_to", paper=paper, box=box, dataset=LABELS[dataset])
        source = "abstract, sec. 5.2, 6" if (box, dataset) == ("black", "cifar10") else "sec. 5.2"
        claims += [largest_gain(claim, gains, paper, source)] if gains else []
    return claims


def _gains(
    results: Results, section: str, networks: Iterable[str], boxes: Iterable[str]
) -> tuple[Table, list[Comparison]]:
    """The gains of HIRE-SNN over each baseline, as a table and as comparisons."""
    rows, comparisons = [], []
    columns = list(product(BASELINES, ATTACKS))
    for network, box in product(networks, boxes):
        cells = []
        for other, attack in columns:
            gain = _gain(results, network, "hire", other, attack, box)
            cells.append(replace(gain, paper=printed(section, network, f"over_{other}", attack)))
            comparisons.append(_comparison(f"{LABELS[box]}, HIRE-SNN over {LABELS[other]}", cells[-1]))
        rows.append(((*network_labels(network), LABELS[box]), cells))
    measured = [f"{attack.upper()} over {LABELS[other]}" for other, attack in columns]
    return accuracy_table(text("table2.gains"), ("model", "data set", "box"), measured, rows), comparisons


def _boxes(results: Results, network: str, method: str) -> list[Comparison]:
    """The black box against the white box, for each attack and twin: any network loses less there."""
    return [
        _comparison(f"{LABELS[method]}, {LABELS[box]} over white box", gain, trivial=True)
        for attack, box in product(ATTACKS, results.scale.twins)
        if (gain := results.gain(*(results.accuracy(network, method, attack, side) for side in (box, "white"))))
    ]


def _comparison(what: str, gain: Gain, *, trivial: bool = False) -> Comparison:
    better = gain.better.measurement
    name = f"{' / '.join(network_labels(better.network))}, {LABELS[better.attack]}, {what}"
    return Comparison(name, gain.paper, gain.ours, gain.clear, trivial)


def draw_bars(bars: Mapping[str, Mapping[Group, Pair]], panels: Mapping[str, Sequence[Group]]) -> Figure:
    """A panel for each title, under each other: groups of a bar per method, with the paper's values beside the bars."""
    drawing, places = figures.figure(len(panels), 1, height=0.6 + 2.0 * len(panels))
    twins = {box: PANEL_LABELS[box].replace(", ", ",\n") for box in BOXES}
    for number, (axes, (title, groups)) in enumerate(zip(places, panels.items(), strict=True), start=1):
        cells = {method: [pairs.get(group, Pair(None, None)) for group in groups] for method, pairs in bars.items()}
        series = [(figures.STYLES[method], [pair.ours for pair in pairs]) for method, pairs in cells.items()]
        stars = [[pair.paper if pair.ours else None for pair in pairs] for pairs in cells.values()]
        names = [f"{LABELS[attack]}\n{twins[box]}" if attack else "clean" for attack, box in groups]
        figures.bars(axes, names, series, paper=stars, digits=1)
        axes.set_ylim(bottom=0)
        figures.label(axes, x="", y="accuracy (%)", title=title, panel=number if len(panels) > 1 else 0)
    figures.outside(drawing, columns=5)
    return drawing
