"""A value over seeds: mean, sample standard deviation, differences seed by seed, and their 95 % intervals.

The intervals are a few lines here, because scipy's Wilson interval needs whole counts and these are means over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from functools import cached_property
from itertools import repeat
from statistics import fmean, stdev

import numpy as np
from scipy.special import stdtrit

Z = 1.959964  # two-sided 95 % quantile of the normal distribution
Limits = tuple[float, float]  # ends of a 95 % interval


@dataclass(frozen=True)
class SeedStat:
    """Values, one per seed; NaN stands for a seed that is not measured and counts in neither mean nor deviation.

    `origins` say where and by which version each was measured, if that matters. `right` says which images each seed
    classified correctly, as `study.packed` writes it. `interval` is set by `minus`, and whether it is `paired`.
    """

    values: tuple[float, ...]
    origins: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    interval: Limits | None = None
    paired: bool = False

    @classmethod
    def of(cls, values: Iterable[float], origins: Iterable[str] = (), right: Iterable[str] = ()) -> SeedStat:
        return cls(tuple(map(float, values)), tuple(origins), tuple(right))

    @cached_property
    def measured(self) -> list[float]:
        return [value for value in self.values if not math.isnan(value)]

    @cached_property
    def mean(self) -> float:
        return fmean(self.measured) if self.measured else math.nan

    @cached_property
    def deviation(self) -> float | None:
        """Sample standard deviation, None with fewer than two seeds."""
        if self.seeds < 2:
            return None
        spread = stdev(self.measured)
        return 0.0 if spread <= 1e-12 * abs(self.mean) else spread  # sums that were added in another order

    @property
    def seeds(self) -> int:
        return len(self.measured)

    @property
    def known(self) -> bool:
        return bool(self.measured)

    @property
    def limits(self) -> Limits:
        """The interval; without one that of the seeds (Student's t), and with one seed the value itself twice."""
        return self.interval or (self.mean - self._seed_error, self.mean + self._seed_error)

    @property
    def _seed_error(self) -> float:
        """Half the 95 % interval of the mean over seeds; 0 where there is one seed."""
        if not self.deviation:
            return 0.0
        return float(stdtrit(self.seeds - 1, 0.975)) * self.deviation / math.sqrt(self.seeds)

    def map(self, function: Callable[[float], float]) -> SeedStat:
        return SeedStat.of(map(function, self.values), self.origins)

    def over(self, other: SeedStat) -> SeedStat:
        """The ratio seed by seed, as `minus` subtracts."""
        return SeedStat.of(ours / theirs if same else math.nan for ours, theirs, same in self._pairs(other))

    def minus(self, other: SeedStat, images: int = 0) -> SeedStat:
        """The difference seed by seed, over the first seeds, which both have; NaN for a seed that `unpaired` counts.

        If both are accuracies in percent on `images` images, the difference gets an interval. It joins in quadrature
        the error of the images and the error of the mean over seeds (Student's t). The error of the images is
        `paired_limits` where the answers to each image are stored, and else `difference_limits` of the means (all seeds
        share the images, so seeds do not reduce it).
        """
        pairs = self._pairs(other)
        difference = SeedStat.of(ours - theirs if same else math.nan for ours, theirs, same in pairs)
        if not images or not difference.known:
            return difference
        compared = [seed for seed, value in enumerate(difference.values) if not math.isnan(value)]
        ours, theirs = (unpacked(stat.right, compared, images) for stat in (self, other))
        if paired := ours is not None and theirs is not None:
            low, high = paired_limits(ours, theirs)
        else:
            means = (fmean(stat.values[seed] for seed in compared) for stat in (self, other))
            low, high = difference_limits(*means, images=images)
        mean, error = difference.mean, difference._seed_error
        interval = (mean - math.hypot(mean - low, error), mean + math.hypot(high - mean, error))
        return replace(difference, interval=interval, paired=paired)

    def unpaired(self, other: SeedStat) -> int:
        """Number of measured seeds that may not be compared: other processors or versions made the two values."""
        return sum(not same and not math.isnan(ours - theirs) for ours, theirs, same in self._pairs(other))

    def _pairs(self, other: SeedStat) -> list[tuple[float, float, bool]]:
        """Both values of each seed, and whether they have one origin."""
        origins = zip(self.origins, other.origins, strict=False) if self.origins and other.origins else repeat((0, 0))
        pairs = zip(self.values, other.values, origins, strict=False)
        return [(ours, theirs, one == another) for ours, theirs, (one, another) in pairs]


def wilson(percent: float, images: float) -> Limits:
    """95 % interval of an accuracy in percent on so many images (Wilson 1927)."""
    share, weight = percent / 100, Z * Z / images
    centre = (share + weight / 2) / (1 + weight)
    half = Z * math.sqrt(share * (1 - share) / images + weight / (4 * images)) / (1 + weight)
    return max(0.0, 100 * (centre - half)), min(100.0, 100 * (centre + half))


def difference_limits(
    ours: float, theirs: float, images: float, others: float | None = None, correlation: float = 0.0
) -> Limits:
    """95 % interval of the difference of two accuracies in percent on so many images (Newcombe 1998).

    Each may be on its own number of `images` and `others`; `correlation` is that of the answers to the same image.
    """
    (low, high), (other_low, other_high) = wilson(ours, images), wilson(theirs, images if others is None else others)

    def joined(one: float, other: float) -> float:
        return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))

    below, above = joined(ours - low, other_high - theirs), joined(high - ours, theirs - other_low)
    return ours - theirs - below, ours - theirs + above


