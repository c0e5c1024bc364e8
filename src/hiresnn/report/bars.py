"""Pairs of horizontal bars as inline SVG: what a layer does on clean images, and under attack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from hiresnn.report.axes import Frame, numbers
from hiresnn.report.charts import units

WIDTH = 400
ROW = 52
FRAME_LEFT, FRAME_RIGHT, TOP = 4, 346, 6


@dataclass(frozen=True)
class Pair:
    """A name, the value on clean images and the value under attack; both at least 0."""

    name: str
    clean: float
    attacked: float


def bar_pairs(pairs: Sequence[Pair], *, key: str, title: str, description: str, label: str) -> Markup:
    """One chart: each name on a line of its own, its two bars below it, values at their ends.

    Clean is plain, attacked is hatched, so that no colour is needed. `key` begins the ids, `label` names the axis and
    its unit. All bars share one scale, which begins at 0.
    """
    axis = numbers(label, [value for pair in pairs for value in (pair.clean, pair.attacked)], zero=True)
    bottom = TOP + ROW * len(pairs)
    frame = Frame(FRAME_LEFT, TOP, FRAME_RIGHT, bottom)
    parts = [
        Markup('<line x1="{at}" x2="{at}" y1="{}" y2="{}"/><text x="{at}" y="{}" text-anchor="{}">{}</text>').format(
            TOP, bottom, bottom + 16, "middle" if value else "start", text, at=units(frame.x(value, axis))
        )
        for value, text in axis.ticks
    ]
    parts.append(
        Markup('<text class="label" x="{}" y="{}" text-anchor="middle">{}</text>').format(
            units((FRAME_LEFT + FRAME_RIGHT) / 2), bottom + 36, label
        )
    )
    rows = [Markup('<g class="grid">{}</g>').format(Markup("").join(parts))]
    for number, pair in enumerate(pairs):
        top = TOP + ROW * number
        rows.append(Markup('<text class="name" x="{}" y="{}">{}</text>').format(FRAME_LEFT, top + 13, pair.name))
        for kind, value, below in (("clean", pair.clean, 19), ("attacked", pair.attacked, 34)):
            end = frame.x(value, axis)
            fill = Markup(' fill="url(#{}-hatch)"').format(key) if kind == "attacked" else Markup("")
            rows.append(
                Markup(
                    '<rect class="bar {kind}" x="{}" y="{y}" width="{}" height="13"{fill}/>'
                    '<text x="{}" y="{y}" dy="10.5">{}</text>'
                ).format(
                    FRAME_LEFT,
                    units(end - FRAME_LEFT),
                    units(end + 6),
                    f"{value:.3f}",
                    kind=kind,
                    y=top + below,
                    fill=fill,
                )
            )
    return Markup(
        '<svg class="chart bars" viewBox="0 0 {w} {h}" role="img" aria-labelledby="{key}-title {key}-desc">'
        '<title id="{key}-title">{title}</title><desc id="{key}-desc">{desc}</desc>'
        '<defs><pattern id="{key}-hatch" class="hatch" width="6" height="6" patternUnits="userSpaceOnUse">'
        '<rect width="6" height="6"/><path d="M-1,1L1,-1M0,6L6,0M5,7L7,5"/></pattern></defs>{rows}</svg>'
    ).format(w=WIDTH, h=bottom + 44, key=key, title=title, desc=description, rows=Markup("").join(rows))
