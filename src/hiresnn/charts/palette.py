"""Every colour of the package, and the look of each method, as data.

Lines and bars use the colours of Okabe and Ito (2008), which remain distinct for colour-blind readers. Where one of
them has a contrast (WCAG 2) below 3:1 on its background, that scheme uses a darker or lighter variant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

BLACK, GREY = "#000000", "#999999"
VERMILLION, ORANGE = "#d55e00", "#e69f00"
BLUE, SKY = "#0072b2", "#56b4e9"
GREEN, PURPLE = "#009e73", "#cc79a7"

SCHEMES = {
    "page": ("#faf9f6", "#14171b"),
    "surface": ("#ffffff", "#1b1f24"),
    "sunken": ("#f1efe9", "#252a31"),
    "ink": ("#1c1f23", "#e9e7e3"),
    "muted": ("#555b63", "#a9b0b9"),
    "rule": ("#d9d5cc", "#373d46"),
    "shade": ("#b9b4a8", "#000000"),
    "accent": ("#0b5c8f", "#8cc7f0"),
    "good": ("#0d5c3f", "#7fd6ad"),
    "good-back": ("#e3f3ea", "#17352a"),
    "unsure": ("#6b4a00", "#f0c766"),
    "unsure-back": ("#fbf0d3", "#3a2f14"),
    "bad": ("#97210f", "#ffa996"),
    "bad-back": ("#fdeae4", "#43211b"),
    "series-0": (VERMILLION, "#f0803c"),
    "series-1": (BLUE, SKY),
    "series-2": (GREEN, "#12b886"),
    "series-3": ("#555b63", "#c3c9d1"),
    "series-4": ("#b45f9a", PURPLE),
    "series-5": ("#a87200", ORANGE),
}
"""Name -> colour of a page in the light scheme (also in print) and in the dark scheme, as sRGB."""

LIGHT = {name: pair[0] for name, pair in SCHEMES.items()}
DARK = {name: pair[1] for name, pair in SCHEMES.items()}

SERIES = 6  # line colours, series-0 to series-5

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


def heat_style(percent: float) -> str:
    """The style attribute of a heat-map cell: background and text colour in both schemes, as CSS custom properties.

    Args:
        percent: accuracy under the attack; values outside 0 to 100 count as the nearest end.

    Example:
        >>> heat_style(0)
        '--lb:#7d1d07;--lt:#ffffff;--db:#ffb59a;--dt:#000000'
    """
    light, dark = _interpolated(HEAT_LIGHT, percent), _interpolated(HEAT_DARK, percent)
    return f"--lb:{light};--lt:{_text_on(light)};--db:{dark};--dt:{_text_on(dark)}"


def variables(colours: dict[str, str]) -> str:
    """CSS declarations of one custom property per colour."""
    return "".join(f"--{name}:{value};" for name, value in colours.items())


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _interpolated(stops: tuple[str, ...], percent: float) -> str:
    position = min(max(percent, 0.0), 100.0) / 100 * (len(stops) - 1)
    first = min(int(position), len(stops) - 2)
    pairs = zip(_channels(stops[first]), _channels(stops[first + 1]), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (position - first)):02x}" for a, b in pairs)


def _text_on(background: str) -> str:
    # By brightness (ITU-R BT.709, a gamma of 2.2); a test computes every contrast.
    red, green, blue = (value / 255 for value in _channels(background))
    return "#000000" if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.179 else "#ffffff"
