"""Curves of accuracy in each box, and how accuracies are drawn: as bars, one panel, or a row of panels per network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hiresnn.paper.accuracy_page import Curve, Decision, Pair, Row, Values, printed_accuracy
from hiresnn.paper.labels import ATTACK_LABELS, ATTACKS, BOX_LABELS, PANEL_LABELS, network_label
from hiresnn.paper.measurements import BOXES, Measurement
from hiresnn.paper.seedstat import SeedStat, points

MEASURED = ("accuracy (%)",)
LEVEL = 1.0
"""Percentage points of a change in Fig. 4, 8a and 8b that count as none."""
Draw = Callable[[Any, Values], Any]
"""Draws a figure from `hiresnn.charts.print` and the values."""
Bars = Mapping[str, Mapping[tuple[str | None, str], Pair]]
"""Method -> attack and box -> bar; the first method has every group."""
Curves = dict[str, list[Curve]]
"""Box -> its curves, the clean one first."""
At = Callable[[str | None, str], Mapping[float, Measurement]]
"""Attack and box -> swept value -> accuracy."""


def boxes_of(at: At, printed_at: At) -> Curves:
    """In each box a curve on clean images and under each attack; `printed_at` names the paper's values."""

    def curve(attack: str | None, box: str) -> Curve:
        texts = ("none" if attack is None else BOX_LABELS[box], ATTACK_LABELS[attack])
        paper = {x: printed_accuracy(each) for x, each in printed_at(attack, box).items()}
        return Curve(texts, attack or "clean", at(attack, box), paper)

    return {box: [curve(attack, box) for attack in (None, *ATTACKS)] for box in BOXES}


def rows_of(curves: Curves) -> list[Row]:
    """The rows of a table: the clean curve once, the attacked ones for each box."""
    listed = [curve for box, found in curves.items() for curve in found if box == "white" or curve.style != "clean"]
    return [row for curve in listed for row in curve.rows()]


def each_attack(gains: Sequence[SeedStat]) -> str:
    """Gains under FGSM and PGD in words."""
    return ", ".join(f"{each.upper()} {points(gain)}" for each, gain in zip(ATTACKS, gains, strict=True)) + " points"


def every(condition: Callable[[float], bool]) -> Callable[[list[SeedStat]], Decision]:
    """Decides whether the means under all attacks meet a condition."""
    return lambda gains: (all(condition(gain.mean) for gain in gains), each_attack(gains))


def draw_bars(bars: Bars, digits: int | None = None) -> Draw:
    """A bar per method in each group, with the paper's values as stars."""

    def draw(charts: Any, values: Values) -> Any:
        drawn, (axes,) = charts.figure(width=charts.FULL_WIDTH, height=2.8)
        groups = list(next(iter(bars.values())))
        series, stars = [], []
        for method, found in bars.items():
            cells = [found.get(group, (None, None)) for group in groups]
            stats = [None if ours is None else values.read(ours) for _, ours in cells]
            series.append((charts.STYLES[method], stats))
            stars.append([paper for paper, _ in cells])
        twins = {box: PANEL_LABELS[box].replace(", ", ",\n").replace("independent", "indep.") for box in BOXES}
        names = [f"{ATTACK_LABELS[attack]}\n{twins[box]}" if attack else "clean" for attack, box in groups]
        charts.bars(axes, names, series, paper=stars, digits=digits)
        charts.label(axes, x="images", y="accuracy (%)")
        charts.outside(drawn, columns=5)
        return drawn

    return draw


def draw_lines(curves: Sequence[Curve], x: str, arrange: Callable[[Any, Any], None]) -> Draw:
    """Curves in one panel, whose axes `arrange` prepares."""

    def draw(charts: Any, values: Values) -> Any:
        drawn, (axes,) = charts.figure(height=2.6)
        arrange(charts, axes)
        for curve in curves:
            _line(charts, axes, curve, values)
        charts.label(axes, x=x, y="accuracy (%)")
        charts.legend(axes)
        return drawn

    return draw


def draw_panels(networks: Mapping[str, Curves], letters: str, x: str, arrange: Callable[[Any], object]) -> Draw:
    """A row of panels per network, one for each box; `letters` name the panels."""

    def draw(charts: Any, values: Values) -> Any:
        size = {"width": charts.FULL_WIDTH, "height": 0.5 + 2.1 * len(networks)}
        drawn, panels = charts.figure(len(networks), len(BOXES), share_y=True, **size)
        places = [(network, box) for network in networks for box in BOXES]
        for axes, letter, (network, box) in zip(panels, letters, places, strict=True):
            for curve in networks[network][box]:
                _line(charts, axes, curve, values)
            arrange(axes)
            y = f"{network_label(network)}\naccuracy (%)" if box == "white" else ""
            charts.label(axes, x=x, y=y, title=f"({letter}) {PANEL_LABELS[box]}")
        charts.outside(drawn, columns=4)
        return drawn

    return draw


def _line(charts: Any, axes: Any, curve: Curve, values: Values) -> None:
    """A line with error bars, and the paper's points; accuracy from 0 to 100 percent."""
    style = charts.STYLES[curve.style]
    charts.line(axes, list(curve.points), [values.read(each) for each in curve.points.values()], style)
    charts.paper_points(axes, list(curve.paper), list(curve.paper.values()), style)
    axes.set_ylim(-2, 102)
