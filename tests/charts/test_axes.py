"""Axes: round ticks, and positions computed by hand."""

import math

import pytest

from hiresnn.report.charts import category_axis, epoch_axis, number_axis


def test_categories_are_evenly_spaced_with_a_margin() -> None:
    axis = category_axis("bound", ["0", "1", "∞"])
    # The range is -0.25 to 2.25: 2.5 categories, so 0.4 each, after a margin of 0.1.
    assert [axis.share(value) for value, _ in axis.ticks] == pytest.approx([0.1, 0.5, 0.9])


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
def test_ticks_are_round_and_enclose_every_value(values: list[float], zero: bool, texts: list[str]) -> None:
    axis = number_axis("loss", values, zero=zero)
    assert [text for _, text in axis.ticks] == texts
    assert all(axis.low <= value <= axis.high for value in values)


@pytest.mark.parametrize(
    ("last", "marks"),
    [(1, [1]), (2, [1, 2]), (7, [1, 2, 3, 4, 5, 6, 7]), (10, [2, 4, 6, 8, 10]), (30, [1, 5, 10, 15, 20, 25, 30])],
)
def test_epoch_ticks_are_whole_numbers(last: int, marks: list[int]) -> None:
    axis = epoch_axis(last)
    assert [value for value, _ in axis.ticks] == marks
    assert axis.low < axis.high
