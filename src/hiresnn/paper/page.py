"""A page: tables, an optional figure and notes; and the pieces of text that all pages share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hiresnn.paper.seedstat import SeedStat, points

Cell = str | float | SeedStat | None
"""A text, a number, a value over seeds, or nothing."""


@dataclass
class Table:
    """Rows under columns; a measured column comes as three (see `beside_paper`)."""

    caption: str
    columns: list[str]
    rows: list[list[Cell]]


@dataclass
class Page:
    """A reproduced table or figure of the paper; its tables hold all numbers, also those of the figure.

    `figure` makes a matplotlib Figure with the module `hiresnn.charts.print`; it is called when files are written, so
    tables need no matplotlib. The notes say what was measured and judge the claims of the paper.
    """

    tables: list[Table]
    figure: Callable[[Any], Any] | None = None
    notes: list[str] = field(default_factory=list)
    networks: tuple[str, ...] = ()


def beside_paper(*names: str) -> list[str]:
    """Headings of measured columns: the paper's value, ours and the difference, for each name."""
    return [f"{name}, {which}" for name in names for which in ("paper", "ours", "difference")]


def compared(paper: float | None, ours: SeedStat | float | None) -> list[Cell]:
    """The cells under `beside_paper`; the difference is ours minus the paper's, where both exist."""
    mean = ours.mean if isinstance(ours, SeedStat) else ours
    return [paper, ours, None if paper is None or mean is None else mean - paper]


def judged(claim: str, holds: bool | None, found: str, *, of: str = "") -> str:
    """A claim of the paper, whether it holds here (None: cannot be judged), and the numbers that decide.

    >>> judged("accuracy falls", False, "+2.0 points", of="VGG5")
    'The paper on VGG5: accuracy falls. Does not hold here: +2.0 points.'
    """
    verdict = {True: "Holds here", False: "Does not hold here", None: "Not judged here"}[holds]
    return f"The paper{' on ' * bool(of)}{of}: {claim}. {verdict}: {found}."


def directions(compared: Iterable[tuple[str, float | None, SeedStat | None]]) -> list[str]:
    """One note on the differences (name, paper's, ours) whose sign is not the paper's; 0 in the paper has no sign."""
    known = [(name, paper, ours) for name, paper, ours in compared if paper and ours is not None and ours.known]
    apart = [
        f"{name} (paper {paper:+.1f}, here {points(ours)})" for name, paper, ours in known if paper * ours.mean <= 0
    ]
    if not known:
        return []
    if not apart:
        return [f"All {len(known)} differences that the paper prints have the same sign here."]
    verb = "has" if len(apart) == 1 else "have"
    head = f"{len(apart)} of {len(known)} differences that the paper prints {verb} not the same sign here:"
    return ["\n  - ".join([head, *apart])]
