"""Fig. 1c: VGG11 on CIFAR-100, the direct-coded SNN of traditional training beside its ANN, under each attack."""

from __future__ import annotations

from typing import Any

from hiresnn.paper.accuracies import ANN_TWIN_NOTE, ATTACKS, TWINS_NOTE, exists, over
from hiresnn.paper.artefact import Artefact, Cell, Table, beside_paper, compared
from hiresnn.paper.claims import printed
from hiresnn.paper.directions import Directions
from hiresnn.paper.study import Study
from hiresnn.paper.words import BOXES, METHODS, printed_box, setting_notes

NETWORK = "vgg11-cifar100"
SHOWN = ("ann", "traditional")


def fig1c(study: Study) -> Artefact:
    """Accuracy in percent of both under FGSM and PGD, white box and both twins; and SNN minus ANN."""
    title = "VGG11 on CIFAR-100, SNN and ANN under attack"
    if NETWORK not in study.networks:
        return Artefact("fig1c", title, [], notes=[f"Scale {study.scale.name} has no {NETWORK}."])
    conditions = [(box, attack) for box in BOXES for attack in ATTACKS]
    found = {
        method: [
            over(study, NETWORK, method, attack, box) if exists(method, box) else None for box, attack in conditions
        ]
        for method in SHOWN
    }
    paper = {
        method: [printed("table1", NETWORK, method, printed_box(box), attack) for box, attack in conditions]
        for method in SHOWN
    }
    directions = Directions()
    rows: list[list[Cell]] = []
    for place, (box, attack) in enumerate(conditions):
        ann, snn = (found[method][place] for method in SHOWN)
        ann_printed, snn_printed = (paper[method][place] for method in SHOWN)
        apart = None if ann_printed is None or snn_printed is None else snn_printed - ann_printed
        cells: list[Cell] = [BOXES[box], attack.upper(), *compared(ann_printed, ann), *compared(snn_printed, snn)]
        ours = None if ann is None or snn is None else snn.minus(ann)
        rows.append([*cells, *compared(apart, ours)])
        directions.compare(f"{attack.upper()}, {BOXES[box]}, SNN over ANN", apart, ours)
    columns = ["box", "attack", *beside_paper(*(METHODS[method] for method in SHOWN), "SNN minus ANN")]

    def figure(plotting: Any) -> Any:
        drawn, (axes,) = plotting.figure(width=plotting.FULL_WIDTH, height=2.8)
        words = {"white": "white box", "same-ann": "twin, same ANN", "independent": "independent twin"}
        series = [(plotting.STYLES[method], found[method]) for method in SHOWN]
        groups = [f"{attack.upper()}\n{words[box]}" for box, attack in conditions]
        plotting.bars(axes, groups, series, paper=[paper[method] for method in SHOWN], digits=1)
        plotting.label(axes, x="", y="accuracy (%)")
        plotting.outside(drawn, columns=3)
        return drawn

    notes = [
        *setting_notes(study, [NETWORK]),
        "The paper draws this figure without numbers; the points are those of its Table 1.",
        TWINS_NOTE,
        ANN_TWIN_NOTE,
        *directions.notes(),
    ]
    return Artefact(
        "fig1c",
        title,
        [Table("Accuracy in percent; difference is ours minus the paper's.", columns, rows)],
        figure,
        notes,
    )
