"""Values over seeds, their differences and intervals, and the verdicts on them."""

import math

import pytest
from scipy.stats import binomtest

from reproduction.page import AGREES, DIFFERS, UNCLEAR
from reproduction.results import Accuracy, Gain
from reproduction.statistics import SeedStat, difference_limits, one_decimal, wilson
from reproduction.study import Measurement


def test_a_difference_is_taken_seed_by_seed():
    # Each seed gains exactly 1, whatever the seeds differ in: spread 0, not that of the two.
    gain = SeedStat.of([11.0, 21.0, 31.0]).minus(SeedStat.of([10.0, 20.0, 30.0]))
    assert (gain.mean, gain.deviation) == (1.0, 0.0)


def test_a_seed_that_is_not_measured_counts_in_nothing():
    some = SeedStat.of([1.0, math.nan, 3.0])
    assert (some.mean, some.deviation, some.seeds) == (2.0, pytest.approx(math.sqrt(2)), 2)
    assert some.minus(SeedStat.of([1.0, 5.0, 1.0])).mean == 1.0
    none = SeedStat.of([math.nan])
    assert math.isnan(none.mean)
    assert (none.deviation, none.seeds) == (None, 0)


def test_values_of_two_origins_are_not_subtracted():
    ours = SeedStat.of([5.0, 7.0, 9.0], ["A", "A", "A"])
    theirs = SeedStat.of([1.0, 1.0, math.nan], ["A", "B", "B"])
    assert ours.minus(theirs).mean == 4.0
    assert (ours.minus(theirs).seeds, ours.unpaired(theirs)) == (1, 1)
    assert ours.unpaired(SeedStat.of([1.0])) == 0


def test_rounding_alone_has_no_deviation():
    assert SeedStat.of([0.1 + 0.2, 0.3, 0.3]).deviation == 0
    assert SeedStat.of([2831.2, 2831.2, 2831.2]).deviation == 0
    assert SeedStat.of([0.3, 0.3 + 1e-9]).deviation == pytest.approx(1e-9 / 2**0.5, rel=1e-4)


def test_a_wilson_interval_is_that_of_scipy():
    for right, images in ((0, 100), (3, 1000), (50, 100), (1000, 1000)):
        found = binomtest(right, images).proportion_ci(method="wilson")
        assert wilson(100 * right / images, images) == pytest.approx((100 * found.low, 100 * found.high), abs=1e-4)


def test_the_interval_of_a_difference_is_newcombes():
    # Newcombe (1998), table II (a), method 10: 56/70 against 48/80 gives 0.0524 to 0.3339; here both have 75 images
    assert difference_limits(100 * 56 / 70, 100 * 48 / 80, 75) == pytest.approx((5.2, 33.4), abs=0.5)
    low, high = difference_limits(1.0, 0.9, 1000)
    assert low < 0 < high


def test_seeds_and_images_both_widen_an_interval():
    ours, theirs = SeedStat.of([60.0, 62.0, 64.0]), SeedStat.of([50.0, 50.0, 50.0])
    low, high = difference_limits(62.0, 50.0, 1000)
    found = ours.minus(theirs, 1000)
    # sd 2 over three seeds: Student's t with two degrees of freedom is 4.303
    spread = 4.303 * 2 / math.sqrt(3)
    expected = (12 - math.hypot(12 - low, spread), 12 + math.hypot(high - 12, spread))
    assert found.limits == pytest.approx(expected, abs=1e-2)
    assert ours.minus(theirs).limits == pytest.approx((12 - spread, 12 + spread), abs=1e-2)
    assert SeedStat.of([3.0]).limits == (3.0, 3.0)
    assert math.isnan(SeedStat.of([math.nan]).minus(theirs, 1000).mean)


def difference(ours, theirs, images=1000):
    return SeedStat.of([ours]).minus(SeedStat.of([theirs]), images)


@pytest.mark.parametrize(
    ("paper", "ours", "clear", "verdict"),
    [
        (7.2, difference(20.0, 10.0), True, AGREES),
        (-7.2, difference(20.0, 10.0), True, DIFFERS),
        (7.2, difference(0.2, 0.1), True, UNCLEAR),  # one image of 1,000
        (-0.3, difference(0.1, 0.4), True, UNCLEAR),
        (0.1, difference(20.0, 10.0), False, UNCLEAR),  # inside the paper's own error
        (-40.0, SeedStat.of([0.6]).map(lambda value: -value), True, AGREES),  # without an error, by the sign
    ],
)
def test_a_direction_has_three_outcomes(paper, ours, clear, verdict):
    side = Accuracy(None, None, Measurement("accuracy"))
    assert Gain(paper, ours, side, side, clear).verdict == verdict


@pytest.mark.parametrize(("value", "text"), [(80.35, "80.4"), (80.25, "80.3"), (-0.05, "-0.1"), (1234.55, "1,234.6")])
def test_halves_are_rounded_away_from_zero(value, text):
    assert one_decimal(value) == text
    assert one_decimal(value, signed=True).lstrip("+") == text
