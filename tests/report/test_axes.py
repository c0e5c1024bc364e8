"""Axes: round ticks, and values at places that a ruler would find."""

import math

import pytest

from hiresnn.report.axes import Frame, categories, epochs, numbers, percents


def test_a_value_lands_where_the_ruler_says() -> None:
    frame = Frame(left=50, top=20, right=250, bottom=120)
    # A quarter of 200 right of 50; a quarter of 100 above 120.
    assert frame.x(25, percents("")) == 100
    assert frame.y(25, percents("")) == 95
    assert (frame.y(0, percents("")), frame.y(100, percents(""))) == (120, 20)


def test_categories_stand_at_equal_distances_inside_the_frame() -> None:
    frame = Frame(left=0, top=0, right=50, bottom=1)
    axis = categories("bound", ["0", "1", "∞"])
    # The range is -0.25 to 2.25, so 50 units are 2.5 categories: 20 units each, 5 of air.
    assert [frame.x(value, axis) for value, _ in axis.ticks] == [5, 25, 45]


@pytest.mark.parametrize(
    ("values", "zero", "texts"),
    [
        ([0.31, 1.9], True, ["0", "0.5", "1", "1.5", "2"]),
        ([0.95, 0.998], False, ["0.95", "0.96", "0.97", "0.98", "0.99", "1"]),
        ([91.4, 99.2], False, ["90", "92", "94", "96", "98", "100"]),
        ([-3.0, 4.0], False, ["-4", "-2", "0", "2", "4"]),
        ([2.0], False, ["1.8", "1.9", "2", "2.1", "2.2"]),
        ([0.0], True, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        ([0.0], False, ["-1", "-0.5", "0", "0.5", "1"]),
        ([1 / 3, math.nextafter(1 / 3, 1)], False, ["0.3", "0.32", "0.34", "0.36", "0.38"]),
        ([], False, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
    ],
)
def test_ticks_are_round_and_hold_every_value(values: list[float], zero: bool, texts: list[str]) -> None:
    axis = numbers("loss", values, zero=zero)
    assert [text for _, text in axis.ticks] == texts
    assert all(axis.low <= value <= axis.high for value in values)


@pytest.mark.parametrize(
    ("last", "marks"),
    [(1, [1]), (2, [1, 2]), (7, [1, 2, 3, 4, 5, 6, 7]), (10, [2, 4, 6, 8, 10]), (30, [1, 5, 10, 15, 20, 25, 30])],
)
def test_epochs_are_whole(last: int, marks: list[int]) -> None:
    axis = epochs(last)
    assert [value for value, _ in axis.ticks] == marks
    assert axis.low < axis.high
