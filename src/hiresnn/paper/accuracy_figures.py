"""Figures 1c, 4, 8a and 8b as data: accuracies as bars and as curves over T, the bound and the iterations."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from hiresnn.paper import accuracy_page
from hiresnn.paper.accuracy_charts import LEVEL, MEASURED, boxes_of, draw_bars, draw_lines, draw_panels, every, rows_of
from hiresnn.paper.accuracy_page import AccuracyPage, Curve, Decision, Gain, Grid, Judgement, pair, printed_accuracy
from hiresnn.paper.accuracy_tables import has_twin
from hiresnn.paper.claims import claims, printed
from hiresnn.paper.labels import ATTACKS, BOX_LABELS, METHOD_LABELS, VGG5, VGG11, network_label, setting_notes, text
from hiresnn.paper.measurements import BOXES, Measurement, Run, accuracy
from hiresnn.paper.scales import Scale
from hiresnn.paper.seedstat import SeedStat, points

SWEPT = ("hire", "traditional")
"""Methods of Fig. 8; the paper draws the first."""


def fig1c(scale: Scale) -> AccuracyPage:
    """VGG11: the traditional SNN beside its ANN under each attack."""
    rows: list[accuracy_page.Row] = []
    directions: list[accuracy_page.Direction] = []
    bars: dict[str, dict[tuple[str | None, str], accuracy_page.Pair]] = {"ann": {}, "traditional": {}}
    for attack, box in ((attack, box) for box in BOXES for attack in ATTACKS):
        ann, snn = (accuracy(VGG11, method, attack, box) for method in bars)
        cells = [pair(ann), pair(snn), pair(Gain(snn, ann))]
        if not has_twin("ann", box):
            cells[0], cells[2] = (cells[0][0], None), (cells[2][0], None)
        bars["ann"][attack, box], bars["traditional"][attack, box] = cells[:2]
        rows.append(((BOX_LABELS[box], attack.upper()), cells))
        directions.append((f"{attack.upper()}, {BOX_LABELS[box]}, SNN over ANN", cells[2]))
    measured = (METHOD_LABELS["ann"], METHOD_LABELS["traditional"], "SNN minus ANN")
    notes = [*setting_notes(scale, [VGG11]), text("fig1c.source"), text("twins"), text("ann_twin")]
    grid = Grid(text("fig1c.caption"), ("box", "attack"), measured, rows)
    return AccuracyPage((VGG11,), [grid], notes, directions, draw_bars(bars, digits=1))


def fig4(scale: Scale) -> AccuracyPage:
    """The traditional VGG11 over T, each T trained by itself, and at the recipe's own T."""
    swept = sorted({*scale.timesteps, scale.recipe(Run(VGG11, "traditional", 0)).snn.timesteps})
    ends = {"fewest": swept[0], "most": swept[-1]}
    paper_steps = float(claims().setting.timesteps.vgg11)

    def at(attack: str | None, box: str, steps: int) -> Measurement:
        return accuracy(VGG11, "traditional", attack, box, (("snn.timesteps", str(steps)),))

    curves = boxes_of(
        lambda attack, box: {float(steps): at(attack, box, steps) for steps in swept},
        lambda attack, box: {paper_steps: accuracy(VGG11, "traditional", attack, box)},
    )

    def lower(found: list[SeedStat]) -> Decision:
        return found[0].mean < 0, f"{points(found[0])} points"

    notes: list[str | Judgement] = [*setting_notes(scale, (VGG11,)), text("twins")]
    notes.append(Judgement(text("fig4.clean", **ends), [curves["white"][0].fall], lower))
    for box, (_, *attacked) in curves.items():
        falls, small = [curve.fall for curve in attacked], every(lambda change: change <= LEVEL)
        notes.append(Judgement(text("fig4.attacked", **ends), falls, small, BOX_LABELS[box]))
    caption = text("fig4.caption", network=network_label(VGG11))
    grid = Grid(caption, ("attacker", "images", "T"), MEASURED, rows_of(curves))
    ticks = sorted({*map(float, swept), paper_steps})
    draw = draw_panels({VGG11: curves}, "abc", "timesteps T", lambda axes: axes.set_xticks(ticks))
    return AccuracyPage((VGG11,), [grid], notes, figure=draw)


