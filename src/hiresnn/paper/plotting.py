"""Figures for print: one style, error bars over seeds, the paper's points as reference, saved as SVG, PNG and PDF.

matplotlib is loaded when a figure is made; it is the extra `paper`. How things look is in `styles`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hiresnn.errors import UsageError
from hiresnn.paper.stat import Stat
from hiresnn.paper.styles import PAPER, RC, STYLES, Style
from hiresnn.runs.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "STYLES",
    "Style",
    "bars",
    "figure",
    "label",
    "legend",
    "level",
    "line",
    "logarithmic",
    "outside",
    "paper_points",
    "save",
]

FULL_WIDTH, HALF_WIDTH = 6.9, 3.4
"""Inches: both columns and one column of the paper's page."""


def figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float = HALF_WIDTH,
    height: float = 2.5,
    share_y: bool = False,
    widths: Sequence[float] | None = None,
) -> tuple[Figure, list[Axes]]:
    """An empty figure of `rows` x `columns` panels, row by row; sizes in inches, `widths` relative.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with _style():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        drawn = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawn)
        grid = drawn.subplots(rows, columns, sharey=share_y, squeeze=False, width_ratios=widths)
        return drawn, [axes for row in grid for axes in row]


def label(axes: Axes, *, x: str, y: str, title: str = "") -> None:
    """Name the axes, with their units, and the panel."""
    with _style():
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.set_title(title, loc="left")


def line(axes: Axes, x: Sequence[float], stats: Sequence[Stat], style: Style) -> None:
    """A line through the means over seeds, with the sample standard deviation as error bars where there are seeds."""
    with _style():
        spread = [stat.deviation or 0.0 for stat in stats] if any(stat.deviation for stat in stats) else None
        axes.errorbar(
            x, [stat.mean for stat in stats], yerr=spread, label=style.words, color=style.colour, marker=style.marker,
            linestyle=style.dash, markersize=4, linewidth=1.3, capsize=2, elinewidth=0.9,
        )  # fmt: skip


def logarithmic(axes: Axes, which: str, ticks: Sequence[float] | None = None) -> None:
    """Make the axis "x" or "y" logarithmic, with plain numbers at 1, 2 and 5 of each decade.

    Or at `ticks`, rising, those left out that come too close behind another to be read.
    """
    with _style():
        from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

        axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
        axes.set(**{f"{which}scale": "log"})
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)) if ticks is None else FixedLocator(_legible(ticks)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def level(axes: Axes, y: float, style: Style) -> None:
    """A dotted horizontal line for a value that does not depend on x."""
    with _style():
        axes.axhline(y, label=style.words, color=style.colour, linestyle=":", linewidth=1.2)


def paper_points(axes: Axes, x: Sequence[float], y: Sequence[float | None], style: Style) -> None:
    """What the paper prints for a line: hollow stars in its colour, where there is a value."""
    known = [(at, value) for at, value in zip(x, y, strict=True) if value is not None]
    if known:
        with _style():
            axes.plot(
                *zip(*known, strict=True), label=PAPER, color=style.colour, marker="*", markersize=9, linestyle="none",
                markerfacecolor="white", markeredgewidth=0.9, zorder=5,
            )  # fmt: skip


def bars(
    axes: Axes,
    groups: Sequence[str],
    series: Sequence[tuple[Style, Sequence[Stat | None]]],
    *,
    paper: Sequence[Sequence[float | None]] = (),
    digits: int | None = None,
) -> None:
    """Groups of bars side by side, with error bars over seeds.

    Args:
        axes: where.
        groups: a name a group, below it.
        series: the bars of every group, a style and its values in the order of the groups; None leaves a gap.
        paper: the paper's value of each bar, in the order of `series`, as stars.
        digits: decimals of the value that stands above each bar; None writes none.
    """
    with _style():
        width = 0.8 / len(series)
        for number, (style, stats) in enumerate(series):
            offset = (number - (len(series) - 1) / 2) * width
            at = [group + offset for group in range(len(groups))]
            means = [math.nan if stat is None else stat.mean for stat in stats]
            axes.bar(
                at, means, width * 0.94, label=style.words, color=style.colour, edgecolor="white", hatch=style.hatch,
                linewidth=0,
            )  # fmt: skip
            spreads = [(x, stat.mean, stat.deviation) for x, stat in zip(at, stats, strict=True) if stat]
            for x, mean, deviation in spreads:
                if deviation is not None:
                    axes.errorbar(x, mean, yerr=deviation, color="#333333", capsize=2, elinewidth=0.9)
                if digits is not None:
                    top = mean + (deviation or 0.0)
                    axes.annotate(
                        f"{mean:,.{digits}f}", (x, top), (0, 2), textcoords="offset points", ha="center",
                        va="bottom", fontsize=6.5, zorder=5,
                        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},  # over a line of reference
                    )  # fmt: skip
            if number < len(paper):
                paper_points(axes, at, paper[number], replace(style, colour="#000000"))
        axes.set_xticks(range(len(groups)), groups)
        axes.tick_params(axis="x", length=0)


def legend(axes: Axes, **options: Any) -> None:
    """The names inside one panel, each once."""
    with _style():
        handles, names = _named([axes])
        axes.legend(handles, names, **options)


def outside(drawn: Figure, *, columns: int) -> None:
    """The names of all panels, each once, above the figure."""
    with _style():
        handles, names = _named(drawn.axes)
        drawn.legend(handles, names, loc="outside upper center", ncols=columns)


def save(drawn: Figure, stem: Path) -> list[Path]:
    """Write `stem`.svg, .png (300 dots an inch) and .pdf, without times, so that equal figures are equal bytes.

    Raises RunError where a file cannot be written.
    """
    without: dict[str, dict[str, Any]] = {
        "svg": {"Date": None},
        "png": {"Software": None},
        "pdf": {"CreationDate": None},
    }
    written = []
    for kind, metadata in without.items():
        buffer = io.BytesIO()
        with _style():
            drawn.savefig(buffer, format=kind, metadata=metadata)
        path = stem.with_name(f"{stem.name}.{kind}")
        write_atomically(path, buffer.getvalue())
        written.append(path)
    return written


def _named(panels: Sequence[Axes]) -> tuple[list[Any], list[str]]:
    """Handles and names, each name once; the paper's points last, in black, whatever line they belong to."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    if PAPER in found:
        from matplotlib.lines import Line2D

        del found[PAPER]
        found[PAPER] = Line2D(
            [], [], color="#000000", marker="*", markersize=8, linestyle="none", markerfacecolor="white",
            markeredgewidth=0.9,
        )  # fmt: skip
    return list(found.values()), list(found)


def _legible(ticks: Sequence[float]) -> list[float]:
    kept: list[float] = []
    for tick in ticks:
        if not kept or tick >= 1.4 * kept[-1]:
            kept.append(tick)
    return kept


@contextmanager
def _style() -> Iterator[None]:
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise UsageError(
            "figures are drawn with matplotlib, which is not installed: pip install -e '.[paper]' in the checkout."
        ) from None
    with matplotlib.rc_context(RC):
        yield
