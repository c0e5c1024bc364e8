"""One renderer for all pages of accuracies: tables, curves and judgements, declared before they are measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reproduction.claims import printed
from reproduction.labels import METHOD_LABELS, network_label, text
from reproduction.measurements import FROZEN, Measurement
from reproduction.page import Cell, Claim, Comparison, Page, Table, beside_paper, compared, comparison_notes, verdict
from reproduction.scales import Scale
from reproduction.seedstat import SeedStat, difference_limits
from reproduction.study import StoredValue


@dataclass(frozen=True)
class Gain:
    """One accuracy minus another, seed by seed."""

    better: Measurement
    worse: Measurement


Quantity = Measurement | Gain
"""What a cell or a point shows: an accuracy over seeds, or a difference."""
Pair = tuple[float | None, Quantity | None]
"""The paper's value and ours, either of which may be missing."""
Row = tuple[tuple[str, ...], Sequence[Pair]]
"""Texts and measured cells."""
Decision = tuple[bool | str | None, str]
"""Whether a claim holds (None: cannot be judged), or its verdict, and the numbers in words."""
TEST_IMAGES = 10_000
"""Test images of CIFAR, on which the paper measures."""


class MissingValueError(Exception):
    """A value that a page cannot do without is not measured yet."""


@dataclass(frozen=True)
class Values:
    """Measured values by measurement, at one scale; those that are not measured yet are missing."""

    scale: Scale
    records: Mapping[Measurement, StoredValue]

    def all(self, measurement: Measurement) -> list[Any]:
        """The value of each seed. Raises MissingValueError where one is missing."""
        if (found := self.find(measurement)) is None:
            raise MissingValueError(measurement.kind)
        return found

    def find(self, measurement: Measurement) -> list[Any] | None:
        """The value of each seed; None where one is missing."""
        each = measurement.each(self.scale)
        return [self.records[one].value for one in each] if all(one in self.records for one in each) else None

    def origins(self, measurement: Measurement) -> list[str]:
        """Where the value of each seed was measured, and by which version of the training; "" for a missing one."""
        found = [self.records.get(each) for each in measurement.each(self.scale)]
        return ["" if each is None else each.origin for each in found]

    def read(self, quantity: Quantity) -> SeedStat:
        """A quantity over seeds, NaN for those that are missing."""
        if isinstance(quantity, Gain):
            images = quantity.better.images(self.scale) or TEST_IMAGES
            return self.read(quantity.better).minus(self.read(quantity.worse), images)
        found = [self.records.get(each) for each in quantity.each(self.scale)]
        at = quantity.at
        values = [math.nan if each is None else each.value if at is None else each.value[at] for each in found]
        return SeedStat.of(values, self.origins(quantity))


def printed_accuracy(quantity: Quantity) -> float | None:
    """What the paper prints of a quantity (Tables 1, 2, 3 and 5), None where it prints none or only one side."""
    if isinstance(quantity, Gain):
        ours, theirs = printed_accuracy(quantity.better), printed_accuracy(quantity.worse)
        return None if ours is None or theirs is None else round(ours - theirs, 6)
    network, method, attack = quantity.network, quantity.method, quantity.attack
    box = "white" if quantity.box == "white" else "black"
    where = ("clean",) if attack is None else (box, attack)
    if quantity.changes:
        return printed("table5", network, method, *where) if quantity.changes == FROZEN else None
    if method == "hire":
        return printed("table2" if box == "white" else "table3", network, "hire", attack or "clean")
    return printed("table1", network, method, *where)


def pair(quantity: Quantity) -> Pair:
    """A quantity beside what the paper prints of it."""
    return printed_accuracy(quantity), quantity


@dataclass(frozen=True)
class Grid:
    """A table that is not measured yet: captions of the columns of text and of the measured columns, and rows."""

    caption: str
    labels: tuple[str, ...]
    measured: tuple[str, ...]
    rows: Sequence[Row]

    def table(self, values: Values) -> Table:
        """The table."""
        rows: list[list[Cell]] = []
        for labels, cells in self.rows:
            each = [compared(paper, None if ours is None else values.read(ours)) for paper, ours in cells]
            rows.append([*labels, *(cell for three in each for cell in three)])
        return Table(self.caption, [*self.labels, *beside_paper(*self.measured)], rows)


@dataclass(frozen=True)
class Direction:
    """A named difference whose direction is compared with that of `paper`, and whether it is a trivial one."""

    name: str
    paper: float | None
    gain: Gain
    trivial: bool = False

    def comparison(self, values: Values) -> Comparison | None:
        """The comparison, None where the paper has no such difference."""
        if self.paper is None:
            return None
        better, worse = printed_accuracy(self.gain.better), printed_accuracy(self.gain.worse)
        clear = True
        if better is not None and worse is not None:
            low, high = difference_limits(better, worse, TEST_IMAGES)
            clear = not low < 0 < high
        return Comparison(self.name, self.paper, values.read(self.gain), clear, self.trivial)


