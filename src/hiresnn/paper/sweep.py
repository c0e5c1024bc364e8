"""What Fig. 4, 8 and 10 have in common: accuracy over a quantity that is swept, as curves, as a table, as lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hiresnn.errors import UsageError
from hiresnn.paper.artefact import Cell, Table, beside_paper, compared
from hiresnn.paper.claims import claims, printed
from hiresnn.paper.stat import Stat
from hiresnn.paper.study import Study
from hiresnn.paper.words import printed_box

CLEAN = "clean"
CONDITIONS = (CLEAN, "fgsm", "pgd")
CONDITION_WORDS = {CLEAN: "clean", "fgsm": "FGSM", "pgd": "PGD"}
PANEL_WORDS = {"white": "white box", "same-ann": "twin, same ANN", "independent": "twin, independent ANN"}
"""Kind of box -> words short enough for the title of a panel."""


@dataclass(frozen=True)
class Curve:
    """One line of a figure.

    Attributes:
        names: what it is of, a word for each of the table's columns: box, method, attack.
        style: its key in `plotting.STYLES`.
        x: the swept values; stats: accuracy in percent at each.
        paper: what the paper prints, by its own x, which need not be among the swept ones.
    """

    names: tuple[str, ...]
    style: str
    x: tuple[float, ...]
    stats: tuple[Stat, ...]
    paper: Mapping[float, float]

    @property
    def first(self) -> Stat:
        """Accuracy at the smallest swept value."""
        return self.stats[0]

    @property
    def last(self) -> Stat:
        """Accuracy at the largest swept value."""
        return self.stats[-1]

    def at(self, x: float) -> Stat:
        """Accuracy at a swept value. Raises ValueError where it was not swept."""
        return self.stats[self.x.index(x)]


def swept(study: Study) -> list[str]:
    """The networks of Fig. 9 and 10b-e, which ask for the most trainings. Raises UsageError where there is none."""
    found = [network for network in study.scale.swept if network in study.networks]
    if not found:
        raise UsageError(f"{', '.join(study.networks)}: none of these is swept; see hiresnn.paper.scales.")
    return found


def table(caption: str, swept: str, names: Sequence[str], curves: Sequence[Curve]) -> Table:
    """A row for each point of each curve, ours and the paper's; `names` heads `Curve.names`, `swept` the x."""
    rows: list[list[Cell]] = [
        [*curve.names, f"{x:.6g}", *compared(curve.paper.get(x), curve.at(x) if x in curve.x else None)]
        for curve in curves
        for x in sorted({*curve.x, *curve.paper})
    ]
    return Table(caption, [*names, swept, *beside_paper("accuracy (%)")], rows)


def draw(plotting: Any, axes: Any, curves: Sequence[Curve]) -> None:
    """Lines with error bars, and the paper's points, into one panel; accuracy from 0 to 100 percent."""
    for curve in curves:
        style = plotting.STYLES[curve.style]
        plotting.line(axes, curve.x, curve.stats, style)
        plotting.paper_points(axes, list(curve.paper), list(curve.paper.values()), style)
    axes.set_ylim(-2, 102)


def printed_accuracy(network: str, method: str, condition: str, box: str) -> float | None:
    """Accuracy that Tables 1 to 3 print for a method on clean images or under an attack; None where they do not."""
    theirs = printed_box(box)
    if method == "hire":
        return printed("table2" if theirs == "white" else "table3", network, "hire", condition)
    if condition == CLEAN:
        return printed("table1", network, method, CLEAN)
    return printed("table1", network, method, theirs, condition)


def paper_noise_step(network: str) -> float:
    """eps_s of the paper's Tables 2 and 3, in pixel units."""
    return float(claims().setting.noise_step[network])


def known(values: Mapping[float, float | None]) -> dict[float, float]:
    """The values that there are."""
    return {x: value for x, value in values.items() if value is not None}


def judged(claim: str, holds: bool | None, found: str, *, of: str = "") -> str:
    """What the paper says `of` something, whether it comes out here (None: cannot be told), and the figures.

    >>> judged("accuracy falls", False, "+2.0 points", of="VGG5")
    'The paper, VGG5: accuracy falls. It does not come out here: +2.0 points.'
    """
    holds = None if "nan" in found else holds  # a figure that is not measured yet
    verdict = {True: "It comes out here", False: "It does not come out here", None: "Not judged here"}[holds]
    return f"The paper{of and ', '}{of}: {claim}. {verdict}: {found}."


def points(value: Stat | float) -> str:
    """Percentage points with sign, and their deviation over seeds where there is one."""
    if not isinstance(value, Stat):
        return f"{value:+.1f}"
    return f"{value.mean:+.1f}" + ("" if value.deviation is None else f" ± {value.deviation:.1f}")
