"""Heat-map cells: louder where more broke, and always readable."""

from collections.abc import Callable

import pytest

from hiresnn.report.heat import shade


def test_text_is_readable_on_every_shade_in_both_schemes(contrast: Callable[[str, str], float]) -> None:
    for tenth in range(1001):
        found = shade(tenth / 10)
        assert contrast(found.light, found.light_text) >= 4.5
        assert contrast(found.dark, found.dark_text) >= 4.5


@pytest.mark.parametrize(("percent", "light"), [(0, "#7d1d07"), (12.5, "#a33a19"), (25, "#c9562b"), (100, "#fdf8f2")])
def test_shades_lie_between_the_stops(percent: float, light: str) -> None:
    # 12.5 is half of the way: (7d + c9) / 2 = a3, (1d + 56) / 2 = 39.5 -> 3a (to even), (07 + 2b) / 2 = 19.
    assert shade(percent).light == light


def test_cells_stand_out_from_the_page_the_more_broke(contrast: Callable[[str, str], float]) -> None:
    light = [contrast(shade(percent).light, "#ffffff") for percent in range(0, 101, 5)]
    dark = [contrast(shade(percent).dark, "#1b1f24") for percent in range(0, 101, 5)]
    assert light == sorted(light, reverse=True)
    assert dark == sorted(dark, reverse=True)


def test_values_outside_the_range_are_the_nearest_end() -> None:
    assert (shade(-3), shade(104)) == (shade(0), shade(100))
