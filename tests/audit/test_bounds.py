"""Bounds: how radii are read, named and put in order."""

import math

import pytest

from hiresnn.audit.bounds import CLEAN, CURVE, Bound, bound_at, curve
from hiresnn.audit.bounds import parse_bound as bound
from hiresnn.errors import UsageError


@pytest.mark.parametrize(
    ("text", "eps", "label"),
    [
        ("8/255", 8 / 255, "8/255"),
        ("0.5/255", 0.5 / 255, "0.5/255"),
        (" 2.0/255 ", 2 / 255, "2/255"),
        ("0.03", 0.03, "0.03"),
        ("1/10", 0.1, "25.5/255"),  # 0.1 is 25.5 of 255
        ("1e-3", 0.001, "0.001"),
        ("254.5/255", 254.5 / 255, "254.5/255"),
        ("0", 0.0, "0"),
        ("0/255", 0.0, "0"),
        ("inf", math.inf, "inf"),
        ("255/255", math.inf, "inf"),  # a radius of 1 reaches every image, and so does no bound at all
    ],
)
def test_a_bound_is_read_and_named_in_255ths_where_it_is_a_multiple_of_half_of_one(
    text: str, eps: float, label: str
) -> None:
    found = bound(text)
    assert found.label == label
    assert found.eps == pytest.approx(eps, rel=1e-12)


@pytest.mark.parametrize(
    "text", ["", "-1/255", "-0.1", "256", "nan", "-inf", "1e400", "8/0", "8/", "/255", "eight", "8/255/x", "inf/2"]
)
def test_values_that_are_not_a_radius_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"bound .* 8/255"):
        bound(text)


def test_a_radius_has_the_name_that_its_text_has() -> None:
    assert bound_at(8 / 255) == bound("8/255")
    assert bound_at(0.0) == CLEAN
    assert bound_at(1.5) == bound("inf")


def test_the_radius_of_no_bound_is_one() -> None:
    assert bound("inf").radius == 1
    assert bound("8/255").radius == 8 / 255


def test_a_label_reads_back_as_its_bound() -> None:
    for text in CURVE:
        assert bound(bound(text).label) == bound(text)
        assert bound(text).label == text


def test_bounds_are_ordered_by_radius_not_by_text() -> None:
    assert sorted(map(bound, ["inf", "16/255", "8/255", "0", "0.5/255"])) == [
        bound(text) for text in ("0", "0.5/255", "8/255", "16/255", "inf")
    ]


def test_a_curve_begins_at_zero_and_holds_the_headline_and_each_bound_once() -> None:
    found = curve(("16/255", "2/255", "2.0/255", "inf", "1"), Bound(8 / 255, "8/255"))
    assert [each.label for each in found] == ["0", "2/255", "8/255", "16/255", "inf"]
    assert curve((), bound("8/255")) == (CLEAN, bound("8/255"))
    assert curve(CURVE, bound("8/255")) == tuple(map(bound, CURVE))


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("0.031372549", ["0", "0.03", "8/255"]),  # 8/255 to nine digits
        ("0.0300000001", ["0", "0.03", "8/255"]),  # another radius than 0.03, of the same name
    ],
)
def test_a_headline_within_rounding_of_another_bound_stands_in_its_place(text: str, labels: list[str]) -> None:
    found = curve(("8/255", "0.03"), bound(text))
    assert bound(text) in found
    assert [each.label for each in found] == labels


def test_a_headline_of_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="eps is 0"):
        curve(CURVE, CLEAN)


@pytest.mark.parametrize("text", ["8", "2.5", "255"])
def test_a_bound_in_0_to_255_is_refused_with_the_bound_that_was_meant(text: str) -> None:
    with pytest.raises(UsageError, match=f"did you mean {text}/255"):
        bound(text)
