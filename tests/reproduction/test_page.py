"""Pages as Markdown and CSV."""

import math

import pytest

from reproduction.page import Table, beside_paper, csv_text, difference_text, text_of
from reproduction.results import compared
from reproduction.statistics import SeedStat

TABLE = Table(
    "Accuracy in percent.",
    ["model", *beside_paper("clean", "FGSM")],
    [
        ["VGG5", *compared(90.0, SeedStat.of([91.0, 93.0])), *compared(13.3, None)],
        ["a|b", *compared(None, 0.1234), *compared(0.0, 0.0)],
    ],
)


@pytest.mark.parametrize(
    ("cell", "signed", "text"),
    [
        (None, False, "n/a"),
        (math.nan, True, "n/a"),
        (SeedStat.of([math.nan, math.nan]), False, "n/a"),
        (0.0, True, "0.0"),
        (13.26, False, "13.3"),
        (13.26, True, "+13.3"),
        (-0.04567, True, "-0.0457"),
        (12345.6, False, "12,345.6"),
        (SeedStat.of([5.0]), False, "5.0"),
        (SeedStat.of([4.0, 6.0]), False, "5.0 ± 1.4"),
        (SeedStat.of([1.6, 2.4]), True, "+2.0 ± 0.6"),
        (SeedStat.of([0.1, 0.3]), False, "0.20 ± 0.14"),
        (SeedStat.of([0.0, 0.0, 0.1]), False, "0.033 ± 0.058"),  # two digits of the deviation (D16)
        (SeedStat.of([-4.0, 4.5]), True, "+0.2 ± 6.0"),
    ],
)
def test_cells_read_as_a_person_writes_them(cell, signed, text):
    assert text_of(cell, signed=signed) == text


@pytest.mark.parametrize(
    ("difference", "ours", "text"),
    [
        (0.167, "8.5 ± 1.8", "+0.2"),
        (0.895, "1.3", "+0.9"),
        (0.4073, "0.597", "+0.407"),
        (-1.967, "0.033 ± 0.058", "-2.0"),  # from 1 on one decimal, as everywhere
        (0.25, "12", "+0.25"),
        (0.0, "5.0", "0.0"),
        (None, "n/a", "n/a"),
    ],
)
def test_a_difference_has_no_more_decimals_than_the_measured_value_beside_it(difference, ours, text):
    assert difference_text(difference, ours) == text


def test_csv_has_spread_and_seeds_beside_each_figure_over_seeds():
    lines = csv_text(TABLE).splitlines()
    assert lines[0] == (
        'model,"clean, paper","clean, ours","clean, ours, sd","clean, ours, seeds","clean, difference",'
        '"FGSM, paper","FGSM, ours","FGSM, difference"'
    )
    assert lines[1] == "VGG5,90,92,1.41421,2,2,13.3,,"
    assert lines[2] == "a|b,,0.1234,,,,0,0,0"
