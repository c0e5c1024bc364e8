"""Figures 1c, 4, 8a, 8b, 9 and 10b-e as data: accuracies as bars and as curves over a swept quantity."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from hiresnn.paper.accuracy_charts import Bars, Curves, draw_bars, draw_lines, draw_panels
from hiresnn.paper.accuracy_page import (
    AccuracyPage,
    Curve,
    Decision,
    Direction,
    Gain,
    Grid,
    Judgement,
    Largest,
    Pair,
    Row,
    pair,
    printed_accuracy,
)
from hiresnn.paper.accuracy_tables import has_twin
from hiresnn.paper.claims import claims, printed
from hiresnn.paper.labels import (
    ATTACK_LABELS,
    ATTACKS,
    BOX_LABELS,
    METHOD_LABELS,
    VGG5,
    VGG11,
    left_out,
    network_label,
    network_labels,
    setting_notes,
    text,
)
from hiresnn.paper.measurements import BOXES, Measurement, Run, accuracy
from hiresnn.paper.scales import Scale
from hiresnn.paper.seedstat import SeedStat, points

ATTACKED = tuple((attack, box) for box in BOXES for attack in ATTACKS)
TRAINED = ("traditional", "noise-free", "gaussian", "hire")
"""Methods of Fig. 9; "noise-free" is a control, measured only in the white box."""
SWEPT = ("hire", "traditional")
"""Methods of Fig. 8; the paper draws the first."""
MEASURED = ("accuracy (%)",)
LEVEL = 1.0
"""Percentage points of a change in Fig. 4, 8a and 8b that count as none."""
NO_GAIN = 2.0
"""Percentage points of a gain in Fig. 9 that count as no noticeable improvement."""


def swept_networks(scale: Scale) -> tuple[str, ...]:
    """The networks of Fig. 9 and 10b-e at a scale."""
    return scale.present(network for network in (VGG5, VGG11) if network in scale.swept)


def fig1c(scale: Scale) -> AccuracyPage:
    """VGG11: the traditional SNN beside its ANN under each attack."""
    rows: list[Row] = []
    directions: list[Direction] = []
    bars: dict[str, dict[tuple[str | None, str], Pair]] = {"ann": {}, "traditional": {}}
    for attack, box in ATTACKED:
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


def fig9(scale: Scale) -> AccuracyPage:
    """A network trained with Gaussian and with crafted noise of the same size, and traditionally.

    The paper draws VGG11; a scale that does not sweep it shows the first network that it sweeps.
    """
    network = VGG11 if VGG11 in swept_networks(scale) else swept_networks(scale)[0]
    bars: Bars = {
        method: {
            (attack, box): pair(accuracy(network, method, attack, box))
            for attack, box in ((None, "white"), *ATTACKED)
            if box == "white" or method != "noise-free"
        }
        for method in TRAINED
    }
    rows: list[Row] = [
        ((ATTACK_LABELS[attack] + (f", {BOX_LABELS[box]}" if attack else ""), METHOD_LABELS[method]), [cell])
        for method, found in bars.items()
        for (attack, box), cell in found.items()
    ]
    gains: list[Row] = []
    notes: list[str | Judgement] = [*setting_notes(scale, (network,))]
    notes += [text("fig9.gaussian"), text("fig9.control"), text("twins")]
    none = text("fig9.none", no_gain=NO_GAIN)
    for box, words in BOX_LABELS.items():
        crafted = _gains(network, "hire", "gaussian", box)
        theirs = printed("fig9", "white" if box == "white" else "black", "gain_max") if network == VGG11 else None
        gains.append(((words,), [(theirs, Largest(crafted))]))
        notes.append(Judgement(text("fig9.better"), crafted, _all(lambda gain: gain > 0), words))
        gaussian = _gains(network, "gaussian", "traditional", box)
        notes.append(Judgement(none, gaussian, _all(lambda gain: gain <= NO_GAIN), words))
    control = _gains(network, "noise-free", "traditional", "white")
    notes.append(Judgement(text("fig9.nothing"), control, lambda found: (None, _each(found))))
    notes += [] if network == VGG11 else [text("fig9.other", network=network_label(network))]
    grids = [
        Grid(text("fig9.caption", network=network_label(network)), ("images", "trained with"), MEASURED, rows),
        Grid(text("fig9.gains"), ("attacker",), ("gain",), gains),
    ]
    return AccuracyPage((network,), grids, notes, (), draw_bars(bars))


def fig4(scale: Scale) -> AccuracyPage:
    """The traditional VGG11 over T, each T trained by itself, and at the recipe's own T."""
    swept = sorted({*scale.timesteps, scale.recipe(Run(VGG11, "traditional", 0)).snn.timesteps})
    ends = {"fewest": swept[0], "most": swept[-1]}
    paper_steps = float(claims().setting.timesteps.vgg11)

    def at(attack: str | None, box: str, steps: int) -> Measurement:
        return accuracy(VGG11, "traditional", attack, box, (("snn.timesteps", str(steps)),))

    curves = _boxes(
        lambda attack, box: {float(steps): at(attack, box, steps) for steps in swept},
        lambda attack, box: {paper_steps: accuracy(VGG11, "traditional", attack, box)},
    )

    def lower(found: list[SeedStat]) -> Decision:
        return found[0].mean < 0, f"{points(found[0])} points"

    notes: list[str | Judgement] = [*setting_notes(scale, (VGG11,)), text("twins")]
    notes.append(Judgement(text("fig4.clean", **ends), [curves["white"][0].fall], lower))
    for box, (_, *attacked) in curves.items():
        falls, small = [curve.fall for curve in attacked], _all(lambda change: change <= LEVEL)
        notes.append(Judgement(text("fig4.attacked", **ends), falls, small, BOX_LABELS[box]))
    caption = text("fig4.caption", network=network_label(VGG11))
    grid = Grid(caption, ("attacker", "images", "T"), MEASURED, _rows(curves))
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


