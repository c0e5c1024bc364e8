"""Line charts as inline SVG, without scripts or images; colours come from the style sheet of the page.

Lines differ by colour, marker and dash, so that no reader depends on colour. Screen readers read the title and the
description; the page repeats all values in a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hiresnn.charts.axes import Axis, Frame
from hiresnn.charts.palette import SERIES

DASHES = ("", "7 4", "2 3", "9 3 2 3")
"""Dash patterns of the lines, by number."""

MARKERS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "M-3.6,-3.6h7.2v7.2h-7.2z",
    "M0,-4.8L4.6,3.4H-4.6z",
    "M0,-5L5,0L0,5L-5,0z",
    "M0,4.8L4.6,-3.4H-4.6z",
    "M-4.6,-1.4h3.2v-3.2h2.8v3.2h3.2v2.8h-3.2v3.2h-2.8v-3.2h-3.2z",
    "M-5,-3h10v6h-10z",
)
"""Outlines around (0, 0), about nine units wide."""

MOST_MARKERS = 12
"""A line with more points has a marker at every few of them only, and at the last."""


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


@dataclass(frozen=True)
class Size:
    """Width and height of the drawing. Text is 12 units high, so a drawing 350 units wide suits a phone."""

    width: int
    height: int

    @property
    def frame(self) -> Frame:
        """The area left for data after the axis labels."""
        return Frame(left=52, top=20, right=self.width - 14, bottom=self.height - 46)


def line_chart(
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    key: str,
    title: str,
    description: str,
    size: Size,
    mark: tuple[float, str] | None = None,
    kind: str = "",
) -> Markup:
    """Draw lines over shared axes, with bands for their intervals.

    Args:
        series: lines, the most important first; it is drawn last, on top of the others.
        x, y: the axes, labelled with their units.
        key: prefix of the ids in this drawing, unique in its page.
        title, description: read by screen readers.
        size: of the drawing.
        mark: an x value with a vertical line, and the text above the line.
        kind: an additional class for the style sheet.
    """
    frame = size.frame
    parts = [_grid(frame, x, y, size), _mark(frame, x, mark) if mark else Markup("")]
    order = list(enumerate(series))[::-1]
    parts += [_band(frame, x, y, number, line) for number, line in order]
    parts += [_line(frame, x, y, number, line) for number, line in order]
    return Markup(
        '<svg class="{kind}" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{key}-title {key}-desc">'
        '<title id="{key}-title">{title}</title><desc id="{key}-desc">{desc}</desc>{parts}</svg>'
    ).format(
        kind=f"chart {kind}".strip(),
        w=size.width,
        h=size.height,
        key=key,
        title=title,
        desc=description,
        parts=Markup("").join(parts),
    )


def legend(series: Sequence[Series]) -> Markup:
    """The legend of a line chart as an HTML list, which wraps on narrow screens; lines without points are left out."""
    rows = [
        Markup(
            '<li><svg class="swatch" viewBox="0 0 36 14" aria-hidden="true"><g class="s{colour}">'
            '<path class="line" d="M1,7H35"{dash}/><path class="dot" d="{marker}" transform="translate(18 7)"/></g>'
            "</svg><span>{name}</span></li>"
        ).format(colour=number % SERIES, dash=_dash(number), marker=MARKERS[number % len(MARKERS)], name=line.name)
        for number, line in enumerate(series)
        if line.dots
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(rows))


def _units(value: float) -> str:
    """A coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _dash(number: int) -> Markup:
    dash = DASHES[number % len(DASHES)]
    return Markup(' stroke-dasharray="{}"').format(dash) if dash else Markup("")


def _grid(frame: Frame, x: Axis, y: Axis, size: Size) -> Markup:
    parts = []
    for value, text in y.ticks:
        at = _units(frame.y(value, y))
        parts.append(
            Markup(
                '<line x1="{}" x2="{}" y1="{at}" y2="{at}"/><text x="{}" y="{at}" dy="4" text-anchor="end">{}</text>'
            ).format(_units(frame.left), _units(frame.right), _units(frame.left - 8), text, at=at)
        )
    for value, text in x.ticks:
        at = _units(frame.x(value, x))
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(at, _units(frame.bottom + 18), text)
        )
    middle = _units((frame.top + frame.bottom) / 2)
    parts.append(
        Markup(
            '<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>'
            '<text class="label" x="13" y="{m}" text-anchor="middle" transform="rotate(-90 13 {m})">{}</text>'
        ).format(_units((frame.left + frame.right) / 2), _units(size.height - 8), x.label, y.label, m=middle)
    )
    return Markup('<g class="grid">{}</g>').format(Markup("").join(parts))


def _mark(frame: Frame, x: Axis, mark: tuple[float, str]) -> Markup:
    at = frame.x(mark[0], x)
    # At the right edge, a centred text would leave the drawing.
    anchor = "end" if frame.right - at < 30 else "middle"
    return Markup(
        '<g class="mark"><line x1="{at}" x2="{at}" y1="{}" y2="{}"/>'
        '<text x="{at}" y="{}" text-anchor="{}">{}</text></g>'
    ).format(_units(frame.top), _units(frame.bottom), _units(frame.top - 6), anchor, mark[1], at=_units(at))


def _band(frame: Frame, x: Axis, y: Axis, number: int, line: Series) -> Markup:
    known = [(dot.x, dot.low, dot.high) for dot in line.dots if dot.low is not None and dot.high is not None]
    if not known:
        return Markup("")
    upper = [f"{_units(frame.x(at, x))},{_units(frame.y(high, y))}" for at, _, high in known]
    lower = [f"{_units(frame.x(at, x))},{_units(frame.y(low, y))}" for at, low, _ in reversed(known)]
    return Markup('<polygon class="band s{}" points="{}"/>').format(number % SERIES, " ".join(upper + lower))


def _line(frame: Frame, x: Axis, y: Axis, number: int, line: Series) -> Markup:
    places = [(_units(frame.x(dot.x, x)), _units(frame.y(dot.y, y))) for dot in line.dots]
    every = max(1, -(-len(places) // MOST_MARKERS))
    marker = MARKERS[number % len(MARKERS)]
    dots = [
        Markup('<path class="dot" d="{}" transform="translate({} {})"><title>{}</title></path>').format(
            marker, *place, dot.hover or f"{line.name}: {dot.y:.4g}"
        )
        for index, (place, dot) in enumerate(zip(places, line.dots, strict=True))
        if (len(places) - 1 - index) % every == 0
    ]
    return Markup('<g class="s{}"><polyline class="line" points="{}"{}/>{}</g>').format(
        number % SERIES, " ".join(",".join(place) for place in places), _dash(number), Markup("").join(dots)
    )
