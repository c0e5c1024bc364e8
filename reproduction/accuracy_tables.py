"""Tables 1, 2, 3 and 5 as data, HIRE-SNN against the rate-coded SNN, and accuracy at every bound in every box."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import product

from reproduction import labels
from reproduction.accuracy_charts import largest_gain, smallest_gain
from reproduction.accuracy_page import (
    AccuracyPage,
    Direction,
    Gain,
    Grid,
    Judgement,
    Pair,
    Row,
    pair,
    printed_accuracy,
)
from reproduction.claims import claims, printed
from reproduction.labels import ATTACK_LABELS, ATTACKS, BOX_LABELS, METHOD_LABELS, network_label, network_labels, text
from reproduction.measurements import FROZEN, Changes, Measurement, accuracy
from reproduction.scales import Scale

COLUMNS = ("model", "data set", "method", "box")
MEASURED = ("clean", "FGSM", "PGD")
COMPARED = (("traditional", "ann"), ("rate", "ann"), ("traditional", "rate"))
"""Pairs of methods in Table 1 whose accuracies are compared."""
BASELINES = ("traditional", "ann")
"""What Tables 2 and 3 subtract from HIRE-SNN."""
SIMILAR = 2.0
"""Percentage points below the rate-coded network that still count as similar; the paper's own are up to 1.8 below."""


def networks_of(scale: Scale, section: str) -> tuple[str, ...]:
    """Networks of the scale that a section of claims.toml has, in the paper's order."""
    return scale.present(claims()[section])


def has_twin(method: str, box: str) -> bool:
    """Whether the box exists for a method: an ANN has no twin from the same ANN."""
    return (method, box) != ("ann", "same-ann")


def table1(scale: Scale) -> AccuracyPage:
    """ANN, rate-coded SNN and traditional SNN, in every box."""
    networks = networks_of(scale, "table1")
    rows, directions, judgements = [], [], []
    for network in networks:
        methods = [method for method in claims().table1[network] if method != "rate" or scale.is_rated(network)]
        for box in scale.boxes:
            present = [method for method in methods if has_twin(method, box)]
            rows += [_row(network, method, box) for method in present]
            for one, other in COMPARED:
                what = f"{BOX_LABELS[box]}, {METHOD_LABELS[one]} over {METHOD_LABELS[other]}"
                if one in present and other in present:
                    directions += [_direction(what, _gain(network, one, other, attack, box)) for attack in ATTACKS]
        directions += [each for method in methods for each in _boxes(scale, network, method)]
        if not network.startswith("vgg5"):  # sec. 1 and 3.1 speak of deep SNNs
            judgements += _below_ann(scale, network)
    notes = [*_notes(scale, "table1", "rate"), text("twins"), text("ann_twin"), text("table1.rate", draws=scale.draws)]
    grids = [Grid(text("table1.caption"), COLUMNS, MEASURED, rows)]
    return AccuracyPage(networks, grids, notes, directions, judgements)


def _below_ann(scale: Scale, network: str) -> list[Judgement]:
    """The claim that a direct-input SNN is less accurate than its ANN under attack, for each box that both have.

    In the white box the paper says it of VGG11 (Fig. 1c); the numbers that it prints of ResNet12 contradict it.
    """
    judgements = []
    for words, box in (("white", "white"), ("black", "independent")):
        if box in scale.boxes and (box != "white" or network == labels.VGG11):
            losses = gains_of([network], "ann", "traditional", [box])
            paper = min(value for gain in losses.values() if (value := printed_accuracy(gain)) is not None)
            claim = text("table1.below", box=words)
            judgements.append(smallest_gain(claim, losses, paper, "sec. 1, 3.1", network_label(network)))
    return judgements


def table2(scale: Scale) -> AccuracyPage:
    """HIRE-SNN in the white box, the change of its clean accuracy, and its gains."""
    networks = networks_of(scale, "table2")
    rows: list[Row] = []
    directions: list[Direction] = []
    kept: dict[str, Gain] = {}
    for network in networks:
        texts, (clean, *attacked) = _row(network, "hire", "white")
        gain = _gain(network, "hire", "traditional")
        kept[f"{network_label(network)}, clean"] = gain
        change = printed("table2", network, "clean_change")
        rows.append((texts[:2], [clean, (change, gain), *attacked]))
        directions.append(_direction("HIRE-SNN over traditional SNN", gain, change))
    measured = ("clean", "clean over traditional SNN", "FGSM", "PGD")
    gains, compared = _gains("table2", networks, ["white"])
    grids = [Grid(text("table2.caption"), COLUMNS[:2], measured, rows), gains]
    lost = min((claims().table2[name].clean_change for name in networks), default=0.0)
    most = claims().headline
    over, over_ann = (gains_of(networks, "hire", other, ["white"]) for other in BASELINES)
    judgements = [
        smallest_gain(text("table2.clean", lost=-lost), kept, lost, "abstract", limit=lost),
        smallest_gain(text("table2.better"), over, most.white_smallest, "sec. 5.2"),
        *_headlines(networks, ["white"], "white"),
        largest_gain(text("table2.over_ann", paper=most.over_ann), over_ann, most.over_ann, "sec. 5.2"),
    ]
    return AccuracyPage(networks, grids, _notes(scale, "table2"), [*directions, *compared], judgements)


