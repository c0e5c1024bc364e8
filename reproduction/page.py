"""A page: tables, an optional figure, notes, and the claims of the paper that it judges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from reproduction.seedstat import SeedStat, with_limits

Cell = str | float | SeedStat | None
"""A text, a number, a value over seeds, or nothing."""
AGREES, DIFFERS, UNCLEAR, OPEN = "agrees", "differs", "within error", "not judged"
"""Verdicts: clear and as in the paper; clear and otherwise; not clear from these images and seeds; not measured."""
GROUPS = {False: "differences between networks", True: "differences of a black box from the white box"}
"""Whether a comparison is trivial -> what such comparisons are called."""


@dataclass
class Table:
    """Rows under columns; a measured column comes as three (see `beside_paper`)."""

    caption: str
    columns: list[str]
    rows: list[list[Cell]]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, the verdict here, and the numbers that decide.

    Attributes:
        of: what the claim is about, such as a network or a box.
        where: the sections of the paper that make it; empty for a detail.
        paper, ours: the number that the paper prints, and the measured one, where the claim is about one number.
    """

    text: str
    verdict: str
    found: str
    of: str = ""
    where: str = ""
    paper: float | None = None
    ours: SeedStat | float | None = None

    def note(self) -> str:
        """One sentence for a page.

        >>> Claim("accuracy falls", DIFFERS, "+2.0 points", of="VGG5", where="sec. 3").note()
        'Sec. 3, VGG5: accuracy falls. Differs: +2.0 points.'
        """
        about = ", ".join(part for part in (self.where, self.of) if part) or "the paper"
        return f"{about[0].upper()}{about[1:]}: {self.text}. {self.verdict.capitalize()}: {self.found}."


def verdict(holds: bool | None) -> str:
    """The verdict on a claim that holds, does not hold, or cannot be judged."""
    return OPEN if holds is None else AGREES if holds else DIFFERS


@dataclass(frozen=True)
class Comparison:
    """A difference between two accuracies or costs beside that of the paper.

    Attributes:
        clear: whether the paper's own difference is larger than the error of its test images.
        trivial: whether the paper's direction is to be expected of any network.
    """

    name: str
    paper: float
    ours: SeedStat
    clear: bool = True
    trivial: bool = False

    @property
    def verdict(self) -> str:
        """AGREES, DIFFERS or UNCLEAR, by the signs."""
        low, high = self.ours.limits
        if not self.clear or low <= 0 <= high:
            return UNCLEAR
        return AGREES if self.paper * self.ours.mean > 0 else DIFFERS


@dataclass
class Page:
    """A reproduced table or figure of the paper; its tables hold all numbers, also those of the figure.

    `figure` makes a matplotlib Figure with the module `reproduction.charts`; it is called when files are written, so
    tables need no matplotlib. `images` says on how many images the page was measured, if not on all attacked ones.
    """

    tables: list[Table]
    figure: Callable[[Any], Any] | None = None
    notes: list[str] = field(default_factory=list)
    networks: tuple[str, ...] = ()
    claims: list[Claim] = field(default_factory=list)
    images: str = ""


def beside_paper(*names: str) -> list[str]:
    """Headings of measured columns: the paper's value, ours and the difference, for each name."""
    return [f"{name}, {which}" for name in names for which in ("paper", "ours", "difference")]


def compared(paper: float | None, ours: SeedStat | float | None) -> list[Cell]:
    """The cells under `beside_paper`; the difference is ours minus the paper's, where both exist."""
    mean = ours.mean if isinstance(ours, SeedStat) else ours
    return [paper, ours, None if paper is None or mean is None else mean - paper]


def comparison_notes(comparisons: Iterable[Comparison]) -> list[str]:
    """How many differences agree in direction, with those that do not; trivial ones are counted apart.

    A difference of 0 in the paper has no direction, and one that is not measured has none here.
    """
    known = [each for each in comparisons if each.paper and each.ours.known]
    notes = []
    for trivial, what in GROUPS.items():
        group = [each for each in known if each.trivial == trivial]
        found = {kind: [each for each in group if each.verdict == kind] for kind in (AGREES, DIFFERS, UNCLEAR)}
        if group:
            agree, differ, unclear = map(len, found.values())
            counts = f"{agree} agree in direction, {differ} differ and {unclear} are within the error"
            head = f"Of {len(group)} {what} that the paper prints, {counts} (95 %, images and seeds)."
            notes.append("\n  - ".join([head, *_listed("differs", found[DIFFERS]), *_listed(UNCLEAR, found[UNCLEAR])]))
    return notes


def _listed(kind: str, group: Sequence[Comparison]) -> list[str]:
    return [f"{kind}: {each.name} (paper {each.paper:+.1f}, here {with_limits(each.ours)})" for each in group]
