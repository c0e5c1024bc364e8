"""Figures 4, 8a, 8b and 10b-e as data: accuracy over T, bound, iterations and noise step."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from hiresnn.eps import parse_eps
from reproduction import labels
from reproduction.accuracy_charts import (
    LEVEL,
    MEASURED,
    Arrange,
    Curves,
    above,
    at_most,
    boxes_of,
    draw_lines,
    draw_panels,
    largest,
    rows_of,
)
from reproduction.accuracy_page import AccuracyPage, Curve, Decision, Gain, Grid, Judgement, printed_accuracy
from reproduction.claims import claims
from reproduction.labels import BOX_LABELS, METHOD_LABELS, VGG5, VGG11, network_label, text
from reproduction.measurements import Measurement, Run, accuracy
from reproduction.scales import Scale
from reproduction.seedstat import SeedStat, one_decimal, with_limits

SWEPT = ("hire", "traditional")
"""Methods of Fig. 8; the paper draws the first."""


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
    lower = partial(above, words=lambda found: f"{with_limits(found[0])} points from the fewest steps to the most")
    level = partial(at_most, limit=LEVEL)
    where = "sec. 3.1, Observation 2"
    judgements = [Judgement(text("fig4.clean", **ends), [curves["white"][0].rise], lower, where=where)]
    for box, (_, *attacked) in curves.items():
        falls = [curve.fall for curve in attacked]
        judgements.append(Judgement(text("fig4.attacked", **ends), falls, level, BOX_LABELS[box], where, some=True))
    notes = [*labels.setting_notes(scale, (VGG11,)), text("twins")]
    caption = text("fig4.caption", network=network_label(VGG11))
    grid = Grid(caption, ("attacker", "images", "T"), MEASURED, rows_of(curves))
    ticks = sorted({*map(float, swept), paper_steps})
    draw = partial(draw_panels, networks={VGG11: curves}, x="timesteps T", arrange=lambda axes: axes.set_xticks(ticks))
    return AccuracyPage((VGG11,), [grid], notes, (), judgements, draw)


def fig8a(scale: Scale) -> AccuracyPage:
    """VGG5 under white-box PGD over the bound; K and alpha / eps stay."""
    attack = scale.recipe(Run(VGG5, "hire", 0)).attack
    own = round(255 * attack.eps, 6)
    bounds: dict[float, str | None] = {0.0: None, own: "pgd"}
    bounds |= {round(255 * parse_eps(eps), 6): f"pgd:eps={eps}" for eps in scale.eps}
    levels = {method: {at: accuracy(VGG5, method, bounds[at]) for at in sorted(bounds)} for method in SWEPT}
    hire = list(levels["hire"].values())

    def falls(found: list[SeedStat]) -> Decision:
        *changes, lost = found
        most = max(change.mean for change in changes)
        fell, words = above([lost], words=lambda _: f"{with_limits(lost)} points from clean to the largest bound")
        return fell if most <= LEVEL else False, f"{words}; the largest rise between two bounds is {max(0.0, most):.1f}"

    def vanishes(found: list[SeedStat]) -> Decision:
        beyond = max(bounds) > own  # at the paper's own bound something is left, also in the paper
        words = f"{one_decimal(found[0].mean)} % is left at {max(bounds):g}/255, the largest bound here"
        return (found[0].mean <= LEVEL if beyond else None), words

    def arrange(charts: Any, axes: Any, start: float) -> None:
        axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.6)
        axes.set_xticks(sorted(bounds), [f"{x:g}" for x in sorted(bounds)])
        axes.minorticks_off()

    changes = [Gain(later, earlier) for earlier, later in itertools.pairwise(hire)]
    judgements = [
        Judgement(text("fig8.falls", level=LEVEL), [*changes, Gain(hire[0], hire[-1])], falls, where="sec. 5.3"),
        Judgement(text("fig8.vanishes", level=LEVEL), hire[-1:], vanishes, where="sec. 5.3"),
    ]
    printed_at = {0.0: None, round(255 * parse_eps(claims().setting.eps), 6): "pgd"}
    notes = [text("fig8.alpha", ratio=attack.step / attack.eps), text("swept")]
    return _fig8(scale, levels, printed_at, ("eps (1/255)", "PGD bound ε (1/255)"), notes, judgements, arrange)


def fig8b(scale: Scale) -> AccuracyPage:
    """VGG5 under white-box PGD after each number of iterations; eps and alpha are the recipe's."""
    own = scale.recipe(Run(VGG5, "hire", 0)).attack.iterations
    counts = sorted({*scale.iterations, own})
    first, last = counts[0], counts[-1]
    one = Measurement("by-iteration", VGG5, attack=f"pgd:iterations={last}", grid=tuple(counts))
    left = {
        method: {float(count): replace(one, method=method, at=at) for at, count in enumerate(counts)}
        for method in SWEPT
    }
    hire = left["hire"]
    level_from = claims().fig8b.levels_off_after
    decides = level_from in counts and last > level_from

    def decreases(found: list[SeedStat]) -> Decision:
        words = f"{found[0].mean:.1f} % at K = {first}, {found[1].mean:.1f} % at K = {last}"
        return found[1].mean < found[0].mean, words

    def levels_off(found: list[SeedStat]) -> Decision:
        if not found:
            return None, f"this scale's K ends at {last}"
        spread = "" if found[0].deviation is None else f" ± {found[0].deviation:.1f}"
        words = f"{found[0].mean:+.1f}{spread} points from K = {level_from} to K = {last}"
        return abs(found[0].mean) <= LEVEL, words

    level = text("fig8.level", after=level_from, level=LEVEL)
    change = Gain(hire[last], hire.get(level_from, hire[last]))
    judgements = [
        Judgement(text("fig8.decreases"), [hire[first], hire[last]], decreases, where="sec. 5.3"),
        Judgement(level, [change] if decides else [], levels_off, where="sec. 5.3"),
    ]

    def arrange(charts: Any, axes: Any, start: float) -> None:
        charts.logarithmic(axes, "x", [float(count) for count in counts if count >= start])

    names, printed_at = ("K", "PGD iterations K"), {float(claims().setting.iterations): "pgd"}
    return _fig8(scale, left, printed_at, names, [text("swept")], judgements, arrange, zoom=float(own))


