"""Curves of accuracy in each box, claims about gains, and how accuracies are drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from reproduction.accuracy_page import Curve, Decision, Gain, Judgement, Pair, Row, Values, printed_accuracy
from reproduction.labels import ATTACK_LABELS, ATTACKS, BOX_LABELS, PANEL_LABELS, network_label
from reproduction.measurements import BOXES, Measurement
from reproduction.page import UNCLEAR
from reproduction.seedstat import SeedStat, with_limits

MEASURED = ("accuracy (%)",)
LEVEL = 1.0
"""Percentage points of a change in Fig. 4, 8a and 8b that count as none."""
Words = Callable[[list[SeedStat]], str]
"""Gains in words."""
Group = tuple[str | None, str]
"""Attack and box."""
Bars = Mapping[str, Mapping[Group, Pair]]
"""Method -> attack and box -> bar; the first method has every group."""
Curves = dict[str, list[Curve]]
"""Box -> its curves, the clean one first."""
Arrange = Callable[[Any, Any, float], None]
"""Prepares the axes of a panel: `reproduction.charts`, the axes, the first x."""
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
    words = [f"{each.upper()} {with_limits(gain)}" for each, gain in zip(ATTACKS, gains, strict=True)]
    return ", ".join(words) + " points"


def above(gains: list[SeedStat], limit: float = 0.0, words: Words = each_attack) -> Decision:
    """Whether all gains are above a limit: no if one is clearly not, unclear if an interval contains it.

    Where a gain is missing, the others can refute the claim, but nothing can confirm it.
    """
    lows, highs = zip(*(gain.limits for gain in gains if gain.known), strict=True)
    return _decided(gains, min(lows) > limit, min(highs) <= limit), words(gains)


def at_most(gains: list[SeedStat], limit: float, words: Words = each_attack) -> Decision:
    """In the same way whether all gains are at most a limit."""
    lows, highs = zip(*(gain.limits for gain in gains if gain.known), strict=True)
    return _decided(gains, max(highs) <= limit, max(lows) > limit), words(gains)


def _decided(gains: list[SeedStat], holds: bool, refuted: bool) -> bool | str | None:
    if refuted:
        return False
    if not all(gain.known for gain in gains):
        return None
    return True if holds else UNCLEAR


def largest(found: list[SeedStat]) -> SeedStat:
    """The known one with the largest mean."""
    return max((gain for gain in found if gain.known), key=lambda gain: gain.mean)


def largest_gain(claim: str, gains: Mapping[str, Gain], paper: float, where: str) -> Judgement:
    """A claim of a gain "up to" a number: one of some named gains that is clearly above 0 is enough, the largest."""

    def decide(found: list[SeedStat]) -> Decision:
        clear = [gain for gain in found if gain.known and gain.limits[0] > 0]
        best = largest(clear or found)
        (low, high), words = best.limits, _named(best, found, gains)
        if low > 0:
            return True, words
        return _decided(found, False, high <= 0 and all(gain.known for gain in found)), words

    return Judgement(claim, list(gains.values()), decide, "", where, paper, largest, some=True)


def smallest_gain(
    claim: str, gains: Mapping[str, Gain], paper: float, where: str, of: str = "", limit: float = 0.0
) -> Judgement:
    """A claim that all of some named gains are above a limit; the one that is least clearly so is shown."""

    def worst(found: list[SeedStat]) -> SeedStat:
        known = [gain for gain in found if gain.known]
        refuting = [gain for gain in known if gain.limits[1] <= limit]
        return min(refuting or known, key=lambda gain: gain.limits[0])

    decide = partial(above, limit=limit, words=lambda found: _named(worst(found), found, gains))
    return Judgement(claim, list(gains.values()), decide, of, where, paper, worst, some=True)


def _named(gain: SeedStat, found: list[SeedStat], gains: Mapping[str, Gain]) -> str:
    missing = sum(not each.known for each in found)
    words = f"; {missing} of {len(found)} values are missing or may not be compared" if missing else ""
    return f"{with_limits(gain)} points ({list(gains)[found.index(gain)]}){words}"


def draw_bars(charts: Any, values: Values, bars: Bars, panels: Mapping[str, Sequence[Group]]) -> Any:
    """A panel for each title, under each other: groups of a bar per method, with the paper's values beside the bars."""
    size = {"width": charts.FULL_WIDTH, "height": 0.6 + 2.0 * len(panels)}
    drawn, places = charts.figure(len(panels), 1, **size)
    twins = {box: PANEL_LABELS[box].replace(", ", ",\n") for box in BOXES}
    for number, (axes, (title, groups)) in enumerate(zip(places, panels.items(), strict=True), start=1):
        series, stars = [], []
        for method, found in bars.items():
            cells = [found.get(group, (None, None)) for group in groups]
            stats = [None if ours is None else values.read(ours) for _, ours in cells]
            series.append((charts.STYLES[method], stats))
            stars.append([None if ours is None else paper for paper, ours in cells])  # no star without its bar
        names = [f"{ATTACK_LABELS[attack]}\n{twins[box]}" if attack else "clean" for attack, box in groups]
        charts.bars(axes, names, series, paper=stars, digits=1)
        axes.set_ylim(bottom=0)
        charts.label(axes, x="", y="accuracy (%)", title=title, panel=number if len(panels) > 1 else 0)
    charts.outside(drawn, columns=5)
    return drawn


