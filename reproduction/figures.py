"""Figures for print: one style, error bars over seeds, the paper's values beside ours. Colours are the package's."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from hiresnn.files import write_atomically
from hiresnn.report.charts import BLACK, BLUE, GREY, ORANGE, SKY, VERMILLION
from reproduction.statistics import SeedStat

__all__ = ["FULL_WIDTH", "HALF_WIDTH", "STYLES", "Style"]


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

FULL_WIDTH, HALF_WIDTH = 6.9, 3.4  # inches: two columns and one column of the paper's page
PAPER = "printed in the paper"
PANELS = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")
NOTE: Any = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}  # keeps small text legible over lines
STAR: Any = {"marker": "*", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 0.9, "linestyle": "none"}

LETTER = 0.055  # width of a letter of 7 points, in inches

matplotlib.style.use(Path(__file__).with_name("print.mplstyle"))


def figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = FULL_WIDTH,
    height: float = 2.5,
    share_y: bool = False,
    widths: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """An empty figure with `rows` x `columns` panels, listed row by row; `width` and `height` are in inches."""
    drawing = Figure(figsize=(width, height), layout="constrained")
    grid = drawing.subplots(rows, columns, sharey=share_y, squeeze=False, width_ratios=widths)
    return drawing, [axes for row in grid for axes in row]


def headline(drawing: Figure, title: str, about: str) -> None:
    """Write the title and, below it, what was measured, so that the figure can be read alone."""
    about = fill(about, round(drawing.get_figwidth() / LETTER))
    blank = "\n " * (1 + about.count("\n"))
    heading = drawing.suptitle(title + blank, x=0.01, ha="left", fontsize=8.5, fontweight="bold")
    note = drawing.axes[0].annotate(
        about, (0, 0), xycoords=heading, ha="left", va="bottom", fontsize=7, color="#444444", annotation_clip=False
    )
    note.set_in_layout(False)  # the blank lines of the title already reserve its space


def label(axes: Axes, *, x: str, y: str, title: str = "", panel: int = 0) -> None:
    """Name the axes, with units, and the panel; `panel` 1 puts "(i)" before the title, 2 puts "(ii)"."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(f"({PANELS[panel - 1]}) {title}".rstrip() if panel else title, loc="left")


def line(axes: Axes, x: Sequence[float], stats: Sequence[SeedStat], style: Style) -> None:
    """A line through the means, with the sample standard deviation as error bars where there are seeds."""
    spread = [stat.deviation or 0.0 for stat in stats] if any(stat.deviation for stat in stats) else None
    look: Any = {"color": style.colour, "marker": style.marker, "linestyle": style.dash}
    look |= {"markersize": 4, "linewidth": 1.3, "capsize": 2, "elinewidth": 0.9}
    axes.errorbar(x, [stat.mean for stat in stats], spread, label=style.label, **look)


