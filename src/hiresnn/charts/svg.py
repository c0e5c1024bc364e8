"""Line charts as inline SVG, without scripts or images; colours come from the style sheet of the page.

Lines differ by colour, marker and dash, so that no reader depends on colour. Screen readers read the title and the
description; the page repeats all values in a table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hiresnn.charts.axes import Axis
from hiresnn.charts.palette import SERIES

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


@dataclass(frozen=True)
class Dot:
    """One point of a line, with its interval where it has one, and the text shown when the pointer is over it."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    hover: str = ""


@dataclass(frozen=True)
class Series:
    """One line. Its position in the chart decides colour, marker and dash."""

    name: str
    dots: tuple[Dot, ...]

    @property
    def marked(self) -> Sequence[Dot]:
        """The points that get a marker: every few of them, counted from the last."""
        every = max(1, math.ceil(len(self.dots) / MOST_MARKERS))
        return self.dots[::-1][::every][::-1]


@dataclass(frozen=True)
class Chart:
    """The frame of a line chart.

    Attributes:
        x, y: the axes, labelled with their units.
        title, description: read by screen readers.
        width, height: of the drawing; a width of 350 units suits a phone.
        mark: an x value with a vertical line, and the text above the line.
    """

    x: Axis
    y: Axis
    title: str
    description: str
    width: int
    height: int
    mark: tuple[float, str] | None = None

    def draw(self, series: Sequence[Series], key: str, kind: str = "") -> Markup:
        """Draw lines with bands for their intervals.

        Args:
            series: the most important line first; it is drawn on top of the others.
            key: prefix of the ids in this drawing, unique in its page.
            kind: an additional class for the style sheet.
        """
        edges = {"left": LEFT, "top": TOP, "right": self.width - RIGHT, "bottom": self.height - BOTTOM}
        lines = list(enumerate(series))[::-1]
        return _rendered("line_chart.svg", chart=self, lines=lines, key=key, kind=kind, **edges)

    def at_x(self, value: float) -> str:
        """Horizontal coordinate of a value."""
        return _units(LEFT + self.x.share(value) * (self.width - LEFT - RIGHT))

    def at_y(self, value: float) -> str:
        """Vertical coordinate of a value; y grows downward."""
        return _units(self.height - BOTTOM - self.y.share(value) * (self.height - TOP - BOTTOM))

    def outline(self, line: Series) -> str:
        """Corners of the band around a line: along the upper ends of its intervals, and back along the lower ends."""
        known = [(dot.x, dot.low, dot.high) for dot in line.dots if dot.low is not None and dot.high is not None]
        corners = [(x, high) for x, _, high in known] + [(x, low) for x, low, _ in reversed(known)]
        return " ".join(f"{self.at_x(x)},{self.at_y(y)}" for x, y in corners)


def legend(series: Sequence[Series]) -> Markup:
    """The legend of a line chart as an HTML list, which wraps on narrow screens; lines without points are left out."""
    return _rendered("legend.html", series=series)


def _units(value: float) -> str:
    """A coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


@cache
def templates_of(package: str) -> Environment:
    """Reads the templates of a package, which escape what is inserted and refuse a name that they are not given."""
    loader = PackageLoader(package)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _rendered(template: str, **values: Any) -> Markup:
    look = {"dashes": DASHES, "markers": MARKERS, "colours": SERIES}
    return Markup(templates_of("hiresnn.charts").get_template(template).render(**look, **values))
