"""A figure over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass


def largest(values: Iterable[float]) -> float:
    """The largest, or NaN where one of them is not measured yet: the built-in max would go by their order."""
    found = list(values)
    return math.nan if any(map(math.isnan, found)) else max(found)


@dataclass(frozen=True)
class Stat:
    """Mean, sample standard deviation (None for one seed), and the values themselves, a seed each.

    NaN stands for a seed that is not measured yet, and counts in neither.
    """

    mean: float
    deviation: float | None
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Stat:
        """The statistic of at least one value.

        >>> Stat.of([1.0, 2.0, 3.0])
        Stat(mean=2.0, deviation=1.0, values=(1.0, 2.0, 3.0))
        """
        every = tuple(float(value) for value in values)
        if not every:
            raise ValueError("a statistic needs at least one value")
        found = [value for value in every if not math.isnan(value)]
        if not found:
            return cls(math.nan, None, every)
        mean = statistics.fmean(found)
        if len(found) == 1:
            return cls(mean, None, every)
        deviation = statistics.stdev(found)
        rounding = 1e-12 * abs(mean)  # of sums that were added in another order
        return cls(mean, deviation if deviation > rounding else 0.0, every)

    @property
    def seeds(self) -> int:
        """How many seeds were measured."""
        return sum(not math.isnan(value) for value in self.values)

    def minus(self, other: Stat) -> Stat:
        """The difference seed by seed, over the first seeds, which both have.

        >>> Stat.of([3.0, 5.0]).minus(Stat.of([1.0])).mean
        2.0
        """
        return Stat.of(ours - theirs for ours, theirs in zip(self.values, other.values, strict=False))
