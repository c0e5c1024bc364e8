"""Tables 1 to 5, HIRE-SNN against the rate-coded SNN, accuracy at every bound, Fig. 1c and 9, thresholds, margins."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, product

from matplotlib.figure import Figure

from hiresnn.calls import parse_eps
from reproduction import figures, paper
from reproduction.page import OPEN, Claim, Page, Row, Table, tabulate, verdict
from reproduction.pages_spikes import layers_of, total
from reproduction.paper import (
    ATTACKS,
    BOXES,
    CLAIMS,
    HEADLINE,
    LABELS,
    TWINS,
    VGG5,
    VGG11,
    Run,
    Scale,
    network_label,
    section,
    text,
)
from reproduction.results import (
    FROZEN,
    Accuracy,
    Gain,
    Results,
    above,
    accuracy,
    at_most,
    comparison_notes,
    each_attack,
    has_twin,
    judge,
    largest,
    largest_gain,
    smallest_gain,
)
from reproduction.statistics import SeedStat, with_limits
from reproduction.study import Measurement

BASELINES = ("traditional", "ann")  # what Tables 2 and 3 subtract from HIRE-SNN
SIMILAR = 2.0
"""Percentage points below the rate-coded network that still count as similar; the paper's own are up to 1.8 below."""
NO_GAIN = 2.0  # percentage points of a gain in Fig. 9 that count as no noticeable improvement
THRESHOLDS = ("0.4", "0.7", "1.0")  # values of conversion.threshold_scale
MARGINS = ("margin, 10 %", "half", "90 %", "% above 16.6")  # what `reproduction.measure.margins` returns
HELD_OUT = "100"  # images held out where the scale's recipe holds out none
ATTACK_COLUMNS = {LABELS[attack]: attack for attack in (None, *ATTACKS)}
Group = tuple[str | None, str]  # attack and box


def table1(results: Results) -> Page:
    """ANN, rate-coded SNN and traditional SNN, in every box."""
    scale, networks = results.scale, results.scale.some(CLAIMS["table1"])
    rows, comparisons, claims = [], [], []
    for network in networks:
        methods = [method for method in CLAIMS["table1"][network] if method != "rate" or scale.is_rated(network)]
        compared = [method for method in methods if method != "rate" or scale.counts_rate(network)]
        for box in scale.boxes:
            rows += [_row(results, network, method, box) for method in methods if has_twin(method, box)]
            for pair in (("traditional", "ann"), ("rate", "ann"), ("traditional", "rate")):
                if {*pair} <= {*compared}:
                    comparisons += gains_of(results, [network], *pair, [box]).values()
        comparisons += _over_white(results, network, *compared)
        # in the white box the paper says it of VGG11 (Fig. 1c); the numbers that it prints of ResNet12 contradict it
        boxes = [("white", "white")] if network == VGG11 else []
        for name, box in [*boxes, ("black", "independent")] if not network.startswith("vgg5") else []:
            if box in scale.boxes:  # sec. 1 and 3.1 speak of deep SNNs
                losses = gains_of(results, [network], "ann", "traditional", [box])
                least = min(gain.paper for gain in losses.values() if gain.paper is not None)
                claim = text("table1.below", box=name)
                claims.append(smallest_gain(claim, losses, least, "sec. 1, 3.1", network_label(network)))
    notes = [text("twins"), text("ann_twin"), text("table1.rate", draws=scale.draws)]
    tables, lacking = [tabulate(text("table1.caption"), rows)], CLAIMS["table1"]
    return results.page(networks, tables, notes, rated=True, lacking=lacking, comparisons=comparisons, claims=claims)


