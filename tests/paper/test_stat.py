"""Mean and spread over seeds, and differences seed by seed."""

import doctest
import math

import pytest

from hiresnn.paper import claims, directions, stat
from hiresnn.paper.stat import Stat, largest


@pytest.mark.parametrize("module", [claims, directions, stat])
def test_examples_run(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted
    assert not result.failed


def test_mean_and_sample_standard_deviation() -> None:
    # 2, 4, 9: mean 5, squares 9 + 1 + 16 = 26, over n - 1 = 2: root of 13
    found = Stat.of([2, 4, 9])
    assert found.mean == 5
    assert found.deviation == pytest.approx(13**0.5)


def test_one_seed_has_no_spread_and_none_is_an_error() -> None:
    assert Stat.of([7.0]).deviation is None
    with pytest.raises(ValueError, match="at least one"):
        Stat.of([])


def test_a_difference_is_taken_seed_by_seed() -> None:
    # Each seed gains exactly 1, whatever the seeds differ in: spread 0, not that of the two.
    gain = Stat.of([11.0, 21.0, 31.0]).minus(Stat.of([10.0, 20.0, 30.0]))
    assert (gain.mean, gain.deviation) == (1.0, 0.0)


def test_a_difference_is_over_the_seeds_that_both_have() -> None:
    assert Stat.of([5.0, 9.0]).minus(Stat.of([1.0])).values == (4.0,)


def test_a_seed_that_is_not_measured_yet_counts_in_nothing_and_keeps_its_place() -> None:
    some = Stat.of([1.0, math.nan, 3.0])
    assert (some.mean, some.deviation, some.seeds) == (2.0, pytest.approx(math.sqrt(2)), 2)
    assert some.minus(Stat.of([1.0, 5.0, 1.0])).mean == 1.0
    none = Stat.of([math.nan])
    assert math.isnan(none.mean)
    assert (none.deviation, none.seeds) == (None, 0)


def test_the_largest_is_not_known_where_one_is_not() -> None:
    assert largest([1.0, 3.0, 2.0]) == 3.0
    assert all(math.isnan(largest(values)) for values in ([math.nan, 1.0], [1.0, math.nan]))


def test_what_differs_by_rounding_alone_has_no_deviation() -> None:
    assert Stat.of([0.1 + 0.2, 0.3, 0.3]).deviation == 0
    assert Stat.of([2831.2, 2831.2, 2831.2]).deviation == 0
    assert Stat.of([0.3, 0.3 + 1e-9]).deviation == pytest.approx(1e-9 / 2**0.5, rel=1e-4)
