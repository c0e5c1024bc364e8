"""Line charts of pages as inline SVG, with their axes and colours.

matplotlib does not write them: pages load nothing, follow the colours of the system, and stay the same byte for byte.
Lines differ by colour, marker and dash, so that no reader depends on colour: the colours are those of Okabe and Ito
(2008), darker or lighter where their contrast (WCAG 2) is below 3:1. A table of the page repeats all values.
"""

import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hiresnn.progress import duration
from hiresnn.report import words
from hiresnn.version import __version__

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


def heat_style(percent: float) -> str:
    """Background and text colour of a heat-map cell in both schemes, as CSS custom properties.

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
    # By brightness (ITU-R BT.709, a gamma of 2.2).
    red, green, blue = (value / 255 for value in _channels(background))
    return "#000000" if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.179 else "#ffffff"


class Axis(NamedTuple):
    """A label with its unit, the visible range, and the ticks as (value, text)."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


def percent_axis(label: str) -> Axis:
    """The full range, so that charts can be compared."""
    return Axis(label, 0, 100, tuple((value, str(value)) for value in (0, 25, 50, 75, 100)))


def category_axis(label: str, names: Sequence[str]) -> Axis:
    """Ordered names at 0, 1, ..., with a margin at both ends."""
    return Axis(label, -0.25, max(len(names), 1) - 0.75, tuple(enumerate(names)))


def epoch_axis(last: int) -> Axis:
    """Epochs 1 to `last`; a single epoch is in the middle."""
    if last <= 1:
        return Axis("epoch", 0.5, 1.5, ((1, "1"),))
    step = max(1, math.ceil(_step(last - 1, 6)))
    # Epoch 1 gets a tick only where the next tick is far enough away for both texts.
    marks = [*([1] if step > 2 else []), *range(step, last + 1, step)]
    return Axis("epoch", 1, last, tuple((mark, str(mark)) for mark in marks))


def number_axis(label: str, values: Iterable[float], *, zero: bool = False, most: float = math.inf) -> Axis:
    """An axis from one round tick to another that holds all values, with `zero` also 0, and no more than `most`.

    >>> number_axis("loss", [0.31, 1.9], zero=True).ticks
    ((0.0, '0'), (0.5, '0.5'), (1.0, '1'), (1.5, '1.5'), (2.0, '2'))
    """
    held = [*values, *([0.0] if zero else [])] or [0.0, 1.0]
    low, high = min(held), max(held)
    if math.isclose(low, high, abs_tol=1e-300):
        # One value gives no scale: use a tenth of it around the value, or 1 where it is 0 (which `zero` may pin).
        low, high = low - (0 if zero else abs(low) / 10 or 1), min(high + (abs(high) / 10 or 1), most)
    step = _step(high - low, 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # 95 * 0.01 is 0.9500000000000001, so a value of 0.95 would lie outside without rounding.
    marks = [float(f"{index * step:.12g}") for index in range(first, last + 1)]
    return Axis(label, marks[0], marks[-1], tuple((mark, f"{mark:.6g}") for mark in marks))


def _step(span: float, parts: int) -> float:
    """The round number (1, 2, 2.5 or 5 times a power of ten) that divides `span` into at most `parts` parts."""
    power = 10.0 ** math.floor(math.log10(span / parts))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power * parts >= span * (1 - 1e-9))


DASHES = ("", "7 4", "2 3", "9 3 2 3")
MARKERS = (  # outlines around (0, 0), about nine units wide
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "M-3.6,-3.6h7.2v7.2h-7.2z",
    "M0,-4.8L4.6,3.4H-4.6z",
    "M0,-5L5,0L0,5L-5,0z",
    "M0,4.8L4.6,-3.4H-4.6z",
    "M-4.6,-1.4h3.2v-3.2h2.8v3.2h3.2v2.8h-3.2v3.2h-2.8v-3.2h-3.2z",
    "M-5,-3h10v6h-10z",
)
MOST_DRAWN = 40  # lines in a chart, as many as differ in colour, marker or dash; the tables of a page show all
MOST_MARKERS = 12  # a line with more points has markers at some of them only, always at the last
LEFT, TOP, RIGHT, BOTTOM = 52, 20, 14, 46  # margins around the data; text is 12 units high


class Dot(NamedTuple):
    """One point of a line, with its interval where it has one; `hover` is shown when the pointer is over it."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    hover: str = ""


class Series(NamedTuple):
    """One line. Its position in the chart decides colour, marker and dash."""

    name: str
    dots: tuple[Dot, ...]

    @property
    def marked(self) -> Sequence[Dot]:
        every = max(1, math.ceil(len(self.dots) / MOST_MARKERS))
        return self.dots[::-1][::every][::-1]


class Chart(NamedTuple):
    """The frame of a line chart; title and description are read by screen readers."""

    x: Axis
    y: Axis
    title: str
    description: str
    width: int  # of the drawing; 350 units suit a phone
    height: int
    mark: tuple[float, str] | None = None  # an x value with a vertical line, and the text above the line

    def draw(self, series: Sequence[Series], key: str, kind: str = "") -> Markup:
        """Draw lines with bands for their intervals, the first on top; ids begin with `key`, unique in the page."""
        edges = {"left": LEFT, "top": TOP, "right": self.width - RIGHT, "bottom": self.height - BOTTOM}
        lines = list(enumerate(series))[::-1]
        template = templates().get_template("line_chart.svg")
        return Markup(template.render(chart=self, lines=lines, key=key, kind=kind, **edges))

    def at_x(self, value: float) -> str:
        return _units(LEFT + self.x.share(value) * (self.width - LEFT - RIGHT))

    def at_y(self, value: float) -> str:
        return _units(self.height - BOTTOM - self.y.share(value) * (self.height - TOP - BOTTOM))

    def outline(self, line: Series) -> str:
        """Corners of the band around a line: along the upper ends of its intervals, and back along the lower ends."""
        ends = [(dot.x, dot.low, dot.high) for dot in line.dots if dot.low is not None and dot.high is not None]
        corners = [(x, high) for x, _, high in ends] + [(x, low) for x, low, _ in reversed(ends)]
        return " ".join(f"{self.at_x(x)},{self.at_y(y)}" for x, y in corners)


def legend(series: Sequence[Series]) -> Markup:
    """The legend of a line chart as an HTML list, which wraps on narrow screens; lines without points are left out."""
    return Markup(templates().get_template("legend.html").render(series=series))


def _units(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


@cache
def templates() -> Environment:
    """The templates, which escape what is inserted and refuse a name that they are not given."""
    loader = PackageLoader("hiresnn.report")
    result = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters = (
        words.percent,
        words.change,
        words.bound,
        words.breakable,
        words.attack,
        words.with_labels,
        words.number,
        words.plain,
        duration,
    )
    result.filters |= {function.__name__: function for function in filters}
    result.globals |= {"dashes": DASHES, "markers": MARKERS, "colours": SERIES, "heat_style": heat_style}
    result.globals |= {"interval": words.interval, "missing": words.MISSING, "version": __version__}
    result.globals |= {"light": Markup(variables(LIGHT)), "dark": Markup(variables(DARK))}
    return result