def table2(results: Results) -> Page:
    """HIRE-SNN in the white box, the change of its clean accuracy, and its gains."""
    networks = results.scale.some(CLAIMS["table2"])
    rows: list[Row] = []
    kept: dict[str, Gain] = {}
    claims = []
    for network in networks:
        row = _row(results, network, "hire", "white")
        printed = paper.printed("table2", network, "clean_change")
        change = replace(_gain(results, network, "hire", "traditional"), paper=printed)
        kept[f"{network_label(network)}, clean"] = change
        if printed is not None:
            claim, only = text("table2.clean", lost=-printed), {"clean": change}
            claims.append(smallest_gain(claim, only, printed, "abstract", network_label(network), limit=printed))
        changed = {"clean over traditional SNN": change.cells()}
        rows.append({**labels(network), "clean": row["clean"], **changed, "FGSM": row["FGSM"], "PGD": row["PGD"]})
    gains, comparisons = _gains(results, "table2", networks, ["white"])
    over, most = gains_of(results, networks, "hire", "traditional", ["white"]), HEADLINE["over_ann"]
    claims += [
        smallest_gain(text("table2.better"), over, HEADLINE["white_smallest"], "sec. 5.2"),
        *_headlines(results, ["white"], "white"),
        _headline(results, text("table2.over_ann", paper=most), most, VGG5, "ann", ["white"], ATTACKS, "sec. 5.2"),
    ]
    tables, comparisons = [tabulate(text("table2.caption"), rows), gains], [*kept.values(), *comparisons]
    return results.page(networks, tables, [], lacking=CLAIMS["table2"], comparisons=comparisons, claims=claims)


def table3(results: Results) -> Page:
    """HIRE-SNN in the black boxes, its gains, and the black boxes compared with the white box."""
    networks, twins = results.scale.some(CLAIMS["table3"]), results.scale.twins
    if not twins:
        raise paper.NotAtThisScaleError
    rows = [_row(results, network, "hire", box) for network, box in product(networks, twins)]
    rows = [{column: cell for column, cell in row.items() if column != "method"} for row in rows]
    gains, comparisons = _gains(results, "table3", networks, twins)
    comparisons += [gain for network in networks for gain in _over_white(results, network, "hire")]
    claims, most, claim = (
        _headlines(results, twins, "black"),
        HEADLINE["pgd"],
        text("table3.pgd", paper=HEADLINE["pgd"]),
    )
    claims.append(_headline(results, claim, most, "resnet12-cifar100", "traditional", twins, ["pgd"], "abstract"))
    for other in BASELINES:
        if over := gains_of(results, networks, "hire", other, twins):
            claim, least = text("table3.better", other=LABELS[other]), HEADLINE["black_smallest"][other]
            boxes = [LABELS[box] for box in twins if has_twin(other, box)]
            claims.append(smallest_gain(claim, over, least, "sec. 5.2", boxes[0] if len(boxes) == 1 else ""))
    tables, notes = [tabulate(text("table3.caption"), rows), gains], [text("twins"), text("ann_twin")]
    return results.page(networks, tables, notes, lacking=CLAIMS["table3"], comparisons=comparisons, claims=claims)


def table5(results: Results) -> Page:
    """Traditional training and HIRE-SNN with threshold and leak frozen at their initial values."""
    boxes, networks = results.scale.boxes, results.scale.some(CLAIMS["table5"])
    rows = [_row(results, *key, FROZEN) for key in product(networks, ("traditional", "hire"), boxes)]
    over: dict[str, Gain] = {}
    over_trained: dict[str, Gain] = {}
    trained_over: dict[str, Gain] = {}
    comparisons = []
    for network, (attack, box) in product(networks, [(None, "white"), *product(ATTACKS, boxes)]):
        hire, trained = (results.accuracy(network, "hire", attack, box, changes) for changes in (FROZEN, ()))
        gain = results.gain(hire, results.accuracy(network, "traditional", attack, box, FROZEN))
        frozen = results.gain(hire, trained)
        comparisons += [gain, frozen]
        if attack:
            over[f"{LABELS[attack]}, {LABELS[box]}"], over_trained[f"{LABELS[attack]}, {LABELS[box]}"] = gain, frozen
        else:
            trained_over[f"{network_label(network)}, clean"] = results.gain(trained, hire)
    smallest, lost = HEADLINE["frozen_smallest"], max((gain.paper or 0 for gain in trained_over.values()), default=0.0)
    claims = [
        smallest_gain(text("table5.better"), over, smallest["traditional"], "sec. 5.3"),
        smallest_gain(text("table5.more"), over_trained, smallest["trained"], "sec. 5.3"),
        smallest_gain(text("table5.cost"), trained_over, lost, "sec. 5.3"),
    ]
    tables, notes = [tabulate(text("table5.caption"), rows)], [text("table5.frozen"), text("twins")]
    return results.page(networks, tables, notes, lacking=CLAIMS["table5"], comparisons=comparisons, claims=claims)


