"""What stands in a drawn panel."""

import math
from itertools import combinations

import pytest

from reproduction import figures
from reproduction.figures import STYLES
from reproduction.statistics import SeedStat


@pytest.mark.parametrize(
    ("values", "low", "high", "note"),
    [
        ([87.0, 89.0], 86.76, 89.24, ["axis starts at 86.8"]),
        ([87.0, 87.2], 86.6, 87.6, ["axis starts at 86.6"]),
        ([0.0, 10.0], 0.0, 11.2, []),
        ([-1.0, 1.0], -1.24, 1.24, []),
    ],
)
def test_focus_shows_small_differences_and_says_where_the_axis_starts(values, low, high, note):
    _, (axes,) = figures.figure()
    figures.focus(axes, [*(SeedStat.of([value]) for value in values), SeedStat.of([math.nan])])
    assert axes.get_ylim() == pytest.approx((low, high))
    assert [text.get_text() for text in axes.texts] == note


def test_a_figure_is_saved_as_svg_png_and_pdf_and_equal_figures_are_equal_bytes(tmp_path):
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


@pytest.mark.parametrize(
    "names",
    [
        ("clean", "fgsm", "pgd"),
        ("traditional", "noise-free", "gaussian", "hire"),
        ("ann", "rate", "traditional", "hire"),
    ],
)
def test_styles_of_one_figure_differ_in_colour_and_marker(names):
    styles = [STYLES[name] for name in names]
    assert len({style.colour for style in styles}) == len({style.marker for style in styles}) == len(styles)


@pytest.mark.parametrize("names", [("direct", "rate"), ("traditional", "noise-free", "gaussian", "hire")])
def test_bars_of_one_figure_differ_in_hatching_or_lightness(names):
    def luma(colour):
        red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for one, other in combinations([STYLES[name] for name in names], 2):
        assert one.hatch != other.hatch or abs(luma(one.colour) - luma(other.colour)) > 40
