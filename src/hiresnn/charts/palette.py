"""Every colour of the package, and the look of each method, as data.

Lines and bars use the colours of Okabe and Ito (2008), which remain distinct for colour-blind readers. Where one of
them has a contrast below 3:1 on its background, that scheme uses a darker or lighter variant. Contrast is that of
WCAG 2, from 1 to 21.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

BLACK, GREY = "#000000", "#999999"
VERMILLION, ORANGE = "#d55e00", "#e69f00"
BLUE, SKY = "#0072b2", "#56b4e9"
GREEN, PURPLE = "#009e73", "#cc79a7"

LIGHT = {
    "page": "#faf9f6",
    "surface": "#ffffff",
    "sunken": "#f1efe9",
    "ink": "#1c1f23",
    "muted": "#555b63",
    "rule": "#d9d5cc",
    "accent": "#0b5c8f",
    "good": "#0d5c3f",
    "good-back": "#e3f3ea",
    "unsure": "#6b4a00",
    "unsure-back": "#fbf0d3",
    "bad": "#97210f",
    "bad-back": "#fdeae4",
    "series-0": VERMILLION,
    "series-1": BLUE,
    "series-2": GREEN,
    "series-3": "#555b63",
    "series-4": "#b45f9a",
    "series-5": "#a87200",
}
"""Colours of a page in the light scheme and in print, as sRGB."""

DARK = {
    "page": "#14171b",
    "surface": "#1b1f24",
    "sunken": "#252a31",
    "ink": "#e9e7e3",
    "muted": "#a9b0b9",
    "rule": "#373d46",
    "accent": "#8cc7f0",
    "good": "#7fd6ad",
    "good-back": "#17352a",
    "unsure": "#f0c766",
    "unsure-back": "#3a2f14",
    "bad": "#ffa996",
    "bad-back": "#43211b",
    "series-0": "#f0803c",
    "series-1": SKY,
    "series-2": "#12b886",
    "series-3": "#c3c9d1",
    "series-4": PURPLE,
    "series-5": ORANGE,
}
"""The same names in the dark scheme."""

SERIES = 6
"""Number of line colours, series-0 to series-5."""

HEAT_LIGHT = ("#7d1d07", "#c9562b", "#f0a878", "#fbe3d0", "#fdf8f2")
HEAT_DARK = ("#ffb59a", "#d0673f", "#8a4128", "#4a2c22", "#272a2f")
"""Backgrounds of heat-map cells at 0, 25, 50, 75 and 100 percent accuracy: the stronger the attack, the stronger."""


@dataclass(frozen=True)
class Style:
    """How one method or condition looks in print: its name in the legend, colour, marker, dash and bar hatching."""

    label: str
    colour: str
    marker: str = "o"
    dash: str = "-"
    hatch: str = ""

    def named(self, label: str) -> Style:
        """The same look under another name in the legend."""
        return replace(self, label=label)


STYLES = {
    "ann": Style("ANN", BLACK, "D", "-.", "...."),
    "rate": Style("rate-coded", SKY, "s", "--", "////"),
    "direct": Style("direct-coded", BLUE, "o", "-"),
    "traditional": Style("traditional", BLUE, "o", "-"),
    "noise-free": Style("periods, no noise", GREY, "v", ":", "...."),
    "gaussian": Style("Gaussian noise", ORANGE, "s", "--", "////"),
    "hire": Style("crafted noise (HIRE)", VERMILLION, "^", "-", "\\\\\\\\"),
    "clean": Style("clean", BLACK, "o", "-"),
    "fgsm": Style("FGSM", BLUE, "s", "-"),
    "pgd": Style("PGD", VERMILLION, "^", "-"),
}
"""Style of each method and condition, the same in every printed figure."""


@dataclass(frozen=True)
class Shade:
    """Background and text colour of one heat-map cell in both schemes, as "#rrggbb"."""

    light: str
    light_text: str
    dark: str
    dark_text: str

    @property
    def style(self) -> str:
        """The cell's style attribute: custom properties that the style sheet reads."""
        return f"--lb:{self.light};--lt:{self.light_text};--db:{self.dark};--dt:{self.dark_text}"


def shade(percent: float) -> Shade:
    """The shade of a heat-map cell.

    Args:
        percent: accuracy under the attack; values outside 0 to 100 get the shade of the nearest end.

    Example:
        >>> shade(0).light, shade(100).light
        ('#7d1d07', '#fdf8f2')
    """
    light, dark = _interpolated(HEAT_LIGHT, percent), _interpolated(HEAT_DARK, percent)
    return Shade(light, _text_on(light), dark, _text_on(dark))


def variables(colours: dict[str, str]) -> str:
    """CSS declarations of one custom property per colour."""
    return "".join(f"--{name}:{value};" for name, value in colours.items())


def contrast(one: str, other: str) -> float:
    """Contrast of two "#rrggbb" colours (WCAG 2), from 1 to 21.

    Example:
        >>> round(contrast("#000000", "#ffffff"), 6), contrast("#777777", "#777777")
        (21.0, 1.0)
    """
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    shares = [value / 255 for value in _channels(colour)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _interpolated(stops: tuple[str, ...], percent: float) -> str:
    position = min(max(percent, 0.0), 100.0) / 100 * (len(stops) - 1)
    first = min(int(position), len(stops) - 2)
    pairs = zip(_channels(stops[first]), _channels(stops[first + 1]), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (position - first)):02x}" for a, b in pairs)


def _text_on(background: str) -> str:
    # Pure black or pure white always reaches a contrast of sqrt(21) = 4.58; softer tones would not.
    return max("#000000", "#ffffff", key=lambda text: contrast(text, background))
