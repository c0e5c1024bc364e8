"""Figures 4, 8a, 8b and 10b-e: accuracy over timesteps T, bound, iterations and noise step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure

from hiresnn.eps import parse_eps
from reproduction import figures
from reproduction.page import Claim, Page
from reproduction.pages_accuracy import accuracy_table, make_page, swept_networks
from reproduction.paper import (
    ATTACKS,
    BOXES,
    CLAIMS,
    LABELS,
    PANEL_LABELS,
    VGG5,
    VGG11,
    VGGS,
    Run,
    left_out,
    network_label,
    network_labels,
    text,
)
from reproduction.results import (
    Accuracy,
    Decision,
    Pair,
    Results,
    above,
    accuracy,
    at_most,
    judge,
    largest,
    printed_accuracy,
)
from reproduction.statistics import SeedStat, one_decimal, with_limits
from reproduction.study import Measurement

LEVEL = 1.0  # percentage points of a change in Fig. 4, 8a and 8b that count as none
MEASURED = ("accuracy (%)",)
Stats = Sequence[SeedStat]


@dataclass(frozen=True)
class Curve:
    """One line of a figure: swept value, rising -> accuracy; `paper` has what the paper prints, by its own x.

    `labels` are a text for each column of text in the table, `style` is a key of `figures.STYLES`.
    """

    labels: tuple[str, ...]
    style: str
    points: Mapping[float, Accuracy]
    paper: Mapping[float, float | None]

    def ends(self) -> tuple[Accuracy, Accuracy]:
        """The accuracies at the first and at the last swept value."""
        first, *_, last = self.points.values()
        return first, last

    def rows(self) -> list[tuple[tuple[str, ...], list[Pair]]]:
        """A row of the table for each point, ours or the paper's."""
        swept = sorted({*self.points, *(x for x, value in self.paper.items() if value is not None)})
        ours = {x: point.ours for x, point in self.points.items()}
        return [((*self.labels, f"{x:.6g}"), [Pair(self.paper.get(x), ours.get(x))]) for x in swept]


Curves = dict[str, list[Curve]]  # box -> its curves: on clean images, then under each attack


def boxes_of(
    at: Callable[[str | None, str], Mapping[float, Accuracy]],
    paper_at: Callable[[str | None, str], Mapping[float, float | None]],
) -> Curves:
    """In each box a curve on clean images and under each attack; `paper_at` gives the paper's values."""

    def curve(attack: str | None, box: str) -> Curve:
        labels = ("none" if attack is None else LABELS[box], LABELS[attack])
        return Curve(labels, attack or "clean", at(attack, box), paper_at(attack, box))

    return {box: [curve(attack, box) for attack in (None, *ATTACKS)] for box in BOXES}


def rows_of(curves: Curves) -> list[Any]:
    """The rows of a table: the clean curve once, the attacked ones for each box."""
    once = [curve for box, several in curves.items() for curve in several if box == "white" or curve.style != "clean"]
    return [row for curve in once for row in curve.rows()]


def fig4(results: Results) -> Page:
    """The traditional VGG11 over T, each T trained by itself, and at the recipe's own T."""
    scale = results.scale
    scale.some([VGG11])
    swept = sorted({*scale.timesteps, scale.recipe(Run(VGG11, "traditional")).snn.timesteps})
    ends, paper_steps = {"fewest": swept[0], "most": swept[-1]}, float(CLAIMS["setting"]["timesteps"]["vgg11"])
    traditional = partial(results.accuracy, VGG11, "traditional")
    curves = boxes_of(
        lambda attack, box: {float(T): traditional(attack, box, (("snn.timesteps", str(T)),)) for T in swept},
        lambda attack, box: {paper_steps: printed_accuracy(accuracy(VGG11, "traditional", attack, box))},
    )

    source = "sec. 3.1, Observation 2"
    fewest, most = curves["white"][0].ends()
    lower = partial(above, words=lambda stats: f"{with_limits(stats[0])} points from the fewest steps to the most")
    claims = [judge(text("fig4.clean", **ends), [results.gain(most, fewest).ours], lower, source=source)]
    for box, (_, *attacked) in curves.items():
        falls = [results.gain(*curve.ends()).ours for curve in attacked]
        level = partial(at_most, limit=LEVEL)
        claims.append(judge(text("fig4.attacked", **ends), falls, level, LABELS[box], source, some=True))
    ticks = sorted({*map(float, swept), paper_steps})
    caption = text("fig4.caption", network=network_label(VGG11))
    table = accuracy_table(caption, ("attacker", "images", "T"), MEASURED, rows_of(curves))
    draw = partial(draw_panels, {VGG11: curves}, "timesteps T", lambda axes: axes.set_xticks(ticks))
    return make_page(results, (VGG11,), [table], [*scale.setting_notes((VGG11,)), text("twins")], (), claims, draw)


