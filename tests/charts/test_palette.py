"""Colours: contrasts that can be read in both schemes."""

import re
from collections.abc import Callable

import pytest

from hiresnn.report.charts import DARK, LIGHT, SERIES, heat_style

SCHEMES = {"light": LIGHT, "dark": DARK}
Contrast = Callable[[str, str], float]


def colours(percent: float) -> list[str]:
    """Background and text in the light scheme, then in the dark scheme."""
    return re.findall("#[0-9a-f]{6}", heat_style(percent))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_text_has_a_contrast_of_at_least_four_and_a_half(scheme: str, contrast: Contrast) -> None:
    scheme_colours = SCHEMES[scheme]
    pairs = [(text, back) for text in ("ink", "muted", "accent") for back in ("page", "surface", "sunken")]
    pairs += [(verdict, f"{verdict}-back") for verdict in ("good", "unsure", "bad")]
    assert {
        pair: found for pair in pairs if (found := contrast(scheme_colours[pair[0]], scheme_colours[pair[1]])) < 4.5
    } == {}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_lines_have_a_contrast_of_at_least_three(scheme: str, contrast: Contrast) -> None:
    scheme_colours = SCHEMES[scheme]
    found = [contrast(scheme_colours[f"series-{number}"], scheme_colours["surface"]) for number in range(SERIES)]
    assert min(found) >= 3


def test_text_on_every_heat_shade_can_be_read_in_both_schemes(contrast: Contrast) -> None:
    for tenth in range(1001):
        light, light_text, dark, dark_text = colours(tenth / 10)
        assert contrast(light, light_text) >= 4.5
        assert contrast(dark, dark_text) >= 4.5


@pytest.mark.parametrize(("percent", "light"), [(0, "#7d1d07"), (12.5, "#a33a19"), (25, "#c9562b"), (100, "#fdf8f2")])
def test_heat_shades_are_interpolated_between_the_stops(percent: float, light: str) -> None:
    # 12.5 is half way: (7d + c9) / 2 = a3, (1d + 56) / 2 = 39.5 -> 3a (to even), (07 + 2b) / 2 = 19.
    assert colours(percent)[0] == light
