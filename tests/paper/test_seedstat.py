"""Values over seeds, and what pages say of them: differences, directions, claims."""

import doctest
import math

import pytest

from hiresnn.paper import claims, page, seedstat, store
from hiresnn.paper.page import directions, judged
from hiresnn.paper.seedstat import SeedStat, points


@pytest.mark.parametrize("module", [claims, page, seedstat, store])
def test_examples_run(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted
    assert not result.failed


def test_mean_and_sample_standard_deviation() -> None:
    # 2, 4, 9: mean 5, squares 9 + 1 + 16 = 26, over n - 1 = 2: root of 13
    found = SeedStat.of([2, 4, 9])
    assert found.mean == 5
    assert found.deviation == pytest.approx(13**0.5)


def test_one_seed_has_no_deviation_and_none_is_an_error() -> None:
    assert SeedStat.of([7.0]).deviation is None
    with pytest.raises(ValueError, match="at least one"):
        SeedStat.of([])


def test_a_difference_is_taken_seed_by_seed() -> None:
    # Each seed gains exactly 1, whatever the seeds differ in: spread 0, not that of the two.
    gain = SeedStat.of([11.0, 21.0, 31.0]).minus(SeedStat.of([10.0, 20.0, 30.0]))
    assert (gain.mean, gain.deviation) == (1.0, 0.0)


def test_a_difference_is_over_the_seeds_that_both_have() -> None:
    assert SeedStat.of([5.0, 9.0]).minus(SeedStat.of([1.0])).values == (4.0,)


def test_a_seed_that_is_not_measured_counts_in_nothing() -> None:
    some = SeedStat.of([1.0, math.nan, 3.0])
    assert (some.mean, some.deviation, some.seeds) == (2.0, pytest.approx(math.sqrt(2)), 2)
    assert some.minus(SeedStat.of([1.0, 5.0, 1.0])).mean == 1.0
    none = SeedStat.of([math.nan])
    assert math.isnan(none.mean)
    assert (none.deviation, none.seeds) == (None, 0)


def test_values_of_two_origins_are_not_subtracted() -> None:
    ours = SeedStat.of([5.0, 7.0, 9.0], ["A", "A", "A"])
    theirs = SeedStat.of([1.0, 1.0, math.nan], ["A", "B", "B"])
    assert ours.minus(theirs).mean == 4.0
    assert (ours.minus(theirs).seeds, ours.unpaired(theirs)) == (1, 1)
    assert ours.unpaired(SeedStat.of([1.0])) == 0


def test_a_ratio_is_taken_seed_by_seed() -> None:
    assert SeedStat.of([8.0, 6.0]).over(SeedStat.of([2.0])).values == (4.0,)
    assert SeedStat.of([1.0, 3.0]).map(lambda value: 2 * value).mean == 4.0


def test_rounding_alone_has_no_deviation() -> None:
    assert SeedStat.of([0.1 + 0.2, 0.3, 0.3]).deviation == 0
    assert SeedStat.of([2831.2, 2831.2, 2831.2]).deviation == 0
    assert SeedStat.of([0.3, 0.3 + 1e-9]).deviation == pytest.approx(1e-9 / 2**0.5, rel=1e-4)


def test_points_have_a_sign_and_the_deviation_over_seeds() -> None:
    assert points(SeedStat.of([1.0, 3.0])) == "+2.0 ± 1.4"
    assert points(SeedStat.of([-1.0])) == "-1.0"
    assert points(SeedStat.of([math.nan])) == "n/a"


def test_equal_signs_agree() -> None:
    found = directions([("up", 2.0, SeedStat.of([0.1])), ("down", -2.0, SeedStat.of([-3.0, -5.0]))])
    assert found == ["All 2 differences that the paper prints have the same sign here."]


def test_each_difference_that_disagrees_is_named_with_both_numbers() -> None:
    fine = ("fine", 1.0, SeedStat.of([1.0]))
    turned = ("turned", 2.5, SeedStat.of([-1.0, -3.0]))  # -2 with deviation root 2
    assert directions([fine, turned, ("gone", -0.4, SeedStat.of([0.0]))]) == [
        "2 of 3 differences that the paper prints have not the same sign here:\n"
        "  - turned (paper +2.5, here -2.0 ± 1.4)\n"
        "  - gone (paper -0.4, here +0.0)"
    ]


def test_a_missing_unmeasured_or_zero_difference_has_no_sign() -> None:
    one, nothing = SeedStat.of([1.0]), SeedStat.of([math.nan])
    assert directions([("none", None, one), ("none", 1.0, None), ("none", 0.0, one), ("none", 1.0, nothing)]) == []


def test_a_judgement_has_the_claim_the_verdict_and_the_numbers() -> None:
    assert judged("A", True, "1").endswith("A. Holds here: 1.")
    assert "Does not hold" in judged("A", False, "1")
    assert "Not judged" in judged("A", None, "1")