def fig8a(results: Results) -> Page:
    """VGG5 under white-box PGD over the bound; K and alpha / eps stay."""
    scale = results.scale
    scale.some([VGG5])
    attack = scale.recipe(Run(VGG5, "hire")).attack
    recipe_bound = round(255 * attack.eps, 6)
    bounds: dict[float, str | None] = {0.0: None, recipe_bound: "pgd"}
    bounds |= {round(255 * parse_eps(eps), 6): f"pgd:eps={eps}" for eps in scale.eps}
    bounds = dict(sorted(bounds.items()))
    swept = {m: {at: results.accuracy(VGG5, m, text) for at, text in bounds.items()} for m in ("hire", "traditional")}
    hire, largest_bound = list(swept["hire"].values()), max(bounds)

    def falls(stats: Stats) -> Decision:
        *changes, lost = stats
        most = max(change.mean for change in changes)
        fell, words = above([lost], words=lambda _: f"{with_limits(lost)} points from clean to the largest bound")
        return fell if most <= LEVEL else False, f"{words}; the largest rise between two bounds is {max(0.0, most):.1f}"

    def vanishes(stats: Stats) -> Decision:
        words = f"{one_decimal(stats[0].mean)} % is left at {largest_bound:g}/255, the largest bound here"
        # at the paper's own bound something is left, also in the paper
        return (stats[0].mean <= LEVEL if largest_bound > recipe_bound else None), words

    def arrange(axes: Any, start: float) -> None:
        axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.6)
        axes.set_xticks(list(bounds), [f"{x:g}" for x in bounds])
        axes.minorticks_off()

    changes = [results.gain(later, earlier).ours for earlier, later in pairwise(hire)]
    lost = results.gain(hire[0], hire[-1]).ours
    claims = [
        judge(text("fig8.falls", level=LEVEL), [*changes, lost], falls, source="sec. 5.3"),
        judge(text("fig8.vanishes", level=LEVEL), [hire[-1].ours], vanishes, source="sec. 5.3"),
    ]
    paper_at = {0.0: None, round(255 * parse_eps(CLAIMS["setting"]["eps"]), 6): "pgd"}
    notes = [text("fig8.alpha", ratio=attack.step / attack.eps), text("swept")]
    return _fig8(results, swept, paper_at, ("eps (1/255)", "PGD bound ε (1/255)"), notes, claims, arrange)