def against_rate(results: Results) -> Page:
    """HIRE-SNN minus the rate-coded SNN, clean and under attack, in every box."""
    scale, networks = results.scale, results.scale.rated(CLAIMS["table1"])
    rows: list[Row] = []
    claims = []
    for network in networks:
        gains = {"clean": _gain(results, network, "hire", "rate")}
        for box in scale.boxes:
            inside = gains_of(results, [network], "hire", "rate", [box])
            cells = {LABELS[gain.better.measurement.attack]: gain.cells() for gain in inside.values()}
            rows.append({**labels(network), "box": LABELS[box], "clean": gains["clean"].cells(), **cells})
            gains |= inside
        least = min(gain.paper for gain in gains.values() if gain.paper is not None)
        claim, source = text("rate.similar", similar=SIMILAR), "abstract, sec. 5.3, 6"
        judged = smallest_gain(claim, gains, least, source, network_label(network), limit=-SIMILAR)
        claims.append(replace(judged, counted=scale.counts_rate(network)))
    notes = [text("twins"), text("table1.rate", draws=scale.draws)]
    return results.page(networks, [tabulate(text("rate.caption"), rows)], notes, rated=True, claims=claims)


def bounds(results: Results) -> Page:
    """ANN, traditional SNN and HIRE-SNN: clean, under FGSM, and under PGD at every bound of the scale, in every box."""
    scale, networks = results.scale, results.scale.some(CLAIMS["table2"])
    rows: list[Row] = []
    for network, method, box in product(networks, ("ann", "traditional", "hire"), scale.boxes):
        eps = scale.recipe(Run(network, method)).attack.eps  # the paper prints accuracies at this bound
        pgd = {f"PGD {bound}": "pgd" if parse_eps(bound) == eps else f"pgd:eps={bound}" for bound in scale.eps}
        if has_twin(method, box):
            rows.append(_row(results, network, method, box, attacks={"clean": None, "FGSM": "fgsm", **pgd}))
    tables, notes = [tabulate(text("bounds.caption"), rows)], [text("twins")]
    return results.page(networks, tables, notes, lacking=CLAIMS["table2"])