def table3(scale: Scale) -> AccuracyPage:
    """HIRE-SNN in the black boxes, its gains, and the black boxes compared with the white box."""
    networks, twins = networks_of(scale, "table3"), scale.twins
    rows = [_row(network, "hire", box) for network, box in product(networks, twins)]
    gains, directions = _gains("table3", networks, twins)
    directions += [each for network in networks for each in _boxes(scale, network, "hire")]
    columns = ("model", "data set", "box")
    own = Grid(text("table3.caption"), columns, MEASURED, [((*texts[:2], texts[3]), cells) for texts, cells in rows])
    most = claims().headline
    pgd = gains_of(networks, "hire", "traditional", twins, ["pgd"])
    judgements = [
        *_headlines(networks, twins, "black"),
        largest_gain(text("table3.pgd", paper=most.pgd), pgd, most.pgd, "abstract"),
    ]
    for other in BASELINES:
        every, smallest = gains_of(networks, "hire", other, twins), most.black_smallest[other]
        claim = text("table3.better", other=METHOD_LABELS[other])
        judgements += [smallest_gain(claim, every, smallest, "sec. 5.2")] if every else []
    notes = [*_notes(scale, "table3"), text("twins"), text("ann_twin")]
    return AccuracyPage(networks, [own, gains], notes, directions, judgements)


def table5(scale: Scale) -> AccuracyPage:
    """Traditional training and HIRE-SNN with threshold and leak frozen at their initial values."""
    networks, methods = networks_of(scale, "table5"), ("traditional", "hire")
    conditions = [(None, "white"), *((attack, box) for attack in ATTACKS for box in scale.boxes)]
    directions: list[Direction] = []
    over: dict[str, Gain] = {}
    frozen: dict[str, Gain] = {}
    for network in networks:
        for attack, box in conditions:
            hire = accuracy(network, "hire", attack, box, FROZEN)
            over_traditional = Gain(hire, accuracy(network, "traditional", attack, box, FROZEN))
            over_trained = Gain(hire, accuracy(network, "hire", attack, box))
            where = f"{BOX_LABELS[box]}, " if attack else ""
            directions.append(_direction(f"{where}HIRE-SNN over traditional SNN, both frozen", over_traditional))
            directions.append(_direction(f"{where}HIRE-SNN frozen over trained", over_trained))
            if attack:
                name = f"{attack.upper()}, {BOX_LABELS[box]}"
                over[name], frozen[name] = over_traditional, over_trained
    rows = [_row(network, method, box, FROZEN) for network, method, box in product(networks, methods, scale.boxes)]
    notes = [*_notes(scale, "table5"), text("table5.frozen"), text("twins")]
    smallest = claims().headline.frozen_smallest
    trained_over_frozen = {
        f"{network_label(each)}, clean": Gain(accuracy(each, "hire"), accuracy(each, "hire", changes=FROZEN))
        for each in networks
    }
    lost = max(filter(None, map(printed_accuracy, trained_over_frozen.values())), default=0.0)
    judgements = [
        smallest_gain(text("table5.better"), over, smallest.traditional, "sec. 5.3"),
        smallest_gain(text("table5.more"), frozen, smallest.trained, "sec. 5.3"),
        smallest_gain(text("table5.cost"), trained_over_frozen, lost, "sec. 5.3"),
    ]
    grids = [Grid(text("table5.caption"), COLUMNS, MEASURED, rows)]
    return AccuracyPage(networks, grids, notes, directions, judgements)


def against_rate(scale: Scale) -> AccuracyPage:
    """HIRE-SNN minus the rate-coded SNN, clean and under attack, in every box."""
    networks = [name for name in networks_of(scale, "table1") if scale.is_rated(name)]
    rows: list[Row] = []
    judgements = []
    for network in networks:
        gains = {"clean": _gain(network, "hire", "rate"), **gains_of([network], "hire", "rate", scale.boxes)}
        for box in scale.boxes:
            cells = [pair(gain) for name, gain in gains.items() if name == "clean" or gain.better.box == box]
            rows.append(((*network_labels(network), BOX_LABELS[box]), cells))
        paper = min(value for gain in gains.values() if (value := printed_accuracy(gain)) is not None)
        claim, where = text("rate.similar", similar=SIMILAR), "abstract, sec. 5.3, 6"
        judgements.append(smallest_gain(claim, gains, paper, where, network_label(network), limit=-SIMILAR))
    notes = [*labels.setting_notes(scale, networks, "rate"), text("twins"), text("table1.rate", draws=scale.draws)]
    grid = Grid(text("rate.caption"), ("model", "data set", "box"), MEASURED, rows)
    return AccuracyPage(tuple(networks), [grid], notes, (), judgements)