def fig8b(results: Results) -> Page:
    """VGG5 under white-box PGD after each number of iterations; eps and alpha are the recipe's."""
    scale = results.scale
    scale.some([VGG5])
    recipe_steps = scale.recipe(Run(VGG5, "hire")).attack.iterations
    counts = sorted({*scale.iterations, recipe_steps})
    first, last, level_from = counts[0], counts[-1], CLAIMS["fig8b"]["levels_off_after"]
    one = Measurement("by-iteration", VGG5, attack=f"pgd:iterations={last}", grid=tuple(counts))
    swept = {
        method: {float(K): results.read(replace(one, method=method, at=at)) for at, K in enumerate(counts)}
        for method in ("hire", "traditional")
    }
    hire = swept["hire"]

    def decreases(stats: Stats) -> Decision:
        words = f"{stats[0].mean:.1f} % at K = {first}, {stats[1].mean:.1f} % at K = {last}"
        return stats[1].mean < stats[0].mean, words

    def levels_off(stats: Stats) -> Decision:
        if not stats:
            return None, f"this scale's K ends at {last}"
        spread = "" if stats[0].deviation is None else f" ± {stats[0].deviation:.1f}"
        words = f"{stats[0].mean:+.1f}{spread} points from K = {level_from} to K = {last}"
        return abs(stats[0].mean) <= LEVEL, words

    def arrange(axes: Any, start: float) -> None:
        figures.logarithmic(axes, "x", [float(count) for count in counts if count >= start])

    decides = level_from in counts and last > level_from
    change = [results.gain(hire[last], hire[level_from]).ours] if decides else []
    claims = [
        judge(text("fig8.decreases"), [hire[first].ours, hire[last].ours], decreases, source="sec. 5.3"),
        judge(text("fig8.level", after=level_from, level=LEVEL), change, levels_off, source="sec. 5.3"),
    ]
    paper_at, names = {float(CLAIMS["setting"]["iterations"]): "pgd"}, ("K", "PGD iterations K")
    return _fig8(results, swept, paper_at, names, [text("swept")], claims, arrange, zoom=float(recipe_steps))


def _fig8(
    results: Results,
    swept: Mapping[str, Mapping[float, Accuracy]],
    paper_at: Mapping[float, str | None],
    names: tuple[str, str],
    notes: Sequence[str],
    claims: Sequence[Claim],
    arrange: Callable[[Any, float], None],
    zoom: float = 0.0,
) -> Page:
    """A curve per method; `names` are those of the table's column and of the axis."""
    curves = []
    for method, points in swept.items():
        paper = {at: printed_accuracy(accuracy(VGG5, method, attack)) for at, attack in paper_at.items()}
        curves.append(Curve((LABELS[method],), method, points, paper))
    rows = [row for curve in curves for row in curve.rows()]
    table = accuracy_table(text("fig8.caption", network=network_label(VGG5)), ("method", names[0]), MEASURED, rows)
    draw = partial(draw_lines, curves, names[1], arrange, zoom)
    return make_page(results, (VGG5,), [table], [*results.scale.setting_notes((VGG5,)), *notes], (), claims, draw)


def fig10be(results: Results) -> Page:
    """HIRE-SNN over the noise step eps_s; eps_s = 0 is traditional training, and eps_t = eps_s."""
    scale = results.scale
    networks = swept_networks(scale)
    curves = {network: _over_noise(results, network) for network in networks}
    rows = [((*network_labels(name), *texts), cells) for name in networks for texts, cells in rows_of(curves[name])]
    columns = ("model", "data set", "attacker", "images", "eps_s")
    table = accuracy_table(text("fig10be.caption"), columns, MEASURED, rows)
    notes = [*scale.setting_notes(networks), *left_out(VGGS, networks), text("fig10be.bound"), text("twins")]
    claims = [claim for network in networks for claim in _noise_claims(results, network, curves[network])]
    axis, arrange = "noise step $\\epsilon_s$ (pixels)", lambda axes: axes.locator_params(axis="x", nbins=4)
    return make_page(results, networks, [table], notes, (), claims, partial(draw_panels, curves, axis, arrange))


def _over_noise(results: Results, network: str) -> Curves:
    steps = sorted({*results.scale.noise_steps, results.scale.recipe(Run(network, "hire")).noise.step})
    paper_step = float(CLAIMS["setting"]["noise_step"][network])
    hire, traditional = (partial(results.accuracy, network, method) for method in ("hire", "traditional"))
    return boxes_of(
        lambda attack, box: {
            0.0: traditional(attack, box),
            **{step: hire(attack, box, (("noise.step", f"{step:.6g}"),)) for step in steps},
        },
        lambda attack, box: {
            0.0: printed_accuracy(accuracy(network, "traditional", attack, box)),
            paper_step: printed_accuracy(accuracy(network, "hire", attack, box)),
        },
    )


