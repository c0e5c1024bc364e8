"""The table of measured values that every page reads: one row per kind, network, method, seed, attack, box and changes.

A page is a function of a `Results`. Called with an empty one, it says what it needs: `Results.asked`. Claims are judged
by gains with 95 % intervals: agrees, differs, within error, not judged.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from matplotlib.figure import Figure

from reproduction.page import AGREES, DIFFERS, UNCLEAR, Cell, Claim, Page, Table, verdict
from reproduction.paper import ATTACKS, LABELS, Changes, Scale, left_out, network_label, network_labels, printed, text
from reproduction.statistics import SeedStat, difference_limits, with_limits
from reproduction.study import Measurement, StoredValue

TEST_IMAGES = 10_000  # test images of CIFAR, on which the paper measures
FROZEN: Changes = (("snn.train_neurons", "false"),)  # threshold and leak stay at their initial values (Table 5)


class MissingValueError(Exception):
    """A value that a page cannot do without is not measured yet."""


@dataclass(frozen=True)
class Accuracy:
    """The paper's accuracy in percent beside ours, NaN for seeds that are not measured; None where there is none."""

    paper: float | None
    ours: SeedStat | None
    measurement: Measurement

    def cells(self) -> list[Cell]:
        return compared(self.paper, self.ours)


@dataclass(frozen=True)
class Gain:
    """One accuracy minus another, seed by seed; `clear` if the paper's exceeds the error of its test images."""

    paper: float | None
    ours: SeedStat | None
    better: Accuracy
    worse: Accuracy
    clear: bool = True

    def cells(self) -> list[Cell]:
        return compared(self.paper, self.ours)

    @property
    def crosses(self) -> bool:
        """Whether it is the difference of two boxes, not of two networks."""
        return self.better.measurement.box != self.worse.measurement.box

    def description(self) -> str:
        """Such as "VGG5 / CIFAR-10, FGSM, white box, HIRE-SNN over ANN"."""
        one, other = self.better.measurement, self.worse.measurement
        box, sides = f"{LABELS[one.box]}, " if one.attack else "", f"{LABELS[one.method]} over {LABELS[other.method]}"
        if self.crosses:
            box, sides = f"{LABELS[one.method]}, ", f"{LABELS[one.box]} over {LABELS[other.box]}"
        elif one.changes:
            sides = f"{sides}, both frozen" if other.changes else f"{LABELS[one.method]} frozen over trained"
        return f"{' / '.join(network_labels(one.network))}, {LABELS[one.attack]}, {box}{sides}"

    @property
    def verdict(self) -> str:
        """AGREES or DIFFERS by the signs; UNCLEAR where the difference is no larger than its error, or the paper's."""
        low, high = self.ours.limits
        if not self.clear or low <= 0 <= high:
            return UNCLEAR
        return AGREES if self.paper * self.ours.mean > 0 else DIFFERS


def compared(paper: float | None, ours: SeedStat | float | None) -> list[Cell]:
    """The paper's value, ours and the difference, ours minus the paper's, where both exist."""
    mean = ours.mean if isinstance(ours, SeedStat) else ours
    return [paper, ours, None if paper is None or mean is None else mean - paper]


