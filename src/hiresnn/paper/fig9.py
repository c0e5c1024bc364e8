"""Fig. 9: a network trained with Gaussian and with crafted noise of the same size, and traditionally."""

from __future__ import annotations

import math
from typing import Any

from hiresnn.paper.accuracies import ATTACKS, TWINS_NOTE, over
from hiresnn.paper.artefact import Artefact, Cell, Table, beside_paper, compared
from hiresnn.paper.claims import printed
from hiresnn.paper.stat import Stat
from hiresnn.paper.study import BOXES, Study
from hiresnn.paper.sweep import CLEAN, CONDITION_WORDS, judged, points, printed_accuracy, swept
from hiresnn.paper.words import BOXES as BOX_WORDS
from hiresnn.paper.words import METHODS, network_words, printed_box, setting_notes

NETWORK = "vgg11-cifar100"
"""The paper's; a scale that does not sweep it measures the first that it does."""
TRAINED = ("traditional", "noise-free", "gaussian", "hire")
WHITE_ALONE = ("noise-free",)
GROUPS = [("white", CLEAN), *((box, attack) for box in BOXES for attack in ATTACKS)]
SHORT = {"white": "white box", "same-ann": "twin,\nsame ANN", "independent": "twin,\nindep. ANN"}

Measured = dict[str, dict[tuple[str, str], Stat]]


def fig9(study: Study) -> Artefact:
    """Accuracy in percent of each method on clean images, and under both attacks in the three boxes."""
    networks = swept(study)
    network = NETWORK if NETWORK in networks else networks[0]
    measured: Measured = {
        method: {
            (box, what): over(study, network, method, None if what == CLEAN else what, box)
            for box, what in GROUPS
            if box == "white" or method not in WHITE_ALONE
        }
        for method in TRAINED
    }
    rows: list[list[Cell]] = [
        [_name(box, what), METHODS[method], *compared(printed_accuracy(network, method, what, box), stat)]
        for method, found in measured.items()
        for (box, what), stat in found.items()
    ]
    gains: list[list[Cell]] = [
        [BOX_WORDS[box], *compared(_printed_gain(network, box), _largest_gain(measured, box))] for box in BOXES
    ]
    where = " on ".join(network_words(network))
    tables = [
        Table(
            f"{where}: accuracy in percent, mean ± sample standard deviation over seeds. The paper's values are those "
            "of its Tables 1 to 3; it draws those of Gaussian noise and does not print them.",
            ["images", "trained with", *beside_paper("accuracy (%)")],
            rows,
        ),
        Table(
            "Crafted over Gaussian noise, percentage points: the larger gain of FGSM and PGD.",
            ["attacker", *beside_paper("gain")],
            gains,
        ),
    ]

    def figure(plotting: Any) -> Any:
        drawn, (axes,) = plotting.figure(width=plotting.FULL_WIDTH, height=2.7)
        series = [(plotting.STYLES[method], [found.get(at) for at in GROUPS]) for method, found in measured.items()]
        paper = [[printed_accuracy(network, method, what, box) for box, what in GROUPS] for method in measured]
        groups = [f"{CONDITION_WORDS[what]}\n{SHORT[box]}" if what != CLEAN else "clean" for box, what in GROUPS]
        plotting.bars(axes, groups, series, paper=paper)
        plotting.label(axes, x="images", y="accuracy (%)")
        plotting.outside(drawn, columns=5)
        return drawn

    notes = [
        *setting_notes(study, (network,)),
        "Gaussian noise has the standard deviation eps_s, clipped to [0, 1] with the image, fresh in every period.",
        "Periods without noise are a control that the paper does not have: they step as often and add nothing. They "
        "are measured in the white box alone.",
        TWINS_NOTE,
        *_judgements(measured),
        *_other_network(network),
    ]
    return Artefact("fig9", "Gaussian and crafted noise", tables, figure, notes)


def _name(box: str, what: str) -> str:
    return "clean" if what == CLEAN else f"{CONDITION_WORDS[what]}, {BOX_WORDS[box]}"


def _printed_gain(network: str, box: str) -> float | None:
    return printed("fig9", printed_box(box), "gain_max") if network == NETWORK else None


def _other_network(network: str) -> list[str]:
    if network == NETWORK:
        return []
    paper, ours = (" on ".join(network_words(name)) for name in (NETWORK, network))
    return [
        f"The paper draws {paper}. This scale measures {ours}, for which the paper prints no gain over Gaussian noise."
    ]


def _gains(measured: Measured, box: str, better: str, worse: str) -> list[Stat]:
    return [measured[better][box, attack].minus(measured[worse][box, attack]) for attack in ATTACKS]


def _largest_gain(measured: Measured, box: str) -> Stat:
    gains = _gains(measured, box, "hire", "gaussian")
    return next((gain for gain in gains if math.isnan(gain.mean)), max(gains, key=lambda gain: gain.mean))


def _judgements(measured: Measured) -> list[str]:
    """What the paper reads from the figure, box by box; then what stepping more often does by itself."""
    notes = []
    for box in BOXES:
        over_gaussian = _gains(measured, box, "hire", "gaussian")
        over_traditional = _gains(measured, box, "gaussian", "traditional")
        notes += [
            judged(
                "crafted noise is better than Gaussian noise under both attacks",
                all(gain.mean > 0 for gain in over_gaussian),
                _told(over_gaussian),
                of=BOX_WORDS[box],
            ),
            judged(
                "Gaussian noise is no noticeable improvement over traditional training; up to 2 points count as that",
                all(gain.mean <= 2 for gain in over_traditional),
                _told(over_traditional),
                of=BOX_WORDS[box],
            ),
        ]
    control = _gains(measured, "white", "noise-free", "traditional")
    notes.append(f"Periods without noise over traditional training, white box: {_told(control)}.")
    return notes


def _told(gains: list[Stat]) -> str:
    named = zip(ATTACKS, gains, strict=True)
    return ", ".join(f"{attack.upper()} {points(gain)}" for attack, gain in named) + " points"
