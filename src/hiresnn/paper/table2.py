"""Table 2: HIRE-SNN under white-box attacks, and its gains."""

from __future__ import annotations

from hiresnn.paper.accuracies import ATTACKS, missing_note, networks_of, over
from hiresnn.paper.artefact import Artefact, Cell, Table, beside_paper, compared
from hiresnn.paper.claims import printed
from hiresnn.paper.directions import Directions
from hiresnn.paper.gains import GAIN_CAPTION, GAIN_COLUMNS, gain_row
from hiresnn.paper.study import Study
from hiresnn.paper.words import network_words, setting_notes

COLUMNS = ["model", "data set", *beside_paper("clean", "clean over traditional SNN", "FGSM", "PGD")]


def table2(study: Study) -> Artefact:
    """Accuracy in percent, the change of the clean accuracy, and the gains over traditional SNN and ANN."""
    directions = Directions()
    networks = networks_of(study, "table2")
    rows = [_row(study, directions, network) for network in networks]
    gains = [gain_row(study, directions, "table2", network, "white") for network in networks]
    tables = [
        Table("HIRE-SNN, white box: accuracy in percent, mean ± sample standard deviation over seeds.", COLUMNS, rows),
        Table(GAIN_CAPTION, GAIN_COLUMNS, gains),
    ]
    notes = [*setting_notes(study, networks), *missing_note(study, "table2"), *directions.notes()]
    return Artefact("table2", "HIRE-SNN under white-box attacks", tables, notes=notes)


def _row(study: Study, directions: Directions, network: str) -> list[Cell]:
    clean = over(study, network, "hire")
    change = clean.minus(over(study, network, "traditional"))
    paper = printed("table2", network, "clean_change")
    what = f"{' / '.join(network_words(network))}, clean, HIRE-SNN over traditional SNN"
    directions.compare(what, paper, change)
    cells: list[Cell] = [*network_words(network)]
    cells += compared(printed("table2", network, "hire", "clean"), clean) + compared(paper, change)
    for attack in ATTACKS:
        cells += compared(printed("table2", network, "hire", attack), over(study, network, "hire", attack))
    return cells