def _fig8(
    scale: Scale,
    swept: Mapping[str, Mapping[float, Measurement]],
    printed_at: Mapping[float, str | None],
    names: tuple[str, str],
    notes: Sequence[str],
    judgements: Sequence[Judgement],
    arrange: Arrange,
    zoom: float = 0.0,
) -> AccuracyPage:
    """A curve per method; `names` are those of the table's column and of the axis."""
    curves = []
    for method, measured in swept.items():
        paper = {at: printed_accuracy(accuracy(VGG5, method, attack)) for at, attack in printed_at.items()}
        curves.append(Curve((METHOD_LABELS[method],), method, measured, paper))
    rows = [row for curve in curves for row in curve.rows()]
    grid = Grid(text("fig8.caption", network=network_label(VGG5)), ("method", names[0]), MEASURED, rows)
    every = [*labels.setting_notes(scale, (VGG5,)), *notes]
    draw = partial(draw_lines, curves=curves, x=names[1], arrange=arrange, zoom=zoom)
    return AccuracyPage((VGG5,), [grid], every, (), judgements, draw)


def swept_networks(scale: Scale) -> tuple[str, ...]:
    """The networks of Fig. 9 and 10b-e at a scale."""
    return scale.present(network for network in (VGG5, VGG11) if network in scale.swept)


def fig10be(scale: Scale) -> AccuracyPage:
    """HIRE-SNN over the noise step eps_s; eps_s = 0 is traditional training, and eps_t = eps_s."""
    networks = swept_networks(scale)
    curves = {network: _over_noise(scale, network) for network in networks}
    rows = [
        ((*labels.network_labels(each), *texts), cells) for each in networks for texts, cells in rows_of(curves[each])
    ]
    notes = [
        *labels.setting_notes(scale, networks),
        *labels.left_out((VGG5, VGG11), networks),
        text("fig10be.bound"),
        text("twins"),
    ]
    judgements = [each for network in networks for each in _noise_steps(network, curves[network])]
    columns = ("model", "data set", "attacker", "images", "eps_s")
    grid = Grid(text("fig10be.caption"), columns, MEASURED, rows)
    axis = "noise step $\\epsilon_s$ (pixels)"
    draw = partial(draw_panels, networks=curves, x=axis, arrange=lambda axes: axes.locator_params(axis="x", nbins=4))
    return AccuracyPage(networks, [grid], notes, (), judgements, draw)


def _over_noise(scale: Scale, network: str) -> Curves:
    steps = sorted({*scale.noise_steps, scale.recipe(Run(network, "hire", 0)).noise.step})
    paper_step = float(claims().setting.noise_step[network])

    def at(attack: str | None, box: str, step: float) -> Measurement:
        if not step:
            return accuracy(network, "traditional", attack, box)
        return accuracy(network, "hire", attack, box, (("noise.step", f"{step:.6g}"),))

    return boxes_of(
        lambda attack, box: {step: at(attack, box, step) for step in (0.0, *steps)},
        lambda attack, box: {0.0: at(attack, box, 0.0), paper_step: accuracy(network, "hire", attack, box)},
    )


def _noise_steps(network: str, curves: Curves) -> list[Judgement]:
    """What the paper says of the sweep, from its first step to its last."""
    attacked, clean = [curve for found in curves.values() for curve in found[1:]], curves["white"][0]
    last, limit = max(clean.points), claims()["fig10b-e"].clean_drop_max

    def words(found: list[SeedStat]) -> str:
        named = zip(attacked, found, strict=True)
        each = [f"{curve.labels[1]}, {curve.labels[0]}: {with_limits(gain)}" for curve, gain in named]
        return "; ".join(each) + " points"

    def lost(found: list[SeedStat]) -> str:
        return text("fig10be.found", drop=with_limits(found[0]), last=last)

    rises = [curve.rise for curve in attacked]
    cost = text("fig10be.drop", limit=limit, more=limit + 0.5)
    of, where = network_label(network), "sec. 5.3"
    return [
        Judgement(text("fig10be.better", last=last), rises, partial(above, words=words), of, where, some=True),
        Judgement(cost, [clean.fall], partial(at_most, limit=limit + 0.5, words=lost), of, where, limit, largest),
    ]
