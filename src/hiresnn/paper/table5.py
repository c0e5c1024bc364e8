"""Table 5: threshold and leak frozen at their initial values, traditional training and HIRE."""

from __future__ import annotations

from hiresnn.paper.accuracies import ATTACKS, COLUMNS, TWINS_NOTE, gap, missing_note, networks_of, over, row
from hiresnn.paper.artefact import Artefact, Cell, Table
from hiresnn.paper.directions import Directions
from hiresnn.paper.study import Study
from hiresnn.paper.words import BOXES, network_words, printed_box, setting_notes

METHODS = ("traditional", "hire")
FROZEN = {"snn__train_neurons": "false"}


def table5(study: Study) -> Artefact:
    """Accuracy in percent of both methods in every box; the gain of HIRE, and what freezing does to HIRE."""
    directions = Directions()
    rows: list[list[Cell]] = []
    networks = networks_of(study, "table5")
    for network in networks:
        rows += [row(study, "table5", network, method, box, **FROZEN) for method in METHODS for box in BOXES]
        _compare(study, directions, network, None, "white")
        for attack in ATTACKS:
            for box in BOXES:
                _compare(study, directions, network, attack, box)
    notes = [
        *setting_notes(study, networks),
        "Threshold and leak stay at the values that the conversion gave them.",
        *missing_note(study, "table5"),
        TWINS_NOTE,
        *directions.notes(),
    ]
    caption = "Accuracy in percent, threshold and leak frozen: mean ± sample standard deviation over seeds."
    return Artefact("table5", "Threshold and leak frozen", [Table(caption, COLUMNS, rows)], notes=notes)


def _compare(study: Study, directions: Directions, network: str, attack: str | None, box: str) -> None:
    where = " / ".join(network_words(network))
    where += ", clean" if attack is None else f", {attack.upper()}, {BOXES[box]}"
    hire, traditional = (over(study, network, method, attack, box, **FROZEN) for method in ("hire", "traditional"))
    paper_hire, paper_traditional = (_frozen(network, method, attack, box) for method in ("hire", "traditional"))
    gain = gap(paper_hire, paper_traditional)
    directions.compare(f"{where}, HIRE-SNN over traditional SNN, both frozen", gain, hire.minus(traditional))
    change = gap(paper_hire, ("table2" if box == "white" else "table3", network, "hire", attack or "clean"))
    trained = over(study, network, "hire", attack, box)
    directions.compare(f"{where}, HIRE-SNN frozen over trained", change, hire.minus(trained))


def _frozen(network: str, method: str, attack: str | None, box: str) -> tuple[str, ...]:
    """Where the printed number stands."""
    return ("table5", network, method, *(("clean",) if attack is None else (printed_box(box), attack)))
