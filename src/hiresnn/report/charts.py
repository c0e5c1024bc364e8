"""Line charts as inline SVG, drawn by hand: no script, no image, colours from the page's custom properties.

Lines differ by colour, by marker and by dash, so that none of the three is needed. Text is for readers of the page;
a screen reader gets the title and the description, and the table beside the chart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hiresnn.report.axes import Axis, Frame
from hiresnn.report.palette import SERIES

DASHES = ("", "7 4", "2 3", "9 3 2 3")
# Around (0, 0), about nine units wide.
MARKERS = (
    "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z",
    "M-3.6,-3.6h7.2v7.2h-7.2z",
    "M0,-4.8L4.6,3.4H-4.6z",
    "M0,-5L5,0L0,5L-5,0z",
    "M0,4.8L4.6,-3.4H-4.6z",
    "M-4.6,-1.4h3.2v-3.2h2.8v3.2h3.2v2.8h-3.2v3.2h-2.8v-3.2h-3.2z",
    "M-5,-3h10v6h-10z",
)


@dataclass(frozen=True)
class Dot:
    """One measured value, its interval where it has one, and what the pointer reads over it."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    told: str = ""


@dataclass(frozen=True)
class Series:
    """One line. Its number in the chart decides colour, marker and dash."""

    name: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Size:
    """Width and height of the drawing; text is 12 units high, so a drawing of 350 fits a phone."""

    width: int
    height: int

    @property
    def frame(self) -> Frame:
        """What is left for the data beside the labels."""
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
    """One chart.

    Args:
        series: lines, the most important first: it is drawn last, on top.
        x, y: the axes; a label says the unit.
        key: what the ids of this drawing begin with; unique in its page.
        title, description: for a screen reader.
        size: of the drawing.
        mark: a value of x that a vertical line marks, and the text above it.
        kind: a further class for the style sheet.
    """
    frame = size.frame
    parts = [_grid(frame, x, y, size), _mark(frame, x, mark) if mark else Markup("")]
    order = list(enumerate(series))[::-1]
    parts += [_band(frame, x, y, number, line) for number, line in order]
    parts += [_line(frame, x, y, number, line) for number, line in order]
    return Markup(
        '<svg class="chart {kind}" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{key}-title {key}-desc">'
        '<title id="{key}-title">{title}</title><desc id="{key}-desc">{desc}</desc>{parts}</svg>'
    ).format(
        kind=kind,
        w=size.width,
        h=size.height,
        key=key,
        title=title,
        desc=description,
        parts=Markup("").join(parts),
    )


def legend(series: Sequence[Series]) -> Markup:
    """The names of the lines that have dots, each beside a piece of its line.

    HTML, which wraps on a phone as a drawing cannot.
    """
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


def units(value: float) -> str:
    """A coordinate, to a hundredth of a unit."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _dash(number: int) -> Markup:
    dash = DASHES[number % len(DASHES)]
    return Markup(' stroke-dasharray="{}"').format(dash) if dash else Markup("")


def _grid(frame: Frame, x: Axis, y: Axis, size: Size) -> Markup:
    parts = []
    for value, text in y.ticks:
        at = units(frame.y(value, y))
        parts.append(
            Markup(
                '<line x1="{}" x2="{}" y1="{at}" y2="{at}"/><text x="{}" y="{at}" dy="4" text-anchor="end">{}</text>'
            ).format(units(frame.left), units(frame.right), units(frame.left - 8), text, at=at)
        )
    for value, text in x.ticks:
        at = units(frame.x(value, x))
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(at, units(frame.bottom + 18), text)
        )
    middle = units((frame.top + frame.bottom) / 2)
    parts.append(
        Markup(
            '<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>'
            '<text class="label" x="13" y="{m}" text-anchor="middle" transform="rotate(-90 13 {m})">{}</text>'
        ).format(units((frame.left + frame.right) / 2), units(size.height - 8), x.label, y.label, m=middle)
    )
    return Markup('<g class="grid">{}</g>').format(Markup("").join(parts))


def _mark(frame: Frame, x: Axis, mark: tuple[float, str]) -> Markup:
    at = frame.x(mark[0], x)
    # At the right edge a text in the middle of its line would leave the drawing.
    anchor = "end" if frame.right - at < 30 else "middle"
    return Markup(
        '<g class="mark"><line x1="{at}" x2="{at}" y1="{}" y2="{}"/>'
        '<text x="{at}" y="{}" text-anchor="{}">{}</text></g>'
    ).format(units(frame.top), units(frame.bottom), units(frame.top - 6), anchor, mark[1], at=units(at))


def _band(frame: Frame, x: Axis, y: Axis, number: int, line: Series) -> Markup:
    known = [(dot.x, dot.low, dot.high) for dot in line.dots if dot.low is not None and dot.high is not None]
    if not known:
        return Markup("")
    upper = [f"{units(frame.x(at, x))},{units(frame.y(high, y))}" for at, _, high in known]
    lower = [f"{units(frame.x(at, x))},{units(frame.y(low, y))}" for at, low, _ in reversed(known)]
    return Markup('<polygon class="band s{}" points="{}"/>').format(number % SERIES, " ".join(upper + lower))


def _line(frame: Frame, x: Axis, y: Axis, number: int, line: Series) -> Markup:
    places = [(units(frame.x(dot.x, x)), units(frame.y(dot.y, y))) for dot in line.dots]
    # A marker at each of a hundred epochs would be a worm: then every few, the last one always.
    every = max(1, -(-len(places) // 12))
    marker = MARKERS[number % len(MARKERS)]
    dots = [
        Markup('<path class="dot" d="{}" transform="translate({} {})"><title>{}</title></path>').format(
            marker, *place, dot.told or f"{line.name}: {dot.y:.4g}"
        )
        for index, (place, dot) in enumerate(zip(places, line.dots, strict=True))
        if (len(places) - 1 - index) % every == 0
    ]
    return Markup('<g class="s{}"><polyline class="line" points="{}"{}/>{}</g>').format(
        number % SERIES, " ".join(",".join(place) for place in places), _dash(number), Markup("").join(dots)
    )