def fig1c(results: Results) -> Page:
    """VGG11: the traditional SNN beside its ANN under each attack."""
    results.scale.some([VGG11])
    groups = [(attack, box) for box in BOXES for attack in ATTACKS]
    bars = {m: {group: results.accuracy(VGG11, m, *group) for group in groups} for m in ("ann", "traditional")}
    gains = {}
    rows: list[Row] = []
    for attack, box in groups:
        ann, snn = (accuracies[attack, box] for accuracies in bars.values())
        gain = gains[f"{LABELS[attack]}, {LABELS[box]}, SNN over ANN"] = results.gain(snn, ann)
        row = {LABELS["ann"]: ann.cells(), LABELS["traditional"]: snn.cells(), "SNN minus ANN": gain.cells()}
        rows.append({"box": LABELS[box], "attack": LABELS[attack], **row})
    notes = [text("fig1c.source"), text("twins"), text("ann_twin"), *comparison_notes(gains)]
    draw = partial(draw_bars, bars, {"": groups})
    return results.page([VGG11], [tabulate(text("fig1c.caption"), rows)], notes, figure=draw)


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
    bars: dict[str, dict[Group, Accuracy]] = {"traditional": {}, "noise-free": {}, "gaussian": {}, "hire": {}}
    rows: list[Row] = []
    for method, (attack, box) in product(bars, groups):
        if box == "white" or method != "noise-free":
            cell = bars[method][attack, box] = results.accuracy(network, method, attack, box)
            images = LABELS[attack] + (f", {LABELS[box]}" if attack else "")
            rows.append({"images": images, "trained with": LABELS[method], "accuracy (%)": cell.cells()})

    def gains(better: str, worse: str, box: str) -> list[SeedStat]:
        return [gain.ours for gain in gains_of(results, [network], better, worse, [box]).values()]

    claims = []
    for box in BOXES:
        most = paper.printed("fig9", "white" if box == "white" else "black", "gain_max")
        crafted, gaussian = gains("hire", "gaussian", box), gains("gaussian", "traditional", box)
        better, none = text("fig9.better"), text("fig9.none", no_gain=NO_GAIN)
        if network == VGG11:
            about = {"of": f"{network_label(VGG11)}, {LABELS[box]}", "source": "sec. 5.3", "some": True}
            best, decision = {"paper": most, "ours": largest(crafted)}, above(crafted)
            claims.append(judge(better, crafted, decision, each_attack(crafted), **best, **about))
            claims.append(judge(none, gaussian, at_most(gaussian, NO_GAIN), each_attack(gaussian), **about))
        else:  # the claims are about VGG11
            of = f"{network_label(VGG11)}, {LABELS[box]}"
            for claim, stats, printed in ((better, crafted, most), (none, gaussian, None)):
                numbers = f"{text('not_here')}; {network_label(network)}: {each_attack(stats)}"
                claims.append(Claim(claim, OPEN, numbers, of, "sec. 5.3", printed))
    control = gains("noise-free", "traditional", "white")
    claims.append(judge(text("fig9.nothing"), control, None, each_attack(control)))
    notes = [text("fig9.gaussian"), text("fig9.control"), text("twins")]
    notes += [] if network == VGG11 else [text("fig9.other", network=network_label(network))]
    tables = [tabulate(text("fig9.caption", network=network_label(network)), rows)]
    return results.page([network], tables, notes, claims=claims, figure=partial(draw_bars, bars, panels))


def thresholds(results: Results) -> Page:
    """How the threshold scale of the conversion moves every method: not in the paper.

    It is measured on images held out of training, because the scale is a hyperparameter that every other page shares.
    """
    scale = results.scale
    scale.some([VGG5])
    recipe = scale.recipe(Run(VGG5, "hire"))
    held_out = int(recipe.data.holdout_images or HELD_OUT)
    held = () if recipe.data.holdout_images else (("data.holdout_images", HELD_OUT),)
    images = min(scale.images or held_out, held_out)
    bound, quarter = (f"{255 * eps:.3g}/255" for eps in (recipe.attack.eps, recipe.attack.eps / 4))
    attacks = {"clean": None, f"FGSM {bound}": "fgsm", f"PGD {bound}": "pgd"}
    attacks[f"PGD {quarter}"] = f"pgd:eps={recipe.attack.eps / 4:.6g}"
    rows: list[Row] = []
    percent: dict[tuple[str, str], dict[str, SeedStat]] = {}
    methods = ("traditional", "hire", "rate") if scale.is_rated(VGG5) else ("traditional", "hire")
    for method, threshold in product(methods, THRESHOLDS):
        changes = (("conversion.threshold_scale", threshold), *held)
        one = Measurement("held-out", VGG5, method, changes=changes)
        stats = {column: results.stat(replace(one, attack=attack)) for column, attack in attacks.items()}
        activity = results.find(replace(one, kind="activity"))
        layers = layers_of(activity) if activity else []
        spikes = {"SA of conv1": layers[0].sa if layers else None, "TASA": total(layers).tasa if layers else None}
        rows.append({"method": LABELS[method], "threshold scale": threshold, **stats, **spikes})
        percent[method, threshold] = stats
    gains = []
    for threshold in THRESHOLDS:
        hire, other = percent["hire", threshold], percent["traditional", threshold]
        cells = {column: with_limits(results.difference(hire[column], other[column], images)) for column in attacks}
        gains.append({"threshold scale": threshold, **cells})
    tables = [tabulate(text("thresholds.caption"), rows), tabulate(text("thresholds.gains"), gains)]
    about = f"{images:,} held-out training images"
    return results.page([VGG5], tables, [text("thresholds.held_out")], rated=True, images=about)


