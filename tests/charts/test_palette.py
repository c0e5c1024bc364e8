"""Colours: contrasts that can be read in both schemes."""

import re

import pytest

from hiresnn.report.charts import DARK, LIGHT, SERIES, heat_style

SCHEMES = {"light": LIGHT, "dark": DARK}


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast of two "#rrggbb", written independently of the package."""

    def luminance(colour: str) -> float:
        values = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_contrasts_are_those_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert 4.5 < contrast("#767676", "#ffffff") < 4.55  # its lightest grey that passes on white


def colours(percent: float) -> list[str]:
    """Background and text in the light scheme, then in the dark scheme."""
    return re.findall("#[0-9a-f]{6}", heat_style(percent))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_has_a_contrast_of_at_least_four_and_a_half(scheme: str) -> None:
    scheme_colours = SCHEMES[scheme]
    pairs = [(text, back) for text in ("ink", "muted", "accent") for back in ("page", "surface", "sunken")]
    pairs += [(verdict, f"{verdict}-back") for verdict in ("good", "unsure", "bad")]
    assert {
        pair: found for pair in pairs if (found := contrast(scheme_colours[pair[0]], scheme_colours[pair[1]])) < 4.5
    } == {}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_lines_have_a_contrast_of_at_least_three(scheme: str) -> None:
    scheme_colours = SCHEMES[scheme]
    found = [contrast(scheme_colours[f"series-{number}"], scheme_colours["surface"]) for number in range(SERIES)]
    assert min(found) >= 3


def test_text_on_every_heat_shade_can_be_read_in_both_schemes() -> None:
    for tenth in range(1001):
        light, light_text, dark, dark_text = colours(tenth / 10)
        assert contrast(light, light_text) >= 4.5
        assert contrast(dark, dark_text) >= 4.5


@pytest.mark.parametrize(("percent", "light"), [(0, "#7d1d07"), (12.5, "#a33a19"), (25, "#c9562b"), (100, "#fdf8f2")])
def test_heat_shades_are_interpolated_between_the_stops(percent: float, light: str) -> None:
    # 12.5 is half way: (7d + c9) / 2 = a3, (1d + 56) / 2 = 39.5 -> 3a (to even), (07 + 2b) / 2 = 19.
    assert colours(percent)[0] == light