def fig8a(scale: Scale) -> AccuracyPage:
    """VGG5 under white-box PGD over the bound; K and alpha / eps stay."""
    attack = scale.recipe(Run(VGG5, "hire", 0)).attack
    bounds: dict[float, str | None] = {0.0: None, round(255 * attack.eps, 6): "pgd"}
    bounds |= {_level(eps): f"pgd:eps={eps}" for eps in scale.eps}
    levels = {method: {at: accuracy(VGG5, method, bounds[at]) for at in sorted(bounds)} for method in SWEPT}
    hire = list(levels["hire"].values())

    def falls(changes: list[SeedStat]) -> Decision:
        most = max(change.mean for change in changes)
        return most <= LEVEL, f"the largest change from one bound to the next is {most:+.1f} points"

    def vanishes(found: list[SeedStat]) -> Decision:
        return found[0].mean <= LEVEL, f"{found[0].mean:.1f} % is left at {max(bounds):g}/255, the largest bound here"

    def arrange(charts: Any, axes: Any) -> None:
        axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.6)
        axes.set_xticks(sorted(bounds), [f"{x:g}" for x in sorted(bounds)])
        axes.minorticks_off()

    changes = [Gain(later, earlier) for earlier, later in itertools.pairwise(hire)]
    notes: list[str | Judgement] = [
        text("fig8.alpha", ratio=attack.step / attack.eps),
        text("swept"),
        Judgement(text("fig8.falls", level=LEVEL), changes, falls),
        Judgement(text("fig8.vanishes", level=LEVEL), hire[-1:], vanishes),
    ]
    printed_at = {0.0: None, _level(claims().setting.eps): "pgd"}
    return _fig8(scale, levels, printed_at, ("eps (1/255)", "PGD bound ε (1/255)"), notes, arrange)


def fig8b(scale: Scale) -> AccuracyPage:
    """VGG5 under white-box PGD after each number of iterations; eps and alpha are the recipe's."""
    counts = sorted({*scale.iterations, scale.recipe(Run(VGG5, "hire", 0)).attack.iterations})
    first, last = counts[0], counts[-1]
    one = Measurement("by-iteration", VGG5, attack=f"pgd:iterations={last}", grid=tuple(counts))
    left = {
        method: {float(count): replace(one, method=method, at=at) for at, count in enumerate(counts)}
        for method in SWEPT
    }
    hire = left["hire"]
    level_from = int(printed("fig8b", "levels_off_after") or 0)
    decides = level_from in counts and last > level_from

    def decreases(found: list[SeedStat]) -> Decision:
        words = f"{found[0].mean:.1f} % at K = {first}, {found[1].mean:.1f} % at K = {last}"
        return found[1].mean < found[0].mean, words

    def levels_off(found: list[SeedStat]) -> Decision:
        if not found:
            return None, f"this scale's K ends at {last}"
        return abs(found[0].mean) <= LEVEL, f"{points(found[0])} points from K = {level_from} to K = {last}"

    notes: list[str | Judgement] = [
        text("swept"),
        Judgement(text("fig8.decreases"), [hire[first], hire[last]], decreases),
        Judgement(
            text("fig8.level", after=level_from, level=LEVEL),
            [Gain(hire[last], hire[level_from])] if decides else [],
            levels_off,
        ),
    ]
    printed_at = {float(claims().setting.iterations): "pgd"}
    ticks = list(map(float, counts))
    return _fig8(
        scale,
        left,
        printed_at,
        ("K", "PGD iterations K"),
        notes,
        lambda charts, axes: charts.logarithmic(axes, "x", ticks),
    )


def _fig8(
    scale: Scale,
    swept: Mapping[str, Mapping[float, Measurement]],
    printed_at: Mapping[float, str | None],
    names: tuple[str, str],
    notes: Sequence[str | Judgement],
    arrange: Callable[[Any, Any], None],
) -> AccuracyPage:
    """A curve per method; `names` are those of the table's column and of the axis."""
    curves = []
    for method, measured in swept.items():
        paper = {at: printed_accuracy(accuracy(VGG5, method, attack)) for at, attack in printed_at.items()}
        curves.append(Curve((METHOD_LABELS[method],), method, measured, paper))
    rows = [row for curve in curves for row in curve.rows()]
    grid = Grid(text("fig8.caption", network=network_label(VGG5)), ("method", names[0]), MEASURED, rows)
    draw = draw_lines(curves, names[1], arrange)
    return AccuracyPage((VGG5,), [grid], [*setting_notes(scale, (VGG5,)), *notes], figure=draw)


def _level(eps: str) -> float:
    return round(float(255 * Fraction(eps)), 6)
