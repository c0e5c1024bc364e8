"""What Tables 2 and 3 have in common: HIRE-SNN, and its gains over traditional training and over the ANN."""

from __future__ import annotations

from hiresnn.paper.accuracies import ATTACKS, exists, over
from hiresnn.paper.artefact import Cell, beside_paper, compared
from hiresnn.paper.claims import printed
from hiresnn.paper.directions import Directions
from hiresnn.paper.study import Study
from hiresnn.paper.words import BOXES, METHODS, network_words

OTHERS = ("traditional", "ann")
GAIN_COLUMNS = [
    "model",
    "data set",
    "box",
    *beside_paper(*(f"{attack.upper()} over {METHODS[other]}" for other in OTHERS for attack in ATTACKS)),
]
GAIN_CAPTION = (
    "Accuracy of HIRE-SNN minus that of the other network, in percentage points, seed by seed. The paper's gains are "
    "as printed, which its rounded accuracies do not always give."
)


def gain_row(study: Study, directions: Directions, artefact: str, network: str, box: str) -> list[Cell]:
    """The cells under GAIN_COLUMNS; each gain's direction is compared on the way."""
    cells: list[Cell] = [*network_words(network), BOXES[box]]
    for other in OTHERS:
        for attack in ATTACKS:
            if not exists(other, box):
                cells += compared(printed(artefact, network, f"over_{other}", attack), None)
                continue
            paper = printed(artefact, network, f"over_{other}", attack)
            ours = over(study, network, "hire", attack, box).minus(over(study, network, other, attack, box))
            cells += compared(paper, ours)
            what = f"{' / '.join(network_words(network))}, {attack.upper()}, {BOXES[box]}"
            directions.compare(f"{what}, {METHODS['hire']} over {METHODS[other]}", paper, ours)
    return cells
