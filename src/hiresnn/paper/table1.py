"""Table 1: ANN, rate-coded SNN and traditionally trained low-latency SNN, clean and attacked."""

from __future__ import annotations

from hiresnn.paper.accuracies import (
    ANN_TWIN_NOTE,
    ATTACKS,
    COLUMNS,
    TWINS_NOTE,
    boxes_apart,
    exists,
    gap,
    missing_note,
    networks_of,
    over,
    row,
)
from hiresnn.paper.artefact import Artefact, Cell, Table
from hiresnn.paper.claims import claims
from hiresnn.paper.directions import Directions
from hiresnn.paper.study import Study
from hiresnn.paper.words import BOXES, METHODS, network_words, printed_box, setting_notes

PAIRS = (("traditional", "ann"), ("rate", "ann"), ("traditional", "rate"))


def table1(study: Study) -> Artefact:
    """Accuracy in percent of every method, box and attack, and the directions between methods and boxes."""
    rows: list[list[Cell]] = []
    directions = Directions()
    networks = networks_of(study, "table1")
    for network in networks:
        methods = tuple(claims().table1[network])  # the paper has no rate-coded ResNet12
        for box in BOXES:
            shown = [method for method in methods if exists(method, box)]
            rows += [row(study, "table1", network, method, box) for method in shown]
            for first, second in PAIRS:
                if first in shown and second in shown:
                    _between(study, directions, network, first, second, box)
        boxes_apart(study, directions, "table1", network, methods)
    draws = study.scale.draws
    notes = [
        *setting_notes(study, networks, "rate"),
        *missing_note(study, "table1"),
        TWINS_NOTE,
        ANN_TWIN_NOTE,
        "The paper quotes the rate-coded columns from Sharmin et al.; here such a network is trained: Poisson input, "
        "the straight-through gradient of its expectation. FGSM and PGD on it follow the mean gradient of "
        f"{draws} draws (EOT), and each image is classified by one draw.",
        *directions.notes(),
    ]
    caption = "Accuracy in percent: mean ± sample standard deviation over seeds; difference is ours minus the paper's."
    return Artefact("table1", "ANN, rate-coded and low-latency SNN", [Table(caption, COLUMNS, rows)], notes=notes)


def _between(study: Study, directions: Directions, network: str, first: str, second: str, box: str) -> None:
    theirs = printed_box(box)
    for attack in ATTACKS:
        ours = over(study, network, first, attack, box).minus(over(study, network, second, attack, box))
        paper = gap(("table1", network, first, theirs, attack), ("table1", network, second, theirs, attack))
        what = f"{' / '.join(network_words(network))}, {attack.upper()}, {BOXES[box]}"
        directions.compare(f"{what}, {METHODS[first]} over {METHODS[second]}", paper, ours)