def saturation(results: Results) -> Page:
    """How large logits are, and FGSM and PGD with the cross-entropy in float32 and not rounded: not in the paper.

    A rounded loss leaves more accuracy than there is, which may explain what the paper prints of the traditional VGG5.
    """
    scale, networks = results.scale, results.scale.some(CLAIMS["table2"])
    rows: list[Row] = []
    for network, method in product(networks, ("ann", "traditional", "hire")):
        one = Measurement("margins", network, method)
        margins = {name: results.stat(replace(one, at=at)) for at, name in enumerate(MARGINS)}
        rounded = {f"{LABELS[attack]}, float32": results.stat(accuracy(network, method, attack)) for attack in ATTACKS}
        exact = {
            f"{LABELS[attack]}, not rounded": results.stat(accuracy(network, method, f"{attack}:float32_loss=false"))
            for attack in ATTACKS
        }
        rows.append({**labels(network), "method": LABELS[method], **margins, **rounded, **exact})
    notes = [text("saturation.margins"), text("saturation.loss")]
    return results.page(
        networks, [tabulate(text("saturation.caption"), rows)], notes, images=f"{scale.images:,} test images"
    )


# Parts of these pages


def labels(network: str) -> dict[str, str]:
    """The first cells of a row about a network."""
    return dict(zip(("model", "data set"), paper.network_labels(network), strict=True))


def _row(
    results: Results,
    network: str,
    method: str,
    box: str,
    changes: paper.Changes = (),
    attacks: Mapping[str, str | None] = ATTACK_COLUMNS,
) -> Row:
    pairs = {column: results.accuracy(network, method, attack, box, changes) for column, attack in attacks.items()}
    cells = {column: pair.cells() for column, pair in pairs.items()}
    return {**labels(network), "method": LABELS[method], "box": LABELS[box], **cells}


def _gain(results: Results, network: str, one: str, other: str, attack: str | None = None, box: str = "white") -> Gain:
    return results.gain(*(results.accuracy(network, method, attack, box) for method in (one, other)))


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
        f"{network_label(network)}, {LABELS[attack]}, {LABELS[box]}": gain
        for network, box, attack in product(networks, boxes, attacks)
        if (gain := _gain(results, network, better, worse, attack, box)).ours is not None
    }


def _headlines(results: Results, boxes: Collection[str], box: str) -> list[Claim]:
    """The largest gain under FGSM over traditional training, one claim per data set; the paper's is of ResNet12."""
    claims = []
    for dataset, most in HEADLINE[box].items():
        claim = text("table2.up_to", paper=most, box=box, dataset=LABELS[dataset])
        source = "abstract, sec. 5.2, 6" if (box, dataset) == ("black", "cifar10") else "sec. 5.2"
        claims.append(_headline(results, claim, most, f"resnet12-{dataset}", "traditional", boxes, ["fgsm"], source))
    return claims


def _headline(
    results: Results,
    claim: str,
    most: float,
    network: str,
    worse: str,
    boxes: Collection[str],
    attacks: Collection[str],
    source: str,
) -> Claim:
    """A claim of a gain "up to" a number, judged on the network of which the paper prints this number."""
    of = network_label(network)
    if network not in results.scale.networks:
        return Claim(claim, OPEN, text("not_here"), of, source, most)
    return largest_gain(claim, gains_of(results, [network], "hire", worse, boxes, attacks), most, source, of)


