"""The colour of a heat-map cell, and of the text on it, in both schemes."""

from __future__ import annotations

from dataclasses import dataclass

from hiresnn.report.palette import HEAT_DARK, HEAT_LIGHT, channels, contrast


@dataclass(frozen=True)
class Shade:
    """Background and text of one cell, light and dark, as "#rrggbb"."""

    light: str
    light_text: str
    dark: str
    dark_text: str

    @property
    def style(self) -> str:
        """The cell's style attribute: custom properties that the style sheet picks from."""
        return f"--lb:{self.light};--lt:{self.light_text};--db:{self.dark};--dt:{self.dark_text}"


def shade(percent: float) -> Shade:
    """The shade of a cell where `percent` of the images stand; values outside 0 to 100 count as the nearest end.

    >>> shade(0).light, shade(100).light
    ('#7d1d07', '#fdf8f2')
    """
    light, dark = _between(HEAT_LIGHT, percent), _between(HEAT_DARK, percent)
    return Shade(light, _text_on(light), dark, _text_on(dark))


def _between(stops: tuple[str, ...], percent: float) -> str:
    place = min(max(percent, 0.0), 100.0) / 100 * (len(stops) - 1)
    first = min(int(place), len(stops) - 2)
    pairs = zip(channels(stops[first]), channels(stops[first + 1]), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (place - first)):02x}" for a, b in pairs)


def _text_on(background: str) -> str:
    # One of the two always reaches sqrt(21) = 4.58, on the worst grey; softer blacks and whites would not.
    return max("#000000", "#ffffff", key=lambda text: contrast(text, background))
