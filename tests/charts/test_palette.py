"""Colours: contrasts that can be read in both schemes, and styles that differ in more than colour."""

from collections.abc import Callable
from itertools import combinations

import pytest

from hiresnn.charts.palette import DARK, LIGHT, SERIES, STYLES, shade
from hiresnn.charts.palette import contrast as own_contrast

SCHEMES = {"light": LIGHT, "dark": DARK}
Contrast = Callable[[str, str], float]


def test_both_schemes_have_the_same_names() -> None:
    assert list(LIGHT) == list(DARK)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_has_a_contrast_of_at_least_four_and_a_half(scheme: str, contrast: Contrast) -> None:
    colours = SCHEMES[scheme]
    pairs = [(text, back) for text in ("ink", "muted", "accent") for back in ("page", "surface", "sunken")]
    pairs += [(verdict, f"{verdict}-back") for verdict in ("good", "unsure", "bad")]
    assert {pair: found for pair in pairs if (found := contrast(colours[pair[0]], colours[pair[1]])) < 4.5} == {}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_lines_have_a_contrast_of_at_least_three(scheme: str, contrast: Contrast) -> None:
    colours = SCHEMES[scheme]
    found = [contrast(colours[f"series-{number}"], colours["surface"]) for number in range(SERIES)]
    assert min(found) >= 3


def test_contrast_is_that_of_the_standard(contrast: Contrast) -> None:
    for one, other in (("#0072b2", "#ffffff"), ("#123456", "#fedcba"), ("#0a0a0a", "#0b0b0b")):
        assert own_contrast(one, other) == pytest.approx(contrast(one, other), rel=1e-12)


def test_text_on_every_heat_shade_can_be_read_in_both_schemes(contrast: Contrast) -> None:
    for tenth in range(1001):
        found = shade(tenth / 10)
        assert contrast(found.light, found.light_text) >= 4.5
        assert contrast(found.dark, found.dark_text) >= 4.5


@pytest.mark.parametrize(("percent", "light"), [(0, "#7d1d07"), (12.5, "#a33a19"), (25, "#c9562b"), (100, "#fdf8f2")])
def test_heat_shades_are_interpolated_between_the_stops(percent: float, light: str) -> None:
    # 12.5 is half way: (7d + c9) / 2 = a3, (1d + 56) / 2 = 39.5 -> 3a (to even), (07 + 2b) / 2 = 19.
    assert shade(percent).light == light


def test_heat_shades_stand_out_more_the_lower_the_accuracy(contrast: Contrast) -> None:
    light = [contrast(shade(percent).light, "#ffffff") for percent in range(0, 101, 5)]
    dark = [contrast(shade(percent).dark, "#1b1f24") for percent in range(0, 101, 5)]
    assert light == sorted(light, reverse=True)
    assert dark == sorted(dark, reverse=True)


def test_heat_shades_outside_the_range_are_the_nearest_end() -> None:
    assert (shade(-3), shade(104)) == (shade(0), shade(100))


@pytest.mark.parametrize(
    "names",
    [
        ("clean", "fgsm", "pgd"),
        ("traditional", "noise-free", "gaussian", "hire"),
        ("ann", "rate", "traditional", "hire"),
    ],
)
def test_styles_of_one_figure_differ_in_colour_and_marker(names: tuple[str, ...]) -> None:
    styles = [STYLES[name] for name in names]
    assert len({style.colour for style in styles}) == len({style.marker for style in styles}) == len(styles)


@pytest.mark.parametrize("names", [("direct", "rate"), ("traditional", "noise-free", "gaussian", "hire")])
def test_bars_of_one_figure_differ_in_hatching_or_lightness(names: tuple[str, ...]) -> None:
    def luma(colour: str) -> float:
        red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for one, other in combinations([STYLES[name] for name in names], 2):
        assert one.hatch != other.hatch or abs(luma(one.colour) - luma(other.colour)) > 40
