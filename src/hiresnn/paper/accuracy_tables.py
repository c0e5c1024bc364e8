"""Tables 1, 2, 3 and 5 as data: accuracies of each method in each box, and the gains of HIRE-SNN."""

from __future__ import annotations

from collections.abc import Iterable

from hiresnn.paper import labels
from hiresnn.paper.accuracy_page import AccuracyPage, Direction, Gain, Grid, Pair, Row, pair
from hiresnn.paper.claims import claims, printed
from hiresnn.paper.labels import ATTACKS, BOX_LABELS, METHOD_LABELS, network_labels, text
from hiresnn.paper.measurements import BOXES, FROZEN, TWINS, Changes, Measurement, accuracy
from hiresnn.paper.scales import Scale

COLUMNS = ("model", "data set", "method", "box")
MEASURED = ("clean", "FGSM", "PGD")
COMPARED = (("traditional", "ann"), ("rate", "ann"), ("traditional", "rate"))
"""Pairs of methods in Table 1 whose accuracies are compared."""
BASELINES = ("traditional", "ann")
"""What Tables 2 and 3 subtract from HIRE-SNN."""


def networks_of(scale: Scale, section: str) -> tuple[str, ...]:
    """Networks of the scale that a section of claims.toml has, in the paper's order."""
    return scale.present(claims()[section])


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
            for one, other in COMPARED:
                what = f"{BOX_LABELS[box]}, {METHOD_LABELS[one]} over {METHOD_LABELS[other]}"
                for attack in ATTACKS if one in present and other in present else ():
                    pair_ = accuracy(network, one, attack, box), accuracy(network, other, attack, box)
                    directions.append(_direction(what, *pair_))
        directions += [each for method in methods for each in _boxes(network, method)]
    notes = [*_notes(scale, "table1", "rate"), text("twins"), text("ann_twin"), text("table1.rate", draws=scale.draws)]
    return AccuracyPage(networks, [Grid(text("table1.caption"), COLUMNS, MEASURED, rows)], notes, directions)


def table2(scale: Scale) -> AccuracyPage:
    """HIRE-SNN in the white box, the change of its clean accuracy, and its gains."""
    networks = networks_of(scale, "table2")
    rows: list[Row] = []
    directions: list[Direction] = []
    for network in networks:
        texts, (clean, *attacked) = _row(network, "hire", "white")
        gain = Gain(accuracy(network, "hire"), accuracy(network, "traditional"))
        change = printed("table2", network, "clean_change"), gain
        rows.append((texts[:2], [clean, change, *attacked]))
        directions.append((_direction("HIRE-SNN over traditional SNN", gain.better, gain.worse)[0], change))
    measured = ("clean", "clean over traditional SNN", "FGSM", "PGD")
    gains, compared = _gains("table2", networks, ("white",))
    grids = [Grid(text("table2.caption"), COLUMNS[:2], measured, rows), gains]
    return AccuracyPage(networks, grids, _notes(scale, "table2"), [*directions, *compared])


def table3(scale: Scale) -> AccuracyPage:
    """HIRE-SNN in both black boxes, its gains, and the black box compared with the white box."""
    networks = networks_of(scale, "table3")
    rows = [_row(network, "hire", box) for network in networks for box in TWINS]
    gains, directions = _gains("table3", networks, TWINS)
    directions += [each for network in networks for each in _boxes(network, "hire")]
    columns = ("model", "data set", "box")
    own = Grid(text("table3.caption"), columns, MEASURED, [((*texts[:2], texts[3]), cells) for texts, cells in rows])
    notes = [*_notes(scale, "table3"), text("twins"), text("ann_twin")]
    return AccuracyPage(networks, [own, gains], notes, directions)


def table5(scale: Scale) -> AccuracyPage:
    """Traditional training and HIRE-SNN with threshold and leak frozen at their initial values."""
    networks, methods = networks_of(scale, "table5"), ("traditional", "hire")
    conditions = [(None, "white"), *((attack, box) for attack in ATTACKS for box in BOXES)]
    directions: list[Direction] = []
    for network in networks:
        for attack, box in conditions:
            traditional, hire = (accuracy(network, method, attack, box, FROZEN) for method in methods)
            where = f"{BOX_LABELS[box]}, " if attack else ""
            directions.append(_direction(f"{where}HIRE-SNN over traditional SNN, both frozen", hire, traditional))
            trained = accuracy(network, "hire", attack, box)
            directions.append(_direction(f"{where}HIRE-SNN frozen over trained", hire, trained))
    rows = [_row(network, method, box, FROZEN) for network in networks for method in methods for box in BOXES]
    notes = [*_notes(scale, "table5"), text("table5.frozen"), text("twins")]
    return AccuracyPage(networks, [Grid(text("table5.caption"), COLUMNS, MEASURED, rows)], notes, directions)


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
            what = f"{BOX_LABELS[box]}, HIRE-SNN over {METHOD_LABELS[other]}"
            directions.append((_direction(what, gain.better, gain.worse)[0], cells[-1]))
        rows.append(((*network_labels(network), BOX_LABELS[box]), cells))
    measured = tuple(f"{attack.upper()} over {METHOD_LABELS[other]}" for other in BASELINES for attack in ATTACKS)
    return Grid(text("table2.gains"), ("model", "data set", "box"), measured, rows), directions


def _boxes(network: str, method: str) -> list[Direction]:
    """The black box against the white box, for each attack and twin."""
    found = []
    for attack, box in ((attack, box) for attack in ATTACKS for box in TWINS if has_twin(method, box)):
        what = f"{METHOD_LABELS[method]}, {BOX_LABELS[box]} over white box"
        found.append(_direction(what, accuracy(network, method, attack, box), accuracy(network, method, attack)))
    return found


def _direction(what: str, better: Measurement, worse: Measurement) -> Direction:
    name = f"{' / '.join(network_labels(better.network))}, {labels.ATTACK_LABELS[better.attack]}, {what}"
    return name, pair(Gain(better, worse))
