"""Tables 1, 2, 3 and 5 as data: accuracies of each method in each box, and the gains of HIRE-SNN."""

from __future__ import annotations

from collections.abc import Iterable

from hiresnn.paper import labels
from hiresnn.paper.accuracy_page import AccuracyPage, Direction, Gain, Grid, Pair, Row, pair
from hiresnn.paper.claims import claims, printed
from hiresnn.paper.labels import ATTACKS, BOX_LABELS, METHOD_LABELS, OVER_SEEDS, network_labels
from hiresnn.paper.measurements import BOXES, FROZEN, TWINS, Changes, Measurement, accuracy
from hiresnn.paper.scales import Scale

LABELS = ("model", "data set", "method", "box")
MEASURED = ("clean", "FGSM", "PGD")
COMPARED = (("traditional", "ann"), ("rate", "ann"), ("traditional", "rate"))
"""Pairs of methods in Table 1 whose accuracies are compared."""
BASELINES = ("traditional", "ann")
"""What Tables 2 and 3 subtract from HIRE-SNN."""
GAIN_CAPTION = (
    "Accuracy of HIRE-SNN minus that of the other network, in percentage points, seed by seed. The paper's gains are "
    "as printed, which is not always the difference of its rounded accuracies."
)


def networks_of(scale: Scale, section: str) -> tuple[str, ...]:
    """Networks of the scale that a section of claims.toml has, in the paper's order."""
    return tuple(network for network in claims()[section] if network in scale.networks)


def has_twin(method: str, box: str) -> bool:
    """Whether the box exists for a method: an ANN has no twin from the same ANN."""
    return (method, box) != ("ann", "same-ann")


def table1(scale: Scale) -> AccuracyPage:
    """ANN, rate-coded SNN and traditional SNN, in every box."""
    networks = networks_of(scale, "table1")
    rows, directions = [], []
    for network in networks:
        methods = tuple(claims().table1[network])  # the paper has no rate-coded ResNet12
        for box in BOXES:
            present = [method for method in methods if has_twin(method, box)]
            rows += [_row(network, method, box) for method in present]
            directions += [
                _direction(network, attack, f"{BOX_LABELS[box]}, {METHOD_LABELS[one]} over {METHOD_LABELS[other]}",
                           accuracy(network, one, attack, box), accuracy(network, other, attack, box))
                for one, other in COMPARED if one in present and other in present for attack in ATTACKS
            ]  # fmt: skip
        directions += [each for method in methods for each in _boxes(network, method)]
    notes = [
        *_notes(scale, "table1", "rate"),
        labels.TWINS_NOTE,
        labels.ANN_TWIN_NOTE,
        "The paper quotes the rate-coded rows from Sharmin et al.; here such a network is trained, on Poisson input "
        "with the straight-through gradient of its expectation. FGSM and PGD follow the mean gradient of "
        f"{scale.draws} draws (EOT), and one more draw classifies each image.",
    ]
    caption = f"Accuracy in percent: {OVER_SEEDS}. Difference: ours minus the paper's."
    return AccuracyPage(networks, [Grid(caption, LABELS, MEASURED, rows)], notes, directions)


def table2(scale: Scale) -> AccuracyPage:
    """HIRE-SNN in the white box, the change of its clean accuracy, and its gains."""
    networks = networks_of(scale, "table2")
    rows: list[Row] = []
    directions: list[Direction] = []
    for network in networks:
        labels_, (clean, *attacked) = _row(network, "hire", "white")
        gain = Gain(accuracy(network, "hire"), accuracy(network, "traditional"))
        change = printed("table2", network, "clean_change"), gain
        rows.append((labels_[:2], [clean, change, *attacked]))
        directions.append((f"{_name(network)}, clean, HIRE-SNN over traditional SNN", change))
    caption = f"HIRE-SNN, white box: accuracy in percent, {OVER_SEEDS}."
    own = Grid(caption, LABELS[:2], ("clean", "clean over traditional SNN", "FGSM", "PGD"), rows)
    gains, compared = _gains("table2", networks, ("white",))
    return AccuracyPage(networks, [own, gains], _notes(scale, "table2"), [*directions, *compared])