class Results:
    """The measured values of a scale, and what was asked of them."""

    def __init__(self, scale: Scale, records: Mapping[Measurement, StoredValue] | None = None) -> None:
        self.scale, self.records = scale, records or {}
        self.asked: dict[Measurement, None] = {}
        self._unpaired: dict[tuple[Measurement, Measurement], str] = {}
        self.intervals: Counter[bool] = Counter()  # of differences between accuracies, by whether they are paired

    def rows(self) -> list[dict[str, Any]]:
        """The table itself, tidy, for a `pandas.DataFrame`: `at` is a number's place in the grid that is swept."""
        rows = []
        for measurement, record in self.records.items():
            many = isinstance(record.value, list) and len(record.value) == len(measurement.grid)
            values = zip(measurement.grid, record.value, strict=True) if many else [(None, record.value)]
            rows += [asdict(measurement) | {"at": at, "value": value, "origin": record.origin} for at, value in values]
        return rows

    def _records(self, measurement: Measurement) -> list[StoredValue | None]:
        self.asked |= dict.fromkeys(seeds := measurement.each(self.scale))
        return [self.records.get(one) for one in seeds]

    def find(self, measurement: Measurement) -> list[Any] | None:
        """The value of each seed; None where one is missing."""
        records = self._records(measurement)
        return [record.value for record in records if record] if all(records) else None

    def all(self, *measurements: Measurement) -> list[list[Any]]:
        """The value of each seed of each measurement. Raises MissingValueError where one is missing."""
        values = [self.find(measurement) for measurement in measurements]
        if None in values:
            raise MissingValueError
        return [value for value in values if value is not None]

    def origins(self, measurement: Measurement) -> list[str]:
        """Where the value of each seed was measured, and by which version of the training; "" for a missing one."""
        return [record.origin if record else "" for record in self._records(measurement)]

    def stat(self, measurement: Measurement) -> SeedStat:
        """A number over seeds, NaN for those that are missing."""
        records = self._records(measurement)
        values = [math.nan if record is None else record.value for record in records]
        numbers = (value[measurement.at] if isinstance(value, list) else value for value in values)
        return SeedStat.of(numbers, self.origins(measurement), (record.right if record else "" for record in records))

    def accuracy(
        self, network: str, method: str, attack: str | None = None, box: str = "white", changes: Changes = ()
    ) -> Accuracy:
        """The accuracy on the scale's test images, beside what the paper prints; clean images have no box."""
        one = accuracy(network, method, attack, box, changes)
        return self.read(one) if has_twin(method, box) else Accuracy(printed_accuracy(one), None, one)

    def read(self, measurement: Measurement) -> Accuracy:
        return Accuracy(printed_accuracy(measurement), self.stat(measurement), measurement)

    def gain(self, better: Accuracy, worse: Accuracy) -> Gain:
        paper, clear, ours = None, True, None
        if better.paper is not None and worse.paper is not None:
            paper = round(better.paper - worse.paper, 6)
            low, high = difference_limits(better.paper, worse.paper, TEST_IMAGES)
            clear = not low < 0 < high
        if better.ours is not None and worse.ours is not None:
            one, other = better.measurement, worse.measurement
            if better.ours.unpaired(worse.ours):
                sides = " against ".join(dict.fromkeys(map(_trained, (one, other))))
                self._unpaired[one, other] = f"{network_label(one.network)}, {sides}"
            ours = self.difference(better.ours, worse.ours, one.images(self.scale) or TEST_IMAGES)
        return Gain(paper, ours, better, worse, clear)

    def difference(self, better: SeedStat, worse: SeedStat, images: int) -> SeedStat:
        """The difference of two accuracies with its interval."""
        difference = better.minus(worse, images)
        if difference.interval:
            self.intervals[difference.paired] += 1
        return difference

    def interval_note(self) -> list[str]:
        """A sentence on how the intervals of differences were computed; none where there are none."""
        paired, unpaired = self.intervals[True], self.intervals[False]
        if not paired and not unpaired:
            return []
        name = "some" if paired and unpaired else "paired" if paired else "unpaired"
        return [text(f"intervals.{name}", paired=paired, unpaired=unpaired)]

    def page(
        self,
        networks: Iterable[str],
        tables: Sequence[Table],
        notes: Iterable[str],
        *,
        rated: bool = False,
        lacking: Iterable[str] = (),
        comparisons: Iterable[Gain] = (),
        claims: Sequence[Claim] = (),
        figure: Callable[[], Figure] | None = None,
        images: str = "",
    ) -> Page:
        """A page whose notes begin with the settings of its networks, and end with what was compared, or could not be.

        `rated` also gives the settings of rate-coded networks, `lacking` names those that the page should have.
        """
        networks = tuple(networks)
        settings = [*self.scale.setting_notes(networks, rated=rated), *left_out(lacking, networks), *notes]
        settings += comparison_notes({gain.description(): gain for gain in comparisons})
        settings += self.interval_note()
        # differences that are not taken, because their values do not have one origin
        if names := "; ".join(f"{name} ({count})" for name, count in Counter(self._unpaired.values()).items()):
            settings.append(text("unpaired", each=names))
        return Page(tables, figure, settings, networks, list(claims), images)


def comparison_notes(gains: Mapping[str, Gain]) -> list[str]:
    """How many differences agree in direction, with those that do not; those between boxes, as expected, apart.

    A difference of 0 in the paper has no direction, and one that is not measured has none here.
    """
    notes = []
    for boxes, what in enumerate(("differences between networks", "differences of a black box from the white box")):
        lines: dict[str, list[str]] = {AGREES: [], DIFFERS: [], UNCLEAR: []}
        for name, gain in gains.items():
            if gain.crosses == boxes and gain.paper and gain.ours and gain.ours.known:
                numbers = f"paper {gain.paper:+.1f}, here {with_limits(gain.ours)}"
                lines[gain.verdict].append(f"{gain.verdict}: {name} ({numbers})")
        agree, differ, unclear = map(len, lines.values())
        if total := agree + differ + unclear:
            counts = f"{agree} agree in direction, {differ} differ and {unclear} are within the error"
            head = f"Of {total} {what} that the paper prints, {counts} (95 %, images and seeds)."
            notes.append("\n  - ".join([head, *lines[DIFFERS], *lines[UNCLEAR]]))
    return notes


def has_twin(method: str, box: str) -> bool:
    """Whether the box exists for a method: an ANN has no twin from the same ANN."""
    return (method, box) != ("ann", "same-ann")