def draw_lines(
    charts: Any, values: Values, curves: Sequence[Curve], x: str, arrange: Arrange, zoom: float = 0.0
) -> Any:
    """Curves in one panel; from x = `zoom` on again in a second one."""
    starts = (0.0, zoom) if zoom else (0.0,)
    drawn, panels = charts.figure(1, len(starts), width=charts.FULL_WIDTH if zoom else charts.HALF_WIDTH, height=2.6)
    for number, (axes, start) in enumerate(zip(panels, starts, strict=True), start=1):
        arrange(charts, axes, start)
        _focus(charts, axes, [stat for curve in curves for stat in _line(charts, axes, curve, values, start)])
        title = f"from K = {start:g} on, another y axis" if start else "all"
        charts.label(axes, x=x, y="accuracy (%)", **({"title": title, "panel": number} if zoom else {}))
    charts.outside(drawn, columns=3 if zoom else 2)
    return drawn


def draw_panels(
    charts: Any, values: Values, networks: Mapping[str, Curves], x: str, arrange: Callable[[Any], object]
) -> Any:
    """A row of panels per network: clean accuracy, then each box; every panel has its own y axis."""
    size = {"width": charts.FULL_WIDTH, "height": 0.6 + 2.1 * len(networks)}
    drawn, panels = charts.figure(len(networks), 1 + len(BOXES), **size)
    shown = [
        (network, title, curves)
        for network, found in networks.items()
        for title, curves in [("clean", found["white"][:1]), *((PANEL_LABELS[b], found[b][1:]) for b in BOXES)]
    ]
    for number, (axes, (network, title, curves)) in enumerate(zip(panels, shown, strict=True), start=1):
        _focus(charts, axes, [stat for curve in curves for stat in _line(charts, axes, curve, values)])
        arrange(axes)
        y = f"{network_label(network)}\naccuracy (%)" if title == "clean" else ""
        charts.label(axes, x=x, y=y, title=title, panel=number)
    charts.outside(drawn, columns=4)
    return drawn


def _focus(charts: Any, axes: Any, stats: list[SeedStat]) -> None:
    """Show the range of accuracies, which are never negative."""
    charts.focus(axes, stats)
    axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))


def _line(charts: Any, axes: Any, curve: Curve, values: Values, start: float = 0.0) -> list[SeedStat]:
    """Draw a line from x = `start` on, with error bars and the paper's points; returns what must be visible."""
    style = charts.STYLES[curve.style]
    stats = {at: values.read(each) for at, each in curve.points.items() if at >= start}
    paper = {at: value for at, value in curve.paper.items() if at >= start and value is not None}
    charts.line(axes, list(stats), list(stats.values()), style)
    charts.paper_points(axes, list(paper), list(paper.values()), style)
    return [*stats.values(), *(SeedStat.of([value]) for value in paper.values())]