def unpacked(right: Sequence[str], seeds: Sequence[int], images: int) -> np.ndarray | None:
    """Share of some seeds [image] that classified each image correctly; None unless a bit is stored for each image."""
    packed = [np.frombuffer(bytes.fromhex(right[seed] if right else ""), np.uint8) for seed in seeds]
    if any(len(seed) != -(-images // 8) for seed in packed):
        return None
    return np.mean([np.unpackbits(seed, count=images) for seed in packed], 0)


def paired_limits(ours: np.ndarray, theirs: np.ndarray) -> Limits:
    """95 % interval in points of the difference of two accuracies on the same images, a share of seeds [image] each.

    With one seed it is the interval of Newcombe (Statistics in Medicine 17, 1998, page 2635, method 10), whose test of
    no difference is nearly McNemar's: the Wilson intervals of both, joined with the correlation of their answers. The
    mean over several seeds varies less between images than one answer, 0 or 1: then the intervals are those of as many
    images as would give its variance.
    """
    images = len(ours)
    shares, variances = [one.mean() for one in (ours, theirs)], [one.var() for one in (ours, theirs)]
    sizes = [images * share * (1 - share) / spread if spread else images
             for share, spread in zip(shares, variances, strict=True)]  # fmt: skip
    covariance = ((ours - shares[0]) * (theirs - shares[1])).mean()
    covariance -= min(max(covariance, 0), 0.5 / images)  # correction for continuity
    correlation = covariance / math.sqrt(variances[0] * variances[1]) if all(variances) else 0.0
    return difference_limits(*(100 * share for share in shares), *sizes, correlation)


def with_limits(value: SeedStat) -> str:
    """Percentage points with their sign and their 95 % interval, where there is one.

    >>> with_limits(SeedStat.of([2.0]).minus(SeedStat.of([1.0]), images=1000))
    '+1.0 (-0.1 to +2.2)'
    """
    if not value.known:
        return "n/a"
    low, high = value.limits
    interval = f" ({one_decimal(low, signed=True)} to {one_decimal(high, signed=True)})" if low < high else ""
    return one_decimal(value.mean, signed=True) + interval


def one_decimal(value: float, *, signed: bool = False) -> str:
    """A finite number with one decimal; halves are rounded away from zero, as readers do it."""
    exact = Decimal(repr(round(value, 9)))  # without the noise of sums in binary
    return format(exact.quantize(Decimal("0.1"), ROUND_HALF_UP), f"{'+' if signed else ''},.1f")