def fig10be(scale: Scale) -> AccuracyPage:
    """HIRE-SNN over the noise step eps_s; eps_s = 0 is traditional training, and eps_t = eps_s."""
    networks = swept_networks(scale)
    curves = {network: _over_noise(scale, network) for network in networks}
    rows = [((*network_labels(each), *texts), cells) for each in networks for texts, cells in _rows(curves[each])]
    notes = [*setting_notes(scale, networks), *left_out((VGG5, VGG11), networks), text("fig10be.bound"), text("twins")]
    judgements = [note for network in networks for note in _noise_steps(network, curves[network])]
    columns = ("model", "data set", "attacker", "images", "eps_s")
    grid = Grid(text("fig10be.caption"), columns, MEASURED, rows)
    letters = "".join({VGG5: "bcc", VGG11: "dee"}[network] for network in networks)  # the paper has one black box
    axis = "noise step $\\epsilon_s$ (pixel units)"
    draw = draw_panels(curves, letters, axis, lambda axes: axes.locator_params(axis="x", nbins=4))
    return AccuracyPage(networks, [grid], [*notes, *judgements], figure=draw)


def _over_noise(scale: Scale, network: str) -> Curves:
    steps = sorted({*scale.noise_steps, scale.recipe(Run(network, "hire", 0)).noise.step})
    paper_step = float(claims().setting.noise_step[network])

    def at(attack: str | None, box: str, step: float) -> Measurement:
        if not step:
            return accuracy(network, "traditional", attack, box)
        return accuracy(network, "hire", attack, box, (("noise.step", f"{step:.6g}"),))

    return _boxes(
        lambda attack, box: {step: at(attack, box, step) for step in (0.0, *steps)},
        lambda attack, box: {0.0: at(attack, box, 0.0), paper_step: accuracy(network, "hire", attack, box)},
    )


def _noise_steps(network: str, curves: Curves) -> list[Judgement]:
    """What the paper says of the sweep, from its first step to its last."""
    attacked, clean = [curve for found in curves.values() for curve in found[1:]], curves["white"][0]
    last, limit = max(clean.points), printed("fig10b-e", "clean_drop_max") or 0.0

    def gains(found: list[SeedStat]) -> Decision:
        named = zip(attacked, found, strict=True)
        words = "; ".join(f"{curve.labels[1]}, {curve.labels[0]}: {points(gain)}" for curve, gain in named)
        return all(gain.mean > 0 for gain in found), f"{words} points"

    def drop(found: list[SeedStat]) -> Decision:
        return found[0].mean <= limit + 0.5, text("fig10be.found", drop=found[0].mean, last=last)

    rises = [Gain(curve.fall.worse, curve.fall.better) for curve in attacked]
    cost = text("fig10be.drop", limit=limit, more=limit + 0.5)
    return [
        Judgement(text("fig10be.better", last=last), rises, gains, network_label(network)),
        Judgement(cost, [clean.fall], drop, network_label(network)),
    ]


def _gains(network: str, better: str, worse: str, box: str) -> tuple[Gain, ...]:
    return tuple(
        Gain(accuracy(network, better, attack, box), accuracy(network, worse, attack, box)) for attack in ATTACKS
    )


def _each(gains: Sequence[SeedStat]) -> str:
    """Gains under FGSM and PGD in words."""
    return ", ".join(f"{each.upper()} {points(gain)}" for each, gain in zip(ATTACKS, gains, strict=True)) + " points"


def _all(condition: Callable[[float], bool]) -> Callable[[list[SeedStat]], Decision]:
    return lambda gains: (all(condition(gain.mean) for gain in gains), _each(gains))


def _level(eps: str) -> float:
    return round(float(255 * Fraction(eps)), 6)


At = Callable[[str | None, str], Mapping[float, Measurement]]


def _boxes(at: At, printed_at: At) -> Curves:
    """In each box a curve on clean images and under each attack; `printed_at` names the paper's values."""

    def curve(attack: str | None, box: str) -> Curve:
        texts = ("none" if attack is None else BOX_LABELS[box], ATTACK_LABELS[attack])
        paper = {x: printed_accuracy(each) for x, each in printed_at(attack, box).items()}
        return Curve(texts, attack or "clean", at(attack, box), paper)

    return {box: [curve(attack, box) for attack in (None, *ATTACKS)] for box in BOXES}


def _rows(curves: Curves) -> list[Row]:
    """The rows of a table: the clean curve once, the attacked ones for each box."""
    listed = [curve for box, found in curves.items() for curve in found if box == "white" or curve.style != "clean"]
    return [row for curve in listed for row in curve.rows()]
