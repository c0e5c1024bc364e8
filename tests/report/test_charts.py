"""Line charts: ticks and geometry by hand, contrasts that can be read, texts that cannot inject markup."""

import math
import re
from xml.etree import ElementTree

import pytest

from hiresnn.report.charts import (
    DARK,
    DASHES,
    LIGHT,
    MARKERS,
    SERIES,
    Chart,
    Dot,
    Series,
    category_axis,
    epoch_axis,
    heat_style,
    legend,
    number_axis,
    percent_axis,
)


def test_categories_are_evenly_spaced_with_a_margin():
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
def test_ticks_are_round_and_enclose_every_value(values, zero, texts):
    axis = number_axis("loss", values, zero=zero)
    assert [text for _, text in axis.ticks] == texts
    assert all(axis.low <= value <= axis.high for value in values)


@pytest.mark.parametrize(
    ("last", "marks"),
    [(1, [1]), (2, [1, 2]), (7, [1, 2, 3, 4, 5, 6, 7]), (10, [2, 4, 6, 8, 10]), (30, [1, 5, 10, 15, 20, 25, 30])],
)
def test_epoch_ticks_are_whole_numbers(last, marks):
    axis = epoch_axis(last)
    assert [value for value, _ in axis.ticks] == marks
    assert axis.low < axis.high


SCHEMES = {"light": LIGHT, "dark": DARK}


def contrast(one, other):
    """WCAG 2 contrast of two "#rrggbb", written independently of the package."""

    def luminance(colour):
        values = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_contrasts_are_those_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert 4.5 < contrast("#767676", "#ffffff") < 4.55  # its lightest grey that passes on white


def colours(percent):
    """Background and text in the light scheme, then in the dark scheme."""
    return re.findall("#[0-9a-f]{6}", heat_style(percent))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_has_a_contrast_of_at_least_four_and_a_half(scheme):
    scheme_colours = SCHEMES[scheme]
    pairs = [(text, back) for text in ("ink", "muted", "accent") for back in ("page", "surface", "sunken")]
    pairs += [(verdict, f"{verdict}-back") for verdict in ("good", "unsure", "bad")]
    assert {
        pair: found for pair in pairs if (found := contrast(scheme_colours[pair[0]], scheme_colours[pair[1]])) < 4.5
    } == {}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_lines_have_a_contrast_of_at_least_three(scheme):
    scheme_colours = SCHEMES[scheme]
    found = [contrast(scheme_colours[f"series-{number}"], scheme_colours["surface"]) for number in range(SERIES)]
    assert min(found) >= 3


def test_text_on_every_heat_shade_can_be_read_in_both_schemes():
    for tenth in range(1001):
        light, light_text, dark, dark_text = colours(tenth / 10)
        assert contrast(light, light_text) >= 4.5
        assert contrast(dark, dark_text) >= 4.5


@pytest.mark.parametrize(("percent", "light"), [(0, "#7d1d07"), (12.5, "#a33a19"), (25, "#c9562b"), (100, "#fdf8f2")])
def test_heat_shades_are_interpolated_between_the_stops(percent, light):
    # 12.5 is half way: (7d + c9) / 2 = a3, (1d + 56) / 2 = 39.5 -> 3a (to even), (07 + 2b) / 2 = 19.
    assert colours(percent)[0] == light


def drawn(series, key="k", **options):
    """A chart with its data between x = 52 and 352, and between y = 20 and 220."""
    frame: dict = {"x": epoch_axis(4), "y": percent_axis("%"), "title": "t", "description": "d"}
    return ElementTree.fromstring(str(Chart(**(frame | options), width=366, height=266).draw(series, key)))


def test_points_are_at_the_coordinates_of_their_values():
    svg = drawn([Series("a", (Dot(1, 100), Dot(2, 50), Dot(4, 0)))])
    # Epochs 1 to 4 over 300 units: epoch 2 a third of the way, at 152. 50 % is the middle of 20 and 220.
    assert svg.find(".//polyline").get("points") == "52,20 152,120 352,220"
    dots = [dot.get("transform") for dot in svg.iter("path")]
    assert dots == ["translate(52 20)", "translate(152 120)", "translate(352 220)"]


def test_a_band_runs_along_the_upper_ends_and_back_along_the_lower():
    svg = drawn([Series("a", (Dot(1, 50, 25, 75), Dot(4, 50, 40, 60)))])
    assert svg.find(".//polygon").get("points") == "52,70 352,100 352,140 52,170"


def test_ticks_are_beside_their_values():
    svg = drawn([], x=category_axis("bound", ["0", "8"]))
    texts = {(text.text, text.get("x"), text.get("y")) for text in svg.iter("text")}
    # Categories: 1.5 wide, so 0 stands 50 units inside, 8 at 52 + 1.25 * 200.
    assert {("0", "102", "238"), ("8", "302", "238"), ("75", "44", "70"), ("%", "13", "120")} <= texts


def test_no_two_of_forty_lines_look_alike():
    looks = {(n % SERIES, MARKERS[n % len(MARKERS)], DASHES[n % len(DASHES)]) for n in range(40)}
    assert len(looks) == 40
    # And the first four, those of the robustness curve, differ in each of the three.
    assert all(len({n % each for n in range(4)}) == 4 for each in (SERIES, len(MARKERS), len(DASHES)))


def test_a_screen_reader_reads_title_and_description():
    svg = drawn([], key="curve", title="Accuracy", description="Falls to 8.5.")
    assert (svg.get("role"), svg.get("aria-labelledby")) == ("img", "curve-title curve-desc")
    texts = {each.get("id"): each.text for each in svg if each.get("id")}
    assert texts == {"curve-title": "Accuracy", "curve-desc": "Falls to 8.5."}


def test_a_hundred_epochs_get_few_markers_and_one_at_the_end():
    dots = tuple(Dot(n, n / 2) for n in range(1, 101))
    svg = drawn([Series("a", dots)], x=epoch_axis(100))
    assert len(svg.find(".//polyline").get("points").split()) == 100
    markers = [path.get("transform") for path in svg.iter("path")]
    assert len(markers) <= 12
    # Epoch 100 at the right edge, 50 % at the middle.
    assert markers[-1] == "translate(352 120)"


def test_the_legend_shows_each_line_with_points_as_the_chart_does():
    text = str(legend([Series("empty", ()), Series("<b>full</b>", (Dot(1, 1),))]))
    assert "empty" not in text
    assert "&lt;b&gt;full&lt;/b&gt;" in text
    assert re.findall(r'class="s(\d)"', text) == ["1"]


def test_markup_in_texts_is_escaped():
    hostile = "</title><script>alert(1)</script>"
    svg = drawn([Series(hostile, (Dot(1, 1),))], title=hostile, description=hostile, key='"k')
    assert not list(svg.iter("script"))
    assert svg.find("title").text == hostile