def _gains(results: Results, section: str, networks: Iterable[str], boxes: Iterable[str]) -> tuple[Table, list[Gain]]:
    """The gains of HIRE-SNN over each baseline, as a table and as comparisons; the paper's are as it prints them."""
    rows: list[Row] = []
    gains = []
    for network, box in product(networks, boxes):
        rows.append({**labels(network), "box": LABELS[box]})
        for other, attack in product(BASELINES, ATTACKS):
            printed = paper.printed(section, network, f"over_{other}", attack)
            gains.append(replace(_gain(results, network, "hire", other, attack, box), paper=printed))
            rows[-1][f"{LABELS[attack]} over {LABELS[other]}"] = gains[-1].cells()
    return tabulate(text("table2.gains"), rows), gains


def _over_white(results: Results, network: str, *methods: str) -> list[Gain]:
    """Each black box over the white box, for each method and attack: any network loses less there."""
    return [
        results.gain(*(results.accuracy(network, method, attack, side) for side in (box, "white")))
        for method, attack, box in product(methods, ATTACKS, results.scale.twins)
    ]


def draw_bars(bars: Mapping[str, Mapping[Group, Accuracy]], panels: Mapping[str, Sequence[Group]]) -> Figure:
    """A panel for each title, under each other: groups of a bar per method, with the paper's values beside the bars."""
    drawing, places = figures.figure(len(panels), 1, height=0.6 + 2.0 * len(panels))
    twins = {box: paper.PANEL_LABELS[box].replace(", ", ",\n") for box in BOXES}
    for number, (axes, (title, groups)) in enumerate(zip(places, panels.items(), strict=True), start=1):
        cells = {method: [pairs.get(group) for group in groups] for method, pairs in bars.items()}
        series = [(figures.STYLES[method], [pair and pair.ours for pair in pairs]) for method, pairs in cells.items()]
        stars = [[pair.paper if pair and pair.ours else None for pair in pairs] for pairs in cells.values()]
        names = [f"{LABELS[attack]}\n{twins[box]}" if attack else "clean" for attack, box in groups]
        figures.bars(axes, names, series, paper=stars, digits=1)
        axes.set_ylim(bottom=0)
        figures.label(axes, x="", y="accuracy (%)", title=title, panel=number if len(panels) > 1 else 0)
    figures.outside(drawing, columns=5)
    return drawing


# Table 4: five checks for obfuscated gradients, each decided by numbers, in two ways: by accuracies, as sec. 5.3 of
# the paper argues, with one rule per check; and image by image, with the questions of `hiresnn audit` (Athalye et al.
# 2018), where a yes means that the check fails.

SLACK = 1.0  # percentage points within which two accuracies count as equal in checks (iii) and (iv)
BUDGET = (50, 20, 200, 100)
"""Largest number of images, PGD iterations, queries of Square, draws of noise, for the checks image by image."""
FLOOR = 10.0  # percent left by PGD up to which Table 4 says that its checks can hardly fail
CHECKS: dict[str, str] = section("table4.checks")  # name of a check in claims.toml -> what a network must not show
RULES = tuple(rule.format(slack=SLACK) for rule in section("table4.rules").values())
"""By accuracies, in the order of CHECKS."""

Left = Mapping[tuple[str | None, str], float]
"""Attack and box, as in `_attacks` -> the accuracy that is left, in percent."""
Result = tuple[bool, str]  # whether one check passed, and the numbers that decided


def passed_checks(left: Left, scale: Scale) -> list[Result]:
    """The five checks by accuracies, in the order of CHECKS, each by its rule in RULES."""
    white = {attack: percent for (attack, box), percent in left.items() if box == "white"}
    fgsm, pgd, unbounded, random = white["fgsm"], white["pgd"], white["pgd:eps=1"], white[_noise(scale)]
    by_twins = []
    for attack in ATTACKS:
        twins = ", ".join(f"{left[attack, twin]:.1f} % made on the {twin} twin" for twin in TWINS)
        by_twins.append(f"{LABELS[attack]} leaves {white[attack]:.1f} % made on itself, {twins}")
    no_twin_better = all(left[attack, twin] >= white[attack] for attack, twin in product(ATTACKS, TWINS))
    percent = {"0": white[None], **{bound: white[f"pgd:eps={bound}"] for bound in scale.eps}}
    clean, *attacked = percent.values()
    lowest = accumulate(percent.values(), min)
    rose = any(after > least + SLACK for least, after in zip(lowest, attacked, strict=False))
    by_bound = ", ".join(f"{value:.1f} % at {bound}" for bound, value in percent.items())
    return [
        (pgd < fgsm, f"FGSM leaves {fgsm:.1f} %, PGD {pgd:.1f} %"),
        (no_twin_better, "; ".join(by_twins)),
        (not rose and attacked[-1] < clean, f"PGD leaves {by_bound}"),
        (unbounded <= SLACK, f"PGD without a bound leaves {unbounded:.1f} %"),
        (random > pgd, f"random draws leave {random:.1f} %, PGD {pgd:.1f} %"),
    ]