def _noise_claims(results: Results, network: str, curves: Curves) -> list[Claim]:
    """What the paper says of the sweep, from its first step to its last."""
    attacked, clean = [curve for several in curves.values() for curve in several[1:]], curves["white"][0]
    last, limit = max(clean.points), CLAIMS["fig10b-e"]["clean_drop_max"]

    def each_curve(stats: Stats) -> str:
        named = zip(attacked, stats, strict=True)
        return (
            "; ".join(f"{curve.labels[1]}, {curve.labels[0]}: {with_limits(gain)}" for curve, gain in named) + " points"
        )

    def lost(stats: Stats) -> str:
        return text("fig10be.found", drop=with_limits(stats[0]), last=last)

    rises = [results.gain(*reversed(curve.ends())).ours for curve in attacked]
    cost, fall = text("fig10be.drop", limit=limit, more=limit + 0.5), results.gain(*clean.ends()).ours
    of, source, small = network_label(network), "sec. 5.3", partial(at_most, limit=limit + 0.5, words=lost)
    return [
        judge(text("fig10be.better", last=last), rises, partial(above, words=each_curve), of, source, some=True),
        judge(cost, [fall], small, of, source, limit, largest),
    ]


def draw_lines(curves: Sequence[Curve], x: str, arrange: Callable[[Any, float], None], zoom: float = 0.0) -> Figure:
    """Curves in one panel; from x = `zoom` on again in a second one. `arrange` gets the axes and the first x."""
    starts = (0.0, zoom) if zoom else (0.0,)
    width = figures.FULL_WIDTH if zoom else figures.HALF_WIDTH
    drawing, panels = figures.figure(1, len(starts), width=width, height=2.6)
    for number, (axes, start) in enumerate(zip(panels, starts, strict=True), start=1):
        arrange(axes, start)
        _draw_curves(axes, curves, start)
        title = f"from K = {start:g} on, another y axis" if start else "all"
        figures.label(axes, x=x, y="accuracy (%)", **({"title": title, "panel": number} if zoom else {}))
    figures.outside(drawing, columns=3 if zoom else 2)
    return drawing


def draw_panels(networks: Mapping[str, Curves], x: str, arrange: Callable[[Any], object]) -> Figure:
    """A row of panels per network: clean accuracy, then each box; every panel has its own y axis."""
    drawing, panels = figures.figure(len(networks), 1 + len(BOXES), height=0.6 + 2.1 * len(networks))
    contents = [
        (network, title, curves)
        for network, boxes in networks.items()
        for title, curves in [("clean", boxes["white"][:1]), *((PANEL_LABELS[b], boxes[b][1:]) for b in BOXES)]
    ]
    for number, (axes, (network, title, curves)) in enumerate(zip(panels, contents, strict=True), start=1):
        _draw_curves(axes, curves)
        arrange(axes)
        y = f"{network_label(network)}\naccuracy (%)" if title == "clean" else ""
        figures.label(axes, x=x, y=y, title=title, panel=number)
    figures.outside(drawing, columns=4)
    return drawing


def _draw_curves(axes: Any, curves: Sequence[Curve], start: float = 0.0) -> None:
    """Lines from x = `start` on, with error bars and the paper's points, all of which must be visible."""
    visible: list[SeedStat] = []
    for curve in curves:
        style = figures.STYLES[curve.style]
        stats = {at: point.ours for at, point in curve.points.items() if at >= start}
        paper = {at: value for at, value in curve.paper.items() if at >= start and value is not None}
        figures.line(axes, list(stats), list(stats.values()), style)
        figures.paper_points(axes, list(paper), list(paper.values()), style)
        visible += [*stats.values(), *(SeedStat.of([value]) for value in paper.values())]
    figures.focus(axes, visible)
    axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))  # accuracies are never negative
