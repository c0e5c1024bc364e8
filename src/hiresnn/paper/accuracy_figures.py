"""Figures 1c, 4, 8a, 8b, 9 and 10b-e as data: accuracies as bars and as curves over a swept quantity."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from hiresnn.paper import labels
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
)  # fmt: skip
from hiresnn.paper.accuracy_tables import has_twin
from hiresnn.paper.claims import claims, printed
from hiresnn.paper.labels import ATTACK_LABELS, ATTACKS, BOX_LABELS, METHOD_LABELS, network_label, setting_notes, text
from hiresnn.paper.measurements import BOXES, Measurement, Run, accuracy
from hiresnn.paper.scales import Scale
from hiresnn.paper.seedstat import SeedStat, points

VGG5, VGG11 = "vgg5-cifar10", "vgg11-cifar100"
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
    return tuple(network for network in (VGG5, VGG11) if network in scale.swept and network in scale.networks)


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
    gain_rows: list[Row] = []
    for box in BOXES:
        theirs = printed("fig9", "white" if box == "white" else "black", "gain_max") if network == VGG11 else None
        gain_rows.append(((BOX_LABELS[box],), [(theirs, Largest(_gains(network, "hire", "gaussian", box)))]))
    own, caption = network_label(network), text("fig9.caption", network=network_label(network))
    grids = [
        Grid(caption, ("images", "trained with"), MEASURED, rows),
        Grid(text("fig9.gains"), ("attacker",), ("gain",), gain_rows),
    ]
    notes = [*setting_notes(scale, (network,)), text("fig9.gaussian"), text("fig9.control"), text("twins")]
    other = [] if network == VGG11 else [text("fig9.other", network=own)]
    return AccuracyPage((network,), grids, [*notes, *_noise_kinds(network), *other], (), draw_bars(bars))


def _noise_kinds(network: str) -> list[Judgement]:
    """What the paper reads from Fig. 9, box by box; then what more updates do without noise."""
    notes = []
    for box, words in BOX_LABELS.items():
        crafted, gaussian = (
            _gains(network, *pair, box) for pair in (("hire", "gaussian"), ("gaussian", "traditional"))
        )
        notes.append(Judgement(text("fig9.better"), crafted, _all(lambda gain: gain > 0), words))
        none = text("fig9.none", no_gain=NO_GAIN)
        notes.append(Judgement(none, gaussian, _all(lambda gain: gain <= NO_GAIN), words))
    control = _gains(network, "noise-free", "traditional", "white")
    return [*notes, Judgement(text("fig9.nothing"), control, lambda found: (None, _each(found)))]


def fig4(scale: Scale) -> AccuracyPage:
    """The traditional VGG11 over T, each T trained by itself, and at the recipe's own T."""
    swept = sorted({*scale.timesteps, scale.recipe(Run(VGG11, "traditional", 0)).snn.timesteps})
    ends = {"fewest": swept[0], "most": swept[-1]}
    paper_steps = float(claims().setting.timesteps.vgg11)

    def at(attack: str | None, box: str, steps: int | None = None) -> Measurement:
        changes = () if steps is None else (("snn.timesteps", str(steps)),)
        return accuracy(VGG11, "traditional", attack, box, changes)

    curves = _boxes(
        lambda attack, box: {float(steps): at(attack, box, steps) for steps in swept},
        lambda attack, box: {paper_steps: at(attack, box)},
    )
    judgements = [
        Judgement(
            text("fig4.clean", **ends),
            [curves["white"][0].fall],
            lambda found: (found[0].mean < 0, f"{points(found[0])} points"),
        )
    ]
    for box, found in curves.items():
        falls, small = [curve.fall for curve in found[1:]], _all(lambda change: change <= LEVEL)
        judgements.append(Judgement(text("fig4.attacked", **ends), falls, small, BOX_LABELS[box]))
    ticks = sorted({*map(float, swept), paper_steps})
    grid = Grid(
        text("fig4.caption", network=network_label(VGG11)), ("attacker", "images", "T"), MEASURED, _rows(curves)
    )
    draw = draw_panels({VGG11: curves}, "abc", "timesteps T", lambda axes: axes.set_xticks(ticks))
    return AccuracyPage((VGG11,), [grid], [*setting_notes(scale, (VGG11,)), text("twins"), *judgements], figure=draw)