def image(axes: Axes, pixels: Sequence[Any], *, title: str, panel: int) -> None:
    """Show an image [height][width][channel] with values from 0 to 255, without axes; one channel is grey."""
    grey = [[pixel[0] for pixel in row] for row in pixels] if len(pixels[0][0]) == 1 else pixels
    axes.imshow(grey, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    label(axes, x="", y="", title=title, panel=panel)


def logarithmic(axes: Axes, which: str, ticks: Sequence[float] = ()) -> None:
    """Make the axis "x" or "y" logarithmic, with plain numbers at 1, 2 and 5 of each decade.

    `ticks`, in increasing order, replace those; ticks too close to the previous one to be legible are left out.
    """
    legible: list[float] = []
    for tick in ticks:
        if not legible or tick >= 1.4 * legible[-1]:
            legible.append(tick)
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    axes.set(**{f"{which}scale": "log"})
    axis.set_major_locator(FixedLocator(legible) if legible else LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def focus(axes: Axes, stats: Sequence[SeedStat]) -> None:
    """Limit the y axis to the values of `stats` with their error bars, so that small differences are visible.

    An axis that does not start at 0 says so in the panel. The smallest range is 1, in units of the axis.
    """
    ends = [stat.mean + side * (stat.deviation or 0.0) for stat in stats if stat.known for side in (-1, 1)]
    if not ends:
        return
    low, high = min(ends), max(ends)
    margin = max(0.12 * (high - low), (1 - (high - low)) / 2)
    bottom = max(low - margin, 0.0) if low >= 0 else low - margin
    axes.set_ylim(bottom, high + margin)
    if bottom > 0:
        x, y = _free_corner(axes)
        look: Any = {"fontsize": 6, "color": "#444444", "zorder": 6, "bbox": NOTE, "xycoords": "axes fraction"}
        look |= {"textcoords": "offset points", "ha": "right" if x else "left", "va": "top" if y else "bottom"}
        axes.annotate(f"axis starts at {bottom:.3g}", (x, y), (4 - 8 * x, 4 - 8 * y), **look)


def _free_corner(axes: Axes) -> tuple[int, int]:
    """The corner (0 or 1 in x and y) with the fewest points of lines near it; the lower left one of equal ones."""
    axes.autoscale_view(scaley=False)  # limits are otherwise set when the figure is drawn
    to_panel = axes.transData + axes.transAxes.inverted()
    points = [point for curve in axes.lines for point in to_panel.transform(curve.get_xydata())]

    def near(corner: tuple[int, int]) -> int:
        return sum(abs(x - corner[0]) < 0.55 and abs(y - corner[1]) < 0.16 for x, y in points)

    return min([(0, 0), (1, 0), (0, 1), (1, 1)], key=near)


def level(axes: Axes, y: float, style: Style) -> None:
    """A dotted horizontal line for a value that does not depend on x."""
    axes.axhline(y, label=style.label, color=style.colour, linestyle=":", linewidth=1.2)


def paper_points(axes: Axes, x: Sequence[float], y: Sequence[float | None], style: Style, *, name: str = PAPER) -> None:
    """The paper's values for a line as hollow stars in its colour; our points remain visible inside them."""
    points = [(at, value) for at, value in zip(x, y, strict=True) if value is not None]
    if points:
        axes.plot(*zip(*points, strict=True), label=name, color=style.colour, zorder=1.9, **STAR)


def bars(
    axes: Axes,
    groups: Sequence[str],
    series: Sequence[tuple[Style, Sequence[SeedStat | None]]],
    *,
    paper: Sequence[Sequence[float | None]] = (),
    digits: int | None = None,
) -> None:
    """Groups of bars with error bars over seeds, and the paper's value of a bar as a star to its right.

    `series` and `paper` hold one value per group; None leaves a gap. `digits` writes the value above each bar.
    """
    slot = 0.8 / len(series)
    # Beside a star, the bar fills the left two thirds of its slot.
    width, shift = (0.64 * slot, -0.16 * slot) if paper else (0.94 * slot, 0.0)
    for number, (style, stats) in enumerate(series):
        centres = [group + (number - (len(series) - 1) / 2) * slot for group in range(len(groups))]
        places = [centre + shift for centre in centres]
        means = [math.nan if stat is None else stat.mean for stat in stats]
        look: Any = {"color": style.colour, "edgecolor": "white", "hatch": style.hatch, "linewidth": 0}
        axes.bar(places, means, width, label=style.label, **look)
        for x, stat in zip(places, stats, strict=True):
            if stat is not None and stat.deviation is not None:
                axes.errorbar(x, stat.mean, yerr=stat.deviation, color="#333333", capsize=2, elinewidth=0.9)
            if stat is not None and digits is not None:
                above: Any = {"textcoords": "offset points", "ha": "center", "va": "bottom", "zorder": 5}
                end = (x, stat.mean + (stat.deviation or 0.0))
                axes.annotate(f"{stat.mean:,.{digits}f}", end, (0, 2), fontsize=6.5, bbox=NOTE, **above)
        if number < len(paper):
            paper_points(axes, [centre + 0.34 * slot for centre in centres], paper[number], style)
    axes.set_xticks(range(len(groups)), groups)
    axes.tick_params(axis="x", length=0)


def outside(drawing: Figure, *, columns: int) -> None:
    """One legend for all panels below the figure: each name once, and the paper's values last, in black."""
    entries: dict[str, Any] = {}
    for axes in drawing.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(name, handle)
    for name in [name for name, handle in entries.items() if getattr(handle, "get_marker", str)() == STAR["marker"]]:
        del entries[name]
        entries[name] = Line2D([], [], color=BLACK, **STAR)
    drawing.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=columns)


def save(drawing: Figure, stem: Path, *, kinds: Sequence[str] = ("svg", "png", "pdf")) -> list[Path]:
    """Write `stem` with each ending in `kinds` (PNG at 300 dpi); returns the paths.

    The files hold no dates, so that equal figures are equal bytes.
    """
    undated: dict[str, Any] = {"svg": {"Date": None}, "png": {"Software": None}, "pdf": {"CreationDate": None}}
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in kinds]
    for kind, path in zip(kinds, paths, strict=True):
        buffer = io.BytesIO()
        drawing.savefig(buffer, format=kind, metadata=undated[kind])
        write_atomically(path, buffer.getvalue())
    return paths
