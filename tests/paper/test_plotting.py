import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib
import pytest

from hiresnn.errors import UsageError
from hiresnn.paper import plotting
from hiresnn.paper.stat import Stat
from hiresnn.paper.styles import PAPER, STYLES

from .drawn import heights, lines, names, spreads, stars


def test_a_line_goes_through_the_means_with_the_deviations_as_error_bars() -> None:
    _, (axes,) = plotting.figure()
    plotting.line(axes, [1, 4], [Stat.of([1.0, 3.0]), Stat.of([5.0, 5.0])], STYLES["hire"])
    assert lines(axes) == {"crafted noise (HIRE)": [(1, 2), (4, 5)]}
    # the sample standard deviation of 1 and 3 is sqrt(2)
    assert spreads(axes) == [pytest.approx([math.sqrt(2), 0])]


def test_one_seed_has_no_error_bars() -> None:
    _, (axes,) = plotting.figure()
    plotting.line(axes, [1, 2], [Stat.of([1.0]), Stat.of([2.0])], STYLES["hire"])
    plotting.bars(axes, ["a"], [(STYLES["hire"], [Stat.of([1.0])])])
    assert spreads(axes) == []


def test_the_papers_points_are_stars_where_it_prints_a_value() -> None:
    drawn, (axes,) = plotting.figure()
    plotting.line(axes, [1, 2, 3], [Stat.of([1.0])] * 3, STYLES["fgsm"])
    plotting.paper_points(axes, [1, 2, 3], [None, 38.0, 4.0], STYLES["fgsm"])
    plotting.paper_points(axes, [1], [None], STYLES["pgd"])
    assert stars(axes) == {(2, 38), (3, 4)}
    plotting.outside(drawn, columns=2)
    assert names(drawn) == ["FGSM", PAPER]


def test_bars_of_a_group_stand_side_by_side_and_a_missing_one_leaves_a_gap() -> None:
    _, (axes,) = plotting.figure()
    series = [
        (STYLES["traditional"], [Stat.of([10.0]), Stat.of([20.0])]),
        (STYLES["gaussian"], [None, Stat.of([30.0])]),
        (STYLES["hire"], [Stat.of([40.0, 42.0]), Stat.of([50.0, 50.0])]),
    ]
    plotting.bars(axes, ["clean", "FGSM"], series, digits=1)
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


def test_the_papers_stars_stand_on_the_bars_they_belong_to() -> None:
    _, (axes,) = plotting.figure()
    series = [(STYLES["traditional"], [Stat.of([1.0])]), (STYLES["hire"], [Stat.of([2.0])])]
    plotting.bars(axes, ["clean"], series, paper=[[87.9], [None]])
    # two bars share 0.8: the centre of the first is a quarter of it left of the group
    assert list(stars(axes)) == [(pytest.approx(-0.2), 87.9)]


def test_a_logarithmic_axis_has_plain_numbers() -> None:
    drawn, (axes,) = plotting.figure()
    plotting.line(axes, [1, 7, 40], [Stat.of([1.0])] * 3, STYLES["hire"])
    plotting.logarithmic(axes, "x", [1, 7, 40, 50, 60])
    drawn.draw_without_rendering()
    # 50 would stand too close to 40 to be read
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "7", "40", "60"]


def test_a_figure_is_saved_as_svg_png_and_pdf_and_equal_figures_are_equal_bytes(tmp_path: Path) -> None:
    contents = []
    for stem in ("fig10b-e", "again.v2"):
        drawn, (axes,) = plotting.figure()
        plotting.line(axes, [1, 2], [Stat.of([1.0]), Stat.of([2.0])], STYLES["hire"])
        plotting.bars(axes, ["a"], [(STYLES["gaussian"], [Stat.of([1.0])])])
        plotting.label(axes, x="T", y="accuracy (%)", title="(a)")
        written = plotting.save(drawn, tmp_path / stem)
        assert written == [tmp_path / f"{stem}.{kind}" for kind in ("svg", "png", "pdf")]
        contents.append([path.read_bytes() for path in written])
    assert contents[0] == contents[1]
    svg, png, pdf = contents[0]
    assert b"<svg" in svg
    assert b"dc:date" not in svg
    assert png.startswith(b"\x89PNG")
    assert pdf.startswith(b"%PDF")
    assert b"CreationDate" not in pdf


def test_drawing_leaves_the_users_settings_of_matplotlib_alone(tmp_path: Path) -> None:
    def settings() -> dict[str, object]:
        # the backend is looked up by whoever reads it first
        return {name: value for name, value in matplotlib.rcParams.items() if name != "backend"}

    before = settings()
    drawn, (axes,) = plotting.figure()
    plotting.label(axes, x="a", y="b")
    plotting.save(drawn, tmp_path / "figure")
    assert settings() == before


def test_without_matplotlib_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"pip install -e '\.\[paper\]'"):
        plotting.figure()


def test_matplotlib_is_loaded_only_when_something_is_drawn() -> None:
    code = "import sys, hiresnn.paper.plotting; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "together",
    [
        ("clean", "fgsm", "pgd"),
        ("traditional", "noise-free", "gaussian", "hire"),
        ("ann", "rate", "traditional", "hire"),
    ],
)
def test_things_in_one_figure_differ_in_more_than_colour(together: tuple[str, ...]) -> None:
    styles = [STYLES[name] for name in together]
    assert len({style.colour for style in styles}) == len(styles)
    assert len({style.marker for style in styles}) == len(styles)


def test_bars_of_one_figure_differ_in_hatching_or_lightness() -> None:
    def luma(colour: str) -> float:
        red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for together in (("direct", "rate"), ("traditional", "noise-free", "gaussian", "hire")):
        styles = [STYLES[name] for name in together]
        for one in styles:
            for other in styles:
                assert one is other or one.hatch != other.hatch or abs(luma(one.colour) - luma(other.colour)) > 40