def table3(scale: Scale) -> AccuracyPage:
    """HIRE-SNN in both black boxes, its gains, and the black box compared with the white box."""
    networks = networks_of(scale, "table3")
    rows = [_row(network, "hire", box) for network in networks for box in TWINS]
    caption = f"HIRE-SNN, black box: accuracy in percent, {OVER_SEEDS}."
    own = Grid(caption, ("model", "data set", "box"), MEASURED, [((*row[:2], row[3]), cells) for row, cells in rows])
    gains, directions = _gains("table3", networks, TWINS)
    directions += [each for network in networks for each in _boxes(network, "hire")]
    notes = [*_notes(scale, "table3"), labels.TWINS_NOTE, labels.ANN_TWIN_NOTE]
    return AccuracyPage(networks, [own, gains], notes, directions)


def table5(scale: Scale) -> AccuracyPage:
    """Traditional training and HIRE-SNN with threshold and leak frozen at their initial values."""
    networks = networks_of(scale, "table5")
    conditions = [(None, "white"), *((attack, box) for attack in ATTACKS for box in BOXES)]
    directions: list[Direction] = []
    for network in networks:
        for attack, box in conditions:
            hire = accuracy(network, "hire", attack, box, FROZEN)
            traditional = accuracy(network, "traditional", attack, box, FROZEN)
            trained, where = accuracy(network, "hire", attack, box), f"{BOX_LABELS[box]}, " if attack else ""
            both = f"{where}HIRE-SNN over traditional SNN, both frozen"
            directions.append(_direction(network, attack, both, hire, traditional))
            directions.append(_direction(network, attack, f"{where}HIRE-SNN frozen over trained", hire, trained))
    methods = ("traditional", "hire")
    rows = [_row(network, method, box, FROZEN) for network in networks for method in methods for box in BOXES]
    own, *missing = _notes(scale, "table5")
    notes = [own, "Threshold and leak stay at the values that the conversion gave them.", *missing, labels.TWINS_NOTE]
    caption = f"Accuracy in percent with threshold and leak frozen: {OVER_SEEDS}."
    return AccuracyPage(networks, [Grid(caption, LABELS, MEASURED, rows)], notes, directions)


def _notes(scale: Scale, section: str, *methods: str) -> list[str]:
    networks = networks_of(scale, section)
    return [*labels.setting_notes(scale, networks, *methods), *labels.left_out(claims()[section], networks)]


def _row(network: str, method: str, box: str, changes: Changes = ()) -> Row:
    cells = [pair(accuracy(network, method, attack, box, changes)) for attack in (None, *ATTACKS)]
    return (*network_labels(network), METHOD_LABELS[method], BOX_LABELS[box]), cells


def _gains(section: str, networks: Iterable[str], boxes: Iterable[str]) -> tuple[Grid, list[Direction]]:
    """The gains of HIRE-SNN over each baseline, as a table and as directions."""
    rows: list[Row] = []
    directions: list[Direction] = []
    for network, box in ((network, box) for network in networks for box in boxes):
        cells: list[Pair] = []
        for other, attack in ((other, attack) for other in BASELINES for attack in ATTACKS):
            gain = Gain(accuracy(network, "hire", attack, box), accuracy(network, other, attack, box))
            theirs = printed(section, network, f"over_{other}", attack)
            cells.append((theirs, gain if has_twin(other, box) else None))
            name = f"{_name(network)}, {attack.upper()}, {BOX_LABELS[box]}, HIRE-SNN over {METHOD_LABELS[other]}"
            directions.append((name, cells[-1]))
        rows.append(((*network_labels(network), BOX_LABELS[box]), cells))
    measured = tuple(f"{attack.upper()} over {METHOD_LABELS[other]}" for other in BASELINES for attack in ATTACKS)
    return Grid(GAIN_CAPTION, ("model", "data set", "box"), measured, rows), directions


def _boxes(network: str, method: str) -> list[Direction]:
    """The black box against the white box, for each attack and twin."""
    return [
        _direction(network, attack, f"{METHOD_LABELS[method]}, {BOX_LABELS[box]} over white box",
                   accuracy(network, method, attack, box), accuracy(network, method, attack))
        for attack in ATTACKS for box in TWINS if has_twin(method, box)
    ]  # fmt: skip


def _direction(network: str, attack: str | None, what: str, better: Measurement, worse: Measurement) -> Direction:
    return f"{_name(network)}, {labels.ATTACK_LABELS[attack]}, {what}", pair(Gain(better, worse))


def _name(network: str) -> str:
    return " / ".join(network_labels(network))
