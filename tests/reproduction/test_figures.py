"""What stands in a drawn panel."""

import math
from itertools import pairwise
from pathlib import Path

import pytest

from hiresnn.report.charts import STYLES
from reproduction import figures
from reproduction.figures import PAPER
from reproduction.statistics import SeedStat

from .drawn import heights, lines, names, spreads, stars


def test_a_line_goes_through_the_means_with_the_deviations_as_error_bars() -> None:
    _, (axes,) = figures.figure()
    figures.line(axes, [1, 4], [SeedStat.of([1.0, 3.0]), SeedStat.of([5.0, 5.0])], STYLES["hire"])
    assert lines(axes) == {"crafted noise (HIRE)": [(1, 2), (4, 5)]}
    # the sample standard deviation of 1 and 3 is sqrt(2)
    assert spreads(axes) == [pytest.approx([math.sqrt(2), 0])]


def test_the_papers_points_are_stars_where_it_prints_a_value() -> None:
    drawn, (axes,) = figures.figure()
    figures.line(axes, [1, 2, 3], [SeedStat.of([1.0])] * 3, STYLES["fgsm"])
    figures.paper_points(axes, [1, 2, 3], [None, 38.0, 4.0], STYLES["fgsm"])
    figures.paper_points(axes, [1], [None], STYLES["pgd"])
    assert stars(axes) == {(2, 38), (3, 4)}
    figures.outside(drawn, columns=2)
    assert names(drawn) == ["FGSM", PAPER]


def test_bars_of_a_group_stand_side_by_side_and_a_missing_one_leaves_a_gap() -> None:
    _, (axes,) = figures.figure()
    series = [
        (STYLES["traditional"], [SeedStat.of([10.0]), SeedStat.of([20.0])]),
        (STYLES["gaussian"], [None, SeedStat.of([30.0])]),
        (STYLES["hire"], [SeedStat.of([40.0, 42.0]), SeedStat.of([50.0, 50.0])]),
    ]
    figures.bars(axes, ["clean", "FGSM"], series, digits=1)
    found = heights(axes)
    assert found["traditional"] == [10, 20]
    assert math.isnan(found["Gaussian noise"][0])
    assert found["Gaussian noise"][1] == 30
    assert found["crafted noise (HIRE)"] == [41, 50]
    assert spreads(axes) == [pytest.approx([math.sqrt(2)]), [0]]
    edges = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches)
    assert all(right < left for (_, right), (left, _) in pairwise(edges))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["clean", "FGSM"]
    # the value stands above the error bar, not in it
    assert {text.get_text(): text.xy[1] for text in axes.texts}["41.0"] == pytest.approx(41 + math.sqrt(2))


@pytest.mark.parametrize(
    ("values", "low", "high", "note"),
    [
        ([87.0, 89.0], 86.76, 89.24, ["axis starts at 86.8"]),
        ([87.0, 87.2], 86.6, 87.6, ["axis starts at 86.6"]),
        ([0.0, 10.0], 0.0, 11.2, []),
        ([-1.0, 1.0], -1.24, 1.24, []),
    ],
)
def test_focus_shows_small_differences_and_says_where_the_axis_starts(
    values: list[float], low: float, high: float, note: list[str]
) -> None:
    _, (axes,) = figures.figure()
    figures.focus(axes, [*(SeedStat.of([value]) for value in values), SeedStat.of([math.nan])])
    assert axes.get_ylim() == pytest.approx((low, high))
    assert [text.get_text() for text in axes.texts] == note


def test_a_figure_is_saved_as_svg_png_and_pdf_and_equal_figures_are_equal_bytes(tmp_path: Path) -> None:
    contents = []
    for stem in ("fig10b-e", "again.v2"):
        drawn, (axes,) = figures.figure()
        figures.line(axes, [1, 2], [SeedStat.of([1.0]), SeedStat.of([2.0])], STYLES["hire"])
        figures.bars(axes, ["a"], [(STYLES["gaussian"], [SeedStat.of([1.0])])])
        figures.label(axes, x="T", y="accuracy (%)", title="(a)")
        written = figures.save(drawn, tmp_path / stem)
        assert written == [tmp_path / f"{stem}.{kind}" for kind in ("svg", "png", "pdf")]
        contents.append([path.read_bytes() for path in written])
    assert contents[0] == contents[1]
    svg, png, pdf = contents[0]
    assert b"<svg" in svg
    assert b"dc:date" not in svg
    assert png.startswith(b"\x89PNG")
    assert pdf.startswith(b"%PDF")
    assert b"CreationDate" not in pdf
