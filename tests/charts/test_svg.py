"""Line charts: geometry by hand, lines that differ without colour, texts that cannot inject markup."""

import re
from xml.etree import ElementTree

from hiresnn.report.charts import (
    DASHES,
    MARKERS,
    SERIES,
    Chart,
    Dot,
    Series,
    category_axis,
    epoch_axis,
    legend,
    percent_axis,
)


def drawn(series: list[Series], key: str = "k", **options: object) -> ElementTree.Element:
    """A chart with its data between x = 52 and 352, and between y = 20 and 220."""
    frame: dict = {"x": epoch_axis(4), "y": percent_axis("%"), "title": "t", "description": "d"}
    return ElementTree.fromstring(str(Chart(**(frame | options), width=366, height=266).draw(series, key)))


def test_points_are_at_the_coordinates_of_their_values() -> None:
    svg = drawn([Series("a", (Dot(1, 100), Dot(2, 50), Dot(4, 0)))])
    # Epochs 1 to 4 over 300 units: epoch 2 a third of the way, at 152. 50 % is the middle of 20 and 220.
    assert svg.find(".//polyline").get("points") == "52,20 152,120 352,220"
    assert [dot.get("transform") for dot in svg.iter("path")] == [
        "translate(52 20)",
        "translate(152 120)",
        "translate(352 220)",
    ]


def test_a_band_runs_along_the_upper_ends_and_back_along_the_lower() -> None:
    svg = drawn([Series("a", (Dot(1, 50, 25, 75), Dot(4, 50, 40, 60)))])
    assert svg.find(".//polygon").get("points") == "52,70 352,100 352,140 52,170"


def test_ticks_are_beside_their_values() -> None:
    svg = drawn([], x=category_axis("bound", ["0", "8"]))
    texts = {(text.text, text.get("x"), text.get("y")) for text in svg.iter("text")}
    # Categories: 1.5 wide, so 0 stands 50 units inside, 8 at 52 + 1.25 * 200.
    assert {("0", "102", "238"), ("8", "302", "238"), ("75", "44", "70"), ("%", "13", "120")} <= texts


def test_no_two_of_forty_lines_look_alike() -> None:
    looks = {(n % SERIES, MARKERS[n % len(MARKERS)], DASHES[n % len(DASHES)]) for n in range(40)}
    assert len(looks) == 40
    # And the first four, those of the robustness curve, differ in each of the three.
    assert all(len({n % each for n in range(4)}) == 4 for each in (SERIES, len(MARKERS), len(DASHES)))


def test_a_screen_reader_reads_title_and_description() -> None:
    svg = drawn([], key="curve", title="Accuracy", description="Falls to 8.5.")
    assert (svg.get("role"), svg.get("aria-labelledby")) == ("img", "curve-title curve-desc")
    assert {each.get("id"): each.text for each in svg if each.get("id")} == {
        "curve-title": "Accuracy",
        "curve-desc": "Falls to 8.5.",
    }


def test_a_hundred_epochs_get_few_markers_and_one_at_the_end() -> None:
    dots = tuple(Dot(n, n / 2) for n in range(1, 101))
    svg = drawn([Series("a", dots)], x=epoch_axis(100))
    assert len(svg.find(".//polyline").get("points").split()) == 100
    markers = [path.get("transform") for path in svg.iter("path")]
    assert len(markers) <= 12
    # Epoch 100 at the right edge, 50 % at the middle.
    assert markers[-1] == "translate(352 120)"


def test_the_legend_shows_each_line_with_points_as_the_chart_does() -> None:
    text = str(legend([Series("empty", ()), Series("<b>full</b>", (Dot(1, 1),))]))
    assert "empty" not in text
    assert "&lt;b&gt;full&lt;/b&gt;" in text
    assert re.findall(r'class="s(\d)"', text) == ["1"]


def test_markup_in_texts_is_escaped() -> None:
    hostile = "</title><script>alert(1)</script>"
    svg = drawn([Series(hostile, (Dot(1, 1),))], title=hostile, description=hostile, key='"k')
    assert not list(svg.iter("script"))
    assert svg.find("title").text == hostile