def fig8a(scale: Scale) -> AccuracyPage:
    """VGG5 under white-box PGD over the bound; K and alpha / eps stay."""
    attack = scale.recipe(Run(VGG5, "hire", 0)).attack
    bounds: dict[float, str | None] = {0.0: None, round(255 * attack.eps, 6): "pgd"}
    bounds |= {_level(eps): f"pgd:eps={eps}" for eps in scale.eps}
    printed_at = {0.0: None, _level(claims().setting.eps): "pgd"}
    curves = {
        method: Curve(
            (METHOD_LABELS[method],), method, {at: accuracy(VGG5, method, bounds[at]) for at in sorted(bounds)},
            {at: printed_accuracy(accuracy(VGG5, method, words)) for at, words in printed_at.items()},
        )
        for method in SWEPT
    }  # fmt: skip
    levels = list(curves["hire"].points.values())

    def falls(changes: list[SeedStat]) -> Decision:
        most = max(change.mean for change in changes)
        return most <= LEVEL, f"the largest change from one bound to the next is {most:+.1f} points"

    def vanishes(found: list[SeedStat]) -> Decision:
        return found[0].mean <= LEVEL, f"{found[0].mean:.1f} % is left at {max(bounds):g}/255, the largest bound here"

    def arrange(charts: Any, axes: Any) -> None:
        axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.6)
        axes.set_xticks(sorted(bounds), [f"{x:g}" for x in sorted(bounds)])
        axes.minorticks_off()

    changes = [Gain(later, earlier) for earlier, later in itertools.pairwise(levels)]
    notes: list[str | Judgement] = [
        text("fig8.alpha", ratio=attack.step / attack.eps),
        text("swept"),
        Judgement(text("fig8.falls", level=LEVEL), changes, falls),
        Judgement(text("fig8.vanishes", level=LEVEL), levels[-1:], vanishes),
    ]
    return _fig8(scale, curves, "eps (1/255)", "PGD bound ε (1/255)", notes, arrange)


def fig8b(scale: Scale) -> AccuracyPage:
    """VGG5 under white-box PGD after each number of iterations; eps and alpha are the recipe's."""
    counts = sorted({*scale.iterations, scale.recipe(Run(VGG5, "hire", 0)).attack.iterations})
    first, last = counts[0], counts[-1]

    def after(method: str, at: int) -> Measurement:
        words, grid = f"pgd:iterations={last}", tuple(counts)
        return Measurement("by-iteration", VGG5, method, attack=words, grid=grid, at=counts.index(at))

    curves = {
        method: Curve(
            (METHOD_LABELS[method],), method, {float(count): after(method, count) for count in counts},
            {float(claims().setting.iterations): printed_accuracy(accuracy(VGG5, method, "pgd"))},
        )
        for method in SWEPT
    }  # fmt: skip
    level_from = int(printed("fig8b", "levels_off_after") or 0)
    decides = level_from in counts and last > level_from
    ends = [Gain(after("hire", last), after("hire", level_from))] if decides else []

    def decreases(found: list[SeedStat]) -> Decision:
        left = f"{found[0].mean:.1f} % at K = {first}, {found[1].mean:.1f} % at K = {last}"
        return found[1].mean < found[0].mean, left

    def levels_off(found: list[SeedStat]) -> Decision:
        if not found:
            return None, f"this scale's K ends at {last}"
        return abs(found[0].mean) <= LEVEL, f"{points(found[0])} points from K = {level_from} to K = {last}"

    def arrange(charts: Any, axes: Any) -> None:
        charts.logarithmic(axes, "x", list(map(float, counts)))

    notes: list[str | Judgement] = [
        text("swept"),
        Judgement(text("fig8.decreases"), [after("hire", first), after("hire", last)], decreases),
        Judgement(text("fig8.level", after=level_from, level=LEVEL), ends, levels_off),
    ]
    return _fig8(scale, curves, "K", "PGD iterations K", notes, arrange)


def fig10be(scale: Scale) -> AccuracyPage:
    """HIRE-SNN over the noise step eps_s; eps_s = 0 is traditional training, and eps_t = eps_s."""
    networks = swept_networks(scale)
    curves = {network: _over_noise(scale, network) for network in networks}
    rows = [
        ((*labels.network_labels(each), *texts), cells) for each in networks for texts, cells in _rows(curves[each])
    ]
    letters = "".join({VGG5: "bcc", VGG11: "dee"}[network] for network in networks)  # the paper has one black box
    axis = "noise step $\\epsilon_s$ (pixel units)"
    draw = draw_panels(curves, letters, axis, lambda axes: axes.locator_params(axis="x", nbins=4))
    notes = [*setting_notes(scale, networks), *labels.left_out((VGG5, VGG11), networks), text("fig10be.bound")]
    judgements = [note for network in networks for note in _noise_steps(network, curves[network])]
    columns = ("model", "data set", "attacker", "images", "eps_s")
    grid = Grid(text("fig10be.caption"), columns, MEASURED, rows)
    return AccuracyPage(networks, [grid], [*notes, text("twins"), *judgements], figure=draw)


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
    pairs = ((accuracy(network, method, attack, box) for method in (better, worse)) for attack in ATTACKS)
    return tuple(Gain(*pair) for pair in pairs)


def _each(gains: Sequence[SeedStat]) -> str:
    """Gains under FGSM and PGD in words."""
    return (
        ", ".join(f"{attack.upper()} {points(gain)}" for attack, gain in zip(ATTACKS, gains, strict=True)) + " points"
    )


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


def _fig8(
    scale: Scale,
    curves: Mapping[str, Curve],
    column: str,
    axis: str,
    notes: Sequence[str | Judgement],
    arrange: Callable[[Any, Any], None],
) -> AccuracyPage:
    rows = [row for curve in curves.values() for row in curve.rows()]
    grid = Grid(text("fig8.caption", network=network_label(VGG5)), ("method", column), MEASURED, rows)
    draw = draw_lines(list(curves.values()), axis, arrange)
    return AccuracyPage((VGG5,), [grid], [*setting_notes(scale, (VGG5,)), *notes], figure=draw)
