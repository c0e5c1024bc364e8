"""Curves of accuracy in each box, as in Fig. 4 and 10b-e, and claims about every attack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from hiresnn.paper.accuracy_charts import Curves
from hiresnn.paper.accuracy_page import Curve, Decision, Row, printed_accuracy
from hiresnn.paper.labels import ATTACK_LABELS, ATTACKS, BOX_LABELS
from hiresnn.paper.measurements import BOXES, Measurement
from hiresnn.paper.seedstat import SeedStat, points

MEASURED = ("accuracy (%)",)
LEVEL = 1.0
"""Percentage points of a change in Fig. 4, 8a and 8b that count as none."""

At = Callable[[str | None, str], Mapping[float, Measurement]]


def boxes_of(at: At, printed_at: At) -> Curves:
    """In each box a curve on clean images and under each attack; `printed_at` names the paper's values."""

    def curve(attack: str | None, box: str) -> Curve:
        texts = ("none" if attack is None else BOX_LABELS[box], ATTACK_LABELS[attack])
        paper = {x: printed_accuracy(each) for x, each in printed_at(attack, box).items()}
        return Curve(texts, attack or "clean", at(attack, box), paper)

    return {box: [curve(attack, box) for attack in (None, *ATTACKS)] for box in BOXES}


def rows_of(curves: Curves) -> list[Row]:
    """The rows of a table: the clean curve once, the attacked ones for each box."""
    listed = [curve for box, found in curves.items() for curve in found if box == "white" or curve.style != "clean"]
    return [row for curve in listed for row in curve.rows()]


def each_attack(gains: Sequence[SeedStat]) -> str:
    """Gains under FGSM and PGD in words."""
    return ", ".join(f"{each.upper()} {points(gain)}" for each, gain in zip(ATTACKS, gains, strict=True)) + " points"


def every(condition: Callable[[float], bool]) -> Callable[[list[SeedStat]], Decision]:
    """Decides whether the means under all attacks meet a condition."""
    return lambda gains: (all(condition(gain.mean) for gain in gains), each_attack(gains))
