"""Intervals and the sign test, against formulas written out here."""

from math import comb, sqrt

import pytest

from hiresnn.audit.card import share
from hiresnn.audit.rules import significantly_more


def wilson(count: int, of: int) -> tuple[float, float]:
    """(p + z^2/2n -+ z sqrt(pq/n + z^2/4n^2)) / (1 + z^2/n), z of 95 %, in percent."""
    z, p = 1.959963984540054, count / of
    middle, half = p + z * z / (2 * of), z * sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    scale = 100 / (1 + z * z / of)
    return scale * (middle - half), scale * (middle + half)


@pytest.mark.parametrize(("count", "of"), [(5, 10), (0, 10), (10, 10), (1, 200), (137, 200), (999, 1000), (1, 1)])
def test_a_share_has_the_wilson_interval(count: int, of: int) -> None:
    found = share(count, of)
    low, high = wilson(count, of)
    assert (found.count, found.of) == (count, of)
    assert found.percent == pytest.approx(100 * count / of, abs=0.005)
    assert found.low == pytest.approx(low, abs=0.0051)
    assert found.high == pytest.approx(high, abs=0.0051)


def test_five_of_ten_lie_between_a_quarter_and_three_quarters() -> None:
    # By hand: (0.5 + 0.19207 -+ 1.95996 * sqrt(0.025 + 0.0096036)) / 1.38415 = 0.2366 and 0.7634
    found = share(5, 10)
    assert (found.low, found.high) == (23.66, 76.34)


def test_the_interval_of_no_images_is_0_to_100() -> None:
    found = share(0, 0)
    assert (found.count, found.of, found.percent, found.low, found.high) == (0, 0, 0.0, 0.0, 100.0)


def tail(more: int, fewer: int) -> float:
    """Chance of at least `more` heads of all throws."""
    throws = more + fewer
    return sum(comb(throws, heads) for heads in range(more, throws + 1)) / 2**throws


def test_only_a_surplus_beyond_chance_is_significant() -> None:
    for more in range(20):
        for fewer in range(20):
            assert significantly_more(more, fewer) == (more > fewer and tail(more, fewer) < 0.05), (more, fewer)


def test_five_against_none_are_needed() -> None:
    # 1/16 = 6.25 % and 1/32 = 3.125 %
    assert not significantly_more(4, 0)
    assert significantly_more(5, 0)
    assert not significantly_more(0, 0)
    assert not significantly_more(0, 9)