def accuracy(
    network: str, method: str, attack: str | None = None, box: str = "white", changes: Changes = ()
) -> Measurement:
    """Accuracy in percent, for every seed; clean images have no box."""
    return Measurement("accuracy", network, method, None, attack, box if attack else "white", changes)


def printed_accuracy(measurement: Measurement) -> float | None:
    """What the paper prints of an accuracy (Tables 1, 2, 3 and 5)."""
    network, method, attack = measurement.network, measurement.method, measurement.attack
    box = "white" if measurement.box == "white" else "black"
    entry = ("clean",) if attack is None else (box, attack)
    if measurement.changes:
        return printed("table5", network, method, *entry) if measurement.changes == FROZEN else None
    if method == "hire":
        return printed("table2" if box == "white" else "table3", network, "hire", attack or "clean")
    return printed("table1", network, method, *entry)


def _trained(side: Measurement) -> str:
    changed = ", ".join(f"{key.partition('.')[2]} {value}" for key, value in side.changes)
    return LABELS[side.method] + (f" with {changed}" if changed else "")


# Claims

Stats = Sequence[SeedStat]
Decision = bool | str | None  # whether a claim holds (None: open), or its verdict


def judge(
    claim: str,
    stats: Stats,
    decision: Decision,
    numbers: str,
    *,
    of: str = "",
    source: str = "",
    paper: float | None = None,
    ours: SeedStat | None = None,
    some: bool = False,
) -> Claim:
    """A claim of the paper, which is open unless all of its statistics are known, or with `some`, any of them."""
    if not (any if some else all)(stat.known for stat in stats):
        decision, numbers, ours = None, "values are missing or may not be compared", None
    return Claim(claim, decision if isinstance(decision, str) else verdict(decision), numbers, of, source, paper, ours)


def each_attack(gains: Stats) -> str:
    """Gains under FGSM and PGD in words."""
    named = zip(ATTACKS, gains, strict=True)
    return f"{', '.join(f'{name.upper()} {with_limits(gain)}' for name, gain in named)} points"


def above(gains: Stats, limit: float = 0.0) -> Decision:
    """Whether all gains are above a limit: no if one is clearly not, unclear if an interval contains it.

    Where a gain is missing, the others can refute the claim, but nothing can confirm it.
    """
    low, high = (min((gain.limits[end] for gain in gains if gain.known), default=math.nan) for end in (0, 1))
    return _decided(gains, low > limit, high <= limit)


def at_most(gains: Stats, limit: float) -> Decision:
    """In the same way whether all gains are at most a limit."""
    low, high = (max((gain.limits[end] for gain in gains if gain.known), default=math.nan) for end in (0, 1))
    return _decided(gains, high <= limit, low > limit)


def _decided(gains: Stats, holds: bool, refuted: bool) -> Decision:
    if refuted or not all(gain.known for gain in gains):
        return False if refuted else None
    return holds or UNCLEAR


def largest(gains: Stats) -> SeedStat:
    """The known one with the largest mean."""
    return max([gain for gain in gains if gain.known] or gains, key=lambda gain: gain.mean)


def largest_gain(claim: str, gains: Mapping[str, Gain], paper: float, source: str, of: str = "") -> Claim:
    """A claim of a gain "up to" a number: one of some named gains that is clearly above 0 is enough, the largest."""
    stats = [gain.ours for gain in gains.values()]
    best = largest([gain for gain in stats if gain.known and gain.limits[0] > 0] or stats)
    low, high = best.limits
    holds = low > 0 or _decided(stats, False, high <= 0 and all(gain.known for gain in stats))
    return _about(best, claim, gains, holds, of=of, source=source, paper=paper, ours=largest(stats))


def smallest_gain(
    claim: str, gains: Mapping[str, Gain], paper: float, source: str, of: str = "", limit: float = 0.0
) -> Claim:
    """A claim that all of some named gains are above a limit; the one that is least clearly so is shown."""
    stats = [gain.ours for gain in gains.values()]
    known = [gain for gain in stats if gain.known] or stats
    worst = min([gain for gain in known if gain.limits[1] <= limit] or known, key=lambda gain: gain.limits[0])
    return _about(worst, claim, gains, above(stats, limit), of=of, source=source, paper=paper, ours=worst)


def _about(chosen: SeedStat, claim: str, gains: Mapping[str, Gain], holds: Decision, **about: Any) -> Claim:
    name = next(name for name, gain in gains.items() if gain.ours is chosen)
    missing = sum(not gain.ours.known for gain in gains.values())
    numbers = f"{with_limits(chosen)} points ({name})"
    numbers += f"; {missing} of {len(gains)} values are missing or may not be compared" if missing else ""
    return judge(claim, [gain.ours for gain in gains.values()], holds, numbers, some=True, **about)
