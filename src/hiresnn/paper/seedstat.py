"""A value over seeds: mean, sample standard deviation, and differences seed by seed."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class SeedStat:
    """Mean and sample standard deviation over seeds; NaN stands for a seed that is not measured and counts in neither.

    The mean is NaN if no seed is measured, the deviation None with fewer than two. There is a value per seed, and an
    origin, which says where and by which version it was measured; no origins where that does not matter.
    """

    mean: float
    deviation: float | None
    values: tuple[float, ...]
    origins: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Iterable[float], origins: Iterable[str] = ()) -> SeedStat:
        """The statistic of at least one value.

        >>> SeedStat.of([1.0, 2.0, 3.0]).deviation
        1.0
        """
        every = tuple(float(value) for value in values)
        if not every:
            raise ValueError("a statistic needs at least one value")
        known = [value for value in every if not math.isnan(value)]
        mean = statistics.fmean(known) if known else math.nan
        deviation = None
        if len(known) > 1:
            deviation = statistics.stdev(known)
            if deviation <= 1e-12 * abs(mean):  # rounding of sums that were added in another order
                deviation = 0.0
        return cls(mean, deviation, every, tuple(origins))

    @property
    def seeds(self) -> int:
        """Number of measured seeds."""
        return sum(not math.isnan(value) for value in self.values)

    @property
    def known(self) -> bool:
        """Whether any seed is measured."""
        return self.seeds > 0

    def map(self, function: Callable[[float], float]) -> SeedStat:
        """The statistic of `function` of each value."""
        return SeedStat.of(map(function, self.values))

    def over(self, other: SeedStat) -> SeedStat:
        """The ratio seed by seed, over the first seeds, which both have."""
        return SeedStat.of(ours / theirs for ours, theirs in zip(self.values, other.values, strict=False))

    def minus(self, other: SeedStat) -> SeedStat:
        """The difference seed by seed, over the first seeds, which both have; NaN for a seed that `unpaired` counts.

        >>> SeedStat.of([3.0, 5.0]).minus(SeedStat.of([1.0])).mean
        2.0
        """
        pairs = zip(self.values, other.values, self._same_origin(other), strict=False)
        return SeedStat.of(ours - theirs if same else math.nan for ours, theirs, same in pairs)

    def unpaired(self, other: SeedStat) -> int:
        """Number of measured seeds that may not be subtracted: other processors or versions made the two values."""
        pairs = zip(self.values, other.values, self._same_origin(other), strict=False)
        return sum(not same and not math.isnan(ours - theirs) for ours, theirs, same in pairs)

    def _same_origin(self, other: SeedStat) -> list[bool]:
        if not self.origins or not other.origins:
            return [True] * min(len(self.values), len(other.values))
        return [ours == theirs for ours, theirs in zip(self.origins, other.origins, strict=False)]


def points(value: SeedStat) -> str:
    """Percentage points with their sign, and the deviation over seeds if there is one.

    >>> points(SeedStat.of([1.0, 3.0]))
    '+2.0 ± 1.4'
    """
    if not value.known:
        return "n/a"
    return f"{value.mean:+.1f}" + ("" if value.deviation is None else f" ± {value.deviation:.1f}")
