import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib
import pytest

from hiresnn.errors import UsageError
from hiresnn.report.charts import STYLES
from reproduction import charts as plotting
from reproduction.charts import PAPER
from reproduction.seedstat import SeedStat

from .drawn import heights, lines, names, spreads, stars


def test_a_line_goes_through_the_means_with_the_deviations_as_error_bars() -> None:
    _, (axes,) = plotting.figure()
    plotting.line(axes, [1, 4], [SeedStat.of([1.0, 3.0]), SeedStat.of([5.0, 5.0])], STYLES["hire"])
    assert lines(axes) == {"crafted noise (HIRE)": [(1, 2), (4, 5)]}
    # the sample standard deviation of 1 and 3 is sqrt(2)
    assert spreads(axes) == [pytest.approx([math.sqrt(2), 0])]


def test_one_seed_has_no_error_bars() -> None:
    _, (axes,) = plotting.figure()
    plotting.line(axes, [1, 2], [SeedStat.of([1.0]), SeedStat.of([2.0])], STYLES["hire"])
    plotting.bars(axes, ["a"], [(STYLES["hire"], [SeedStat.of([1.0])])])
    assert spreads(axes) == []


def test_the_papers_points_are_stars_where_it_prints_a_value() -> None:
    drawn, (axes,) = plotting.figure()
    plotting.line(axes, [1, 2, 3], [SeedStat.of([1.0])] * 3, STYLES["fgsm"])
    plotting.paper_points(axes, [1, 2, 3], [None, 38.0, 4.0], STYLES["fgsm"])
    plotting.paper_points(axes, [1], [None], STYLES["pgd"])
    assert stars(axes) == {(2, 38), (3, 4)}
    plotting.outside(drawn, columns=2)
    assert names(drawn) == ["FGSM", PAPER]


def test_bars_of_a_group_stand_side_by_side_and_a_missing_one_leaves_a_gap() -> None:
    _, (axes,) = plotting.figure()
    series = [
        (STYLES["traditional"], [SeedStat.of([10.0]), SeedStat.of([20.0])]),
        (STYLES["gaussian"], [None, SeedStat.of([30.0])]),
        (STYLES["hire"], [SeedStat.of([40.0, 42.0]), SeedStat.of([50.0, 50.0])]),
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


def test_the_papers_star_stands_beside_its_bar_and_covers_nothing() -> None:
    drawn, (axes,) = plotting.figure()
    series = [(STYLES["traditional"], [SeedStat.of([90.0])]), (STYLES["hire"], [SeedStat.of([80.0])])]
    plotting.bars(axes, ["clean"], series, paper=[[87.9], [None]], digits=1)
    ((star, value),) = stars(axes)
    assert value == 87.9
    first, second = axes.patches
    assert first.get_x() + first.get_width() < star < second.get_x()
    drawn.draw_without_rendering()
    marker = next(line for line in axes.lines if line.get_marker() == "*").get_window_extent()
    assert not any(marker.overlaps(text.get_window_extent()) for text in axes.texts)


def test_a_star_at_our_own_value_leaves_our_point_visible() -> None:
    _, (axes,) = plotting.figure()
    plotting.line(axes, [1], [SeedStat.of([38.0])], STYLES["fgsm"])
    plotting.paper_points(axes, [1], [38.0], STYLES["fgsm"])
    ours = axes.containers[0][0]
    star = next(line for line in axes.lines if line.get_marker() == "*")
    assert star.get_markerfacecolor() == "none"
    assert star.get_zorder() < ours.get_zorder()


def test_the_headline_says_what_was_measured_and_stays_inside_the_figure() -> None:
    drawn, panels = plotting.figure(1, 2, width=plotting.FULL_WIDTH)
    for number, axes in enumerate(panels, start=1):
        plotting.line(axes, [1, 2], [SeedStat.of([1.0]), SeedStat.of([2.0])], STYLES["hire"])
        plotting.label(axes, x="T", y="accuracy (%)", title="white box", panel=number)
    plotting.headline(drawn, "Accuracy over timesteps", "VGG5 on CIFAR-10, 1,000 test images, 3 seeds")
    plotting.outside(drawn, columns=1)
    drawn.draw_without_rendering()
    assert [axes.get_title(loc="left") for axes in panels] == ["(i) white box", "(ii) white box"]
    (note,) = panels[0].texts
    assert note.get_text() == "VGG5 on CIFAR-10, 1,000 test images, 3 seeds"
    box = note.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= drawn.bbox.x1
    tops = [axes.get_tightbbox().y1 for axes in panels]
    assert max(tops) <= box.y0
    assert drawn.legends[0].get_window_extent().y1 <= min(axes.get_tightbbox().y0 for axes in panels)


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
    _, (axes,) = plotting.figure()
    plotting.focus(axes, [*(SeedStat.of([value]) for value in values), None, SeedStat.of([math.nan])])
    assert axes.get_ylim() == pytest.approx((low, high))
    assert [text.get_text() for text in axes.texts] == note


@pytest.mark.parametrize(
    ("rates", "corner"),
    [([90.0, 80.0, 70.0], (0, 0)), ([70.0, 80.0, 90.0], (1, 0)), ([70.0, 70.0, 70.0, 90.0], (0, 1))],
)
def test_the_note_on_the_axis_stands_where_no_point_is(rates: list[float], corner: tuple[int, int]) -> None:
    _, (axes,) = plotting.figure()
    stats = [SeedStat.of([rate]) for rate in rates]
    plotting.line(axes, range(len(stats)), stats, plotting.STYLES["hire"])
    plotting.focus(axes, stats)
    (note,) = axes.texts
    assert note.xy == corner
    assert (note.get_ha(), note.get_va()) == (("left", "right")[corner[0]], ("bottom", "top")[corner[1]])


def test_a_logarithmic_axis_has_plain_numbers() -> None:
    drawn, (axes,) = plotting.figure()
    plotting.line(axes, [1, 7, 40], [SeedStat.of([1.0])] * 3, STYLES["hire"])
    plotting.logarithmic(axes, "x", [1, 7, 40, 50, 60])
    drawn.draw_without_rendering()
    # 50 would stand too close to 40 to be read
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "7", "40", "60"]


def test_a_figure_is_saved_as_svg_png_and_pdf_and_equal_figures_are_equal_bytes(tmp_path: Path) -> None:
    contents = []
    for stem in ("fig10b-e", "again.v2"):
        drawn, (axes,) = plotting.figure()
        plotting.line(axes, [1, 2], [SeedStat.of([1.0]), SeedStat.of([2.0])], STYLES["hire"])
        plotting.bars(axes, ["a"], [(STYLES["gaussian"], [SeedStat.of([1.0])])])
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
    with pytest.raises(UsageError, match=r"pip install 'hiresnn\[paper\]'"):
        plotting.figure()


def test_matplotlib_is_loaded_only_when_something_is_drawn() -> None:
    code = "import sys, reproduction.charts; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
