"""Colours of the pages, light and dark, as data: the style sheet is made of it, and a test reads its contrasts.

Lines take the colours of Okabe and Ito (2008), which the colour-blind can tell apart; where one of them falls below
3:1 on its background, that scheme has a darker or lighter cousin. Contrast is that of WCAG 2: 1 to 21.
"""

from __future__ import annotations

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
    "series-0": "#d55e00",
    "series-1": "#0072b2",
    "series-2": "#009e73",
    "series-3": "#555b63",
    "series-4": "#b45f9a",
    "series-5": "#a87200",
}
"""Name -> sRGB, for paper and for screens that ask for light."""

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
    "series-1": "#56b4e9",
    "series-2": "#12b886",
    "series-3": "#c3c9d1",
    "series-4": "#cc79a7",
    "series-5": "#e69f00",
}
"""The same names for screens that ask for dark."""

SERIES = 6
"""Number of line colours, series-0 to series-5."""

HEAT_LIGHT = ("#7d1d07", "#c9562b", "#f0a878", "#fbe3d0", "#fdf8f2")
HEAT_DARK = ("#ffb59a", "#d0673f", "#8a4128", "#4a2c22", "#272a2f")
"""Backgrounds of heat-map cells at 0, 25, 50, 75 and 100 percent left: the more an attack broke, the louder."""


def variables(colours: dict[str, str]) -> str:
    """Declarations of CSS custom properties, one a colour."""
    return "".join(f"--{name}:{value};" for name, value in colours.items())


def channels(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of "#rrggbb", 0 to 255."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def luminance(colour: str) -> float:
    """Relative luminance of "#rrggbb" (WCAG 2), 0 to 1."""
    shares = [value / 255 for value in channels(colour)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, 1 to 21.

    >>> round(contrast("#000000", "#ffffff"), 6), contrast("#777777", "#777777")
    (21.0, 1.0)
    """
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