def bounds(scale: Scale) -> AccuracyPage:
    """ANN, traditional SNN and HIRE-SNN: clean, under FGSM, and under PGD at every bound of the scale, in every box."""
    networks = networks_of(scale, "table2")
    attacks = [None, "fgsm", *(f"pgd:eps={eps}" for eps in scale.eps)]
    rows: list[Row] = [
        (
            (*network_labels(network), METHOD_LABELS[method], BOX_LABELS[box]),
            [_at_bound(scale, accuracy(network, method, attack, box)) for attack in attacks],
        )
        for network, method, box in product(networks, ("ann", "traditional", "hire"), scale.boxes)
        if has_twin(method, box)
    ]
    measured = ("clean", "FGSM", *(f"PGD {eps}" for eps in scale.eps))
    notes = [*_notes(scale, "table2"), text("twins")]
    return AccuracyPage(networks, [Grid(text("bounds.caption"), COLUMNS, measured, rows)], notes)


def _at_bound(scale: Scale, wanted: Measurement) -> Pair:
    """Beside the paper's value where the bound is that of the recipe, which the paper uses."""
    spec, own = wanted.spec(scale), scale.recipe(wanted.run).attack.eps
    plain = accuracy(wanted.network, wanted.method, None if spec is None else spec.name, wanted.box)
    return (printed_accuracy(plain) if spec is None or abs(spec.eps - own) < 1e-9 else None), wanted


def _notes(scale: Scale, section: str, *methods: str) -> list[str]:
    networks = networks_of(scale, section)
    return [*labels.setting_notes(scale, networks, *methods), *labels.left_out(claims()[section], networks)]


def _row(network: str, method: str, box: str, changes: Changes = ()) -> Row:
    cells = [pair(accuracy(network, method, attack, box, changes)) for attack in (None, *ATTACKS)]
    return (*network_labels(network), METHOD_LABELS[method], BOX_LABELS[box]), cells


def _gain(network: str, better: str, worse: str, attack: str | None = None, box: str = "white") -> Gain:
    return Gain(accuracy(network, better, attack, box), accuracy(network, worse, attack, box))


def gains_of(
    networks: Iterable[str], better: str, worse: str, boxes: Collection[str], attacks: Collection[str] = ATTACKS
) -> dict[str, Gain]:
    """Name -> gain of one method over another, for each network, under each attack in each box that both have."""
    return {
        f"{network_label(network)}, {attack.upper()}, {BOX_LABELS[box]}": _gain(network, better, worse, attack, box)
        for network, box, attack in product(networks, boxes, attacks)
        if has_twin(better, box) and has_twin(worse, box)
    }


def _headlines(networks: Iterable[str], boxes: Collection[str], box: str) -> list[Judgement]:
    """The largest gain under FGSM over traditional training, one claim per data set."""
    found = []
    for dataset, paper in claims().headline[box].items():
        present = [name for name in networks if name.endswith(f"-{dataset}")]
        ours = gains_of(present, "hire", "traditional", boxes, ["fgsm"])
        claim = text("table2.up_to", paper=paper, box=box, dataset=labels.NAMES[dataset])
        where = "abstract, sec. 5.2, 6" if (box, dataset) == ("black", "cifar10") else "sec. 5.2"
        found += [largest_gain(claim, ours, paper, where)] if ours else []
    return found


def _gains(section: str, networks: Iterable[str], boxes: Iterable[str]) -> tuple[Grid, list[Direction]]:
    """The gains of HIRE-SNN over each baseline, as a table and as directions."""
    rows: list[Row] = []
    directions: list[Direction] = []
    for network, box in product(networks, boxes):
        cells: list[Pair] = []
        for other, attack in product(BASELINES, ATTACKS):
            gain = _gain(network, "hire", other, attack, box)
            theirs = printed(section, network, f"over_{other}", attack)
            cells.append((theirs, gain if has_twin(other, box) else None))
            if has_twin(other, box):
                what = f"{BOX_LABELS[box]}, HIRE-SNN over {METHOD_LABELS[other]}"
                directions.append(_direction(what, gain, theirs))
        rows.append(((*network_labels(network), BOX_LABELS[box]), cells))
    measured = tuple(f"{attack.upper()} over {METHOD_LABELS[other]}" for other, attack in product(BASELINES, ATTACKS))
    return Grid(text("table2.gains"), ("model", "data set", "box"), measured, rows), directions


def _boxes(scale: Scale, network: str, method: str) -> list[Direction]:
    """The black box against the white box, for each attack and twin: any network loses less there."""
    return [
        _direction(
            f"{METHOD_LABELS[method]}, {BOX_LABELS[box]} over white box",
            Gain(accuracy(network, method, attack, box), accuracy(network, method, attack)),
            trivial=True,
        )
        for attack, box in product(ATTACKS, scale.twins)
        if has_twin(method, box)
    ]


def _direction(what: str, gain: Gain, paper: float | None = None, *, trivial: bool = False) -> Direction:
    """A direction beside the difference that the paper prints, or that of its printed accuracies."""
    name = f"{' / '.join(network_labels(gain.better.network))}, {ATTACK_LABELS[gain.better.attack]}, {what}"
    return Direction(name, printed_accuracy(gain) if paper is None else paper, gain, trivial)
