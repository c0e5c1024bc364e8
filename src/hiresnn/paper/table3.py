"""Table 3: HIRE-SNN under black-box attacks, with both kinds of twin, and its gains."""

from __future__ import annotations

from hiresnn.paper.accuracies import ANN_TWIN_NOTE, ATTACKS, TWINS_NOTE, missing_note, networks_of, over
from hiresnn.paper.artefact import Artefact, Cell, Table, beside_paper, compared
from hiresnn.paper.claims import printed
from hiresnn.paper.directions import Directions
from hiresnn.paper.gains import GAIN_CAPTION, GAIN_COLUMNS, gain_row
from hiresnn.paper.study import TWINS, Study
from hiresnn.paper.words import BOXES, network_words, setting_notes

COLUMNS = ["model", "data set", "box", *beside_paper("clean", "FGSM", "PGD")]


def table3(study: Study) -> Artefact:
    """Accuracy in percent and the gains over traditional SNN and ANN, for both twins; and black box over white."""
    directions = Directions()
    networks = networks_of(study, "table3")
    rows = [_row(study, network, box) for network in networks for box in TWINS]
    gains = [gain_row(study, directions, "table3", network, box) for network in networks for box in TWINS]
    for network in networks:
        _weaker(study, directions, network)
    tables = [
        Table("HIRE-SNN, black box: accuracy in percent, mean ± sample standard deviation over seeds.", COLUMNS, rows),
        Table(GAIN_CAPTION, GAIN_COLUMNS, gains),
    ]
    notes = [
        *setting_notes(study, networks),
        *missing_note(study, "table3"),
        TWINS_NOTE,
        ANN_TWIN_NOTE,
        *directions.notes(),
    ]
    return Artefact("table3", "HIRE-SNN under black-box attacks", tables, notes=notes)


def _row(study: Study, network: str, box: str) -> list[Cell]:
    cells: list[Cell] = [*network_words(network), BOXES[box]]
    cells += compared(printed("table3", network, "hire", "clean"), over(study, network, "hire"))
    for attack in ATTACKS:
        cells += compared(printed("table3", network, "hire", attack), over(study, network, "hire", attack, box))
    return cells


def _weaker(study: Study, directions: Directions, network: str) -> None:
    """Sec. 5.2: the black box is the weaker attack."""
    for attack in ATTACKS:
        white, black = (printed(table, network, "hire", attack) for table in ("table2", "table3"))
        paper = None if white is None or black is None else black - white
        for box in TWINS:
            ours = over(study, network, "hire", attack, box).minus(over(study, network, "hire", attack))
            what = f"{' / '.join(network_words(network))}, {attack.upper()}, {BOXES[box]} over white box"
            directions.compare(what, paper, ours)