def table4(results: Results) -> Page:
    """A row for each network and check; with several seeds a check passes if it passes for each of them."""
    scale, networks = results.scale, results.scale.some(CLAIMS["table2"])
    attacks = _attacks(scale)
    measured = [accuracy(network, "hire", *attack) for network in networks for attack in attacks]
    by_image = [Measurement("gradient-checks", network, "hire", grid=BUDGET) for network in networks]
    values = results.all(*measured, *by_image)
    rows: list[Row] = []
    claims: list[Claim] = []
    for place, network in enumerate(networks):
        left = zip(*values[place * len(attacks) : (place + 1) * len(attacks)], strict=True)
        answers = values[len(measured) + place]
        ways = {
            "by accuracies": [passed_checks(dict(zip(attacks, seed, strict=True)), scale) for seed in left],
            "image by image": [[(not check["yes"], check["evidence"]) for check in seed] for seed in answers],
        }
        for number, (key, check) in enumerate(CHECKS.items()):
            rows.append({**labels(network), "check": check, "paper": str(CLAIMS["table4"][key])})
            for (way, seeds), evidence in zip(ways.items(), ("evidence", "evidence, images"), strict=True):
                failed = [seed for seed, checks in enumerate(seeds) if not checks[number][0]]
                shown = failed[0] if failed else 0  # the first seed that fails, or otherwise the first
                some = "fail" if len(seeds) == 1 else f"fail in {len(failed)} of {len(seeds)} seeds"
                rows[-1] |= {way: some if failed else "pass", evidence: f"seed {shown}: {seeds[shown][number][1]}"}
        for way, seeds in ways.items():
            names = [check.split()[0] for check in CHECKS.values()]
            failing = [name for number, name in enumerate(names) if not all(seed[number][0] for seed in seeds)]
            numbers = f"fails {', '.join(failing)}" if failing else f"passes all five with {len(seeds)} seed(s)"
            of = f"{network_label(network)}, {way}"
            claims.append(Claim(text("table4.claim"), verdict(not failing), numbers, of, "sec. 5.3"))
    notes = [
        f"By accuracies: {'; '.join(RULES)}.",
        text("table4.by_image", images=BUDGET[0], steps=BUDGET[1], queries=BUDGET[2], draws=BUDGET[3]),
        text("table4.sampling"),
    ]
    kept = [percent for seeds in results.all(*(accuracy(one, "hire", "pgd") for one in networks)) for percent in seeds]
    if max(kept) <= FLOOR:
        bound = f"{255 * scale.recipe(Run(networks[0], 'hire')).attack.eps:.3g}/255"
        notes.append(text("table4.floor", bound=bound, least=min(kept), most=max(kept)))
    tables = [tabulate(text("table4.caption"), rows)]
    return results.page(networks, tables, notes, lacking=CLAIMS["table2"], claims=claims)


def _attacks(scale: Scale) -> list[tuple[str | None, str]]:
    """Attack and box of everything that `passed_checks` reads: both twins at every scale, as image by image."""
    white = [None, *ATTACKS, *(f"pgd:eps={bound}" for bound in scale.eps), "pgd:eps=1", _noise(scale)]
    return [*((attack, "white") for attack in white), *((attack, box) for box in TWINS for attack in ATTACKS)]


def _noise(scale: Scale) -> str:
    return f"noise:kind=uniform,draws={scale.random_draws}"