@dataclass(frozen=True)
class Judgement:
    """A claim of the paper and the measured quantities whose statistics decide it; the rest as in `Claim`.

    Attributes:
        shows: of several quantities, the one that then stands beside `paper`.
        some: whether `decide` and `shows` also take statistics of which some, not all, are unknown.
    """

    text: str
    quantities: Sequence[Quantity]
    decide: Callable[[list[SeedStat]], Decision]
    of: str = ""
    where: str = ""
    paper: float | None = None
    shows: Callable[[list[SeedStat]], SeedStat] | None = None
    some: bool = False

    def claim(self, values: Values) -> Claim:
        """The claim with its verdict."""
        stats = [values.read(quantity) for quantity in self.quantities]
        known = (any if self.some and stats else all)(stat.known for stat in stats)
        holds, found = self.decide(stats) if known else (None, "values are missing or may not be compared")
        ours = self.shows(stats) if known and stats and self.shows else None
        result = holds if isinstance(holds, str) else verdict(holds)
        return Claim(self.text, result, found, self.of, self.where, self.paper, ours)


@dataclass(frozen=True)
class Curve:
    """One line of a figure: swept value, rising -> accuracy; `paper` has what the paper prints, by its own x.

    `labels` are a text for each column of text in the table, `style` is a key of `charts.STYLES`.
    """

    labels: tuple[str, ...]
    style: str
    points: Mapping[float, Measurement]
    paper: Mapping[float, float | None]

    @property
    def fall(self) -> Gain:
        """The first accuracy minus the last."""
        first, *_, last = self.points.values()
        return Gain(first, last)

    @property
    def rise(self) -> Gain:
        """The last accuracy minus the first."""
        return Gain(self.fall.worse, self.fall.better)

    def rows(self) -> list[Row]:
        """A row of the table for each point, ours or the paper's."""
        printed_at = [x for x, value in self.paper.items() if value is not None]
        swept = sorted({*self.points, *printed_at})
        return [((*self.labels, f"{x:.6g}"), [(self.paper.get(x), self.points.get(x))]) for x in swept]


@dataclass(frozen=True)
class AccuracyPage:
    """A page of accuracies that is not measured yet."""

    networks: tuple[str, ...]
    grids: Sequence[Grid]
    notes: Sequence[str]
    directions: Sequence[Direction] = ()
    judgements: Sequence[Judgement] = ()
    figure: Callable[[Any, Values], Any] | None = None

    def quantities(self) -> list[Quantity]:
        """Everything that the page shows or judges."""
        cells = [ours for grid in self.grids for _, row in grid.rows for _, ours in row]
        judged = [one for each in self.judgements for one in each.quantities]
        return [one for one in (*cells, *(each.gain for each in self.directions), *judged) if one is not None]

    def needs(self) -> list[Measurement]:
        """What must be measured."""
        sides = [(each.better, each.worse) if isinstance(each, Gain) else (each,) for each in self.quantities()]
        return [side for both in sides for side in both]

    def render(self, values: Values) -> Page:
        """The page; accuracies that are missing are n/a."""
        draw = self.figure
        known = [found for each in self.directions if (found := each.comparison(values))]
        return Page(
            [grid.table(values) for grid in self.grids],
            None if draw is None else lambda charts: draw(charts, values),
            [*self.notes, *comparison_notes(known), *_unpaired_note(values, self.quantities())],
            self.networks,
            [each.claim(values) for each in self.judgements],
        )


def _unpaired_note(values: Values, quantities: Iterable[Quantity]) -> list[str]:
    """A sentence on the differences that are not taken, because their values do not have one origin."""
    counted: Counter[str] = Counter()
    for gain in dict.fromkeys(each for each in quantities if isinstance(each, Gain)):
        if values.read(gain.better).unpaired(values.read(gain.worse)):
            sides = dict.fromkeys(_trained(side) for side in (gain.better, gain.worse))
            counted[f"{network_label(gain.better.network)}, {' against '.join(sides)}"] += 1
    each = "; ".join(f"{name} ({count})" for name, count in counted.items())
    return [text("unpaired", each=each)] if counted else []


def _trained(side: Measurement) -> str:
    changed = ", ".join(f"{key.partition('.')[2]} {value}" for key, value in side.changes)
    return METHOD_LABELS[side.method] + (f" with {changed}" if changed else "")
