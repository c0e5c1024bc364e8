"""Figures 4, 8a, 8b and 10b-e: accuracy over timesteps T, bound, iterations and noise step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure

from hiresnn.calls import parse_eps
from reproduction import figures
from reproduction.page import OPEN, Claim, Page, Row, Table, tabulate
from reproduction.pages_accuracy import labels, swept_networks
from reproduction.paper import ATTACKS, BOXES, CLAIMS, LABELS, PANEL_LABELS, VGG5, VGG11, VGGS, Run, network_label, text
from reproduction.results import (
    Accuracy,
    Results,
    above,
    accuracy,
    at_most,
    compared,
    each_attack,
    judge,
    printed_accuracy,
)
from reproduction.statistics import SeedStat, one_decimal, with_limits
from reproduction.study import Measurement

LEVEL = 1.0  # percentage points of a change in Fig. 4, 8a and 8b that count as none


@dataclass(frozen=True)
class Curve:
    """One line of a figure: swept value, rising -> accuracy; `paper` has what the paper prints, by its own x.

    `labels` are the first cells of its rows in the table, `style` is a key of `figures.STYLES`.
    """

    labels: dict[str, str]
    style: str
    points: Mapping[float, Accuracy]
    paper: Mapping[float, float | None]

    def ends(self) -> tuple[Accuracy, Accuracy]:
        """The accuracies at the first and at the last swept value."""
        first, *_, last = self.points.values()
        return first, last


@dataclass(frozen=True)
class Panel:
    """Curves from x = `start` on."""

    title: str
    y: str
    curves: Sequence[Curve]
    start: float = 0.0


Curves = dict[str, list[Curve]]
"""A curve on "clean" images, and in each box one under each attack."""


def over_boxes(
    points: Callable[[str | None, str], Mapping[float, Accuracy]],
    printed: Callable[[str | None, str], Mapping[float, float | None]],
    about: Mapping[str, str],
) -> Curves:
    """The curves whose points and values of the paper are functions of attack and box."""

    def curve(attack: str | None, box: str) -> Curve:
        attacker = {"attacker": LABELS[box] if attack else "none", "images": LABELS[attack]}
        return Curve({**about, **attacker}, attack or "clean", points(attack, box), printed(attack, box))

    return {"clean": [curve(None, "white")], **{box: [curve(attack, box) for attack in ATTACKS] for box in BOXES}}


def panels_of(network: str, curves: Curves) -> list[Panel]:
    """A row of panels: clean accuracy, then each box."""
    first = f"{network_label(network)}\naccuracy (%)"
    boxes = [Panel(PANEL_LABELS[box], "", curves[box]) for box in BOXES]
    return [Panel("clean", first, curves["clean"]), *boxes]


def table_of(caption: str, column: str, curves: Sequence[Curve]) -> Table:
    """A row for each point of each curve, ours or the paper's, under the swept `column`."""
    rows: list[Row] = []
    for curve in curves:
        ours = {x: point.ours for x, point in curve.points.items()}
        for x in sorted({*ours, *(x for x, value in curve.paper.items() if value is not None)}):
            pair = compared(curve.paper.get(x), ours.get(x))
            rows.append({**curve.labels, column: f"{x:.6g}", "accuracy (%)": pair})
    return tabulate(caption, rows)


def fig4(results: Results) -> Page:
    """The traditional VGG11 over T, each T trained by itself, and at the recipe's own T."""
    scale = results.scale
    scale.some([VGG11])
    swept = sorted({*scale.timesteps, scale.recipe(Run(VGG11, "traditional")).snn.timesteps})
    ends, paper_steps = {"fewest": swept[0], "most": swept[-1]}, float(CLAIMS["setting"]["timesteps"]["vgg11"])
    traditional = partial(results.accuracy, VGG11, "traditional")
    curves = over_boxes(
        lambda attack, box: {float(T): traditional(attack, box, (("snn.timesteps", str(T)),)) for T in swept},
        lambda attack, box: {paper_steps: printed_accuracy(accuracy(VGG11, "traditional", attack, box))},
        {},
    )
    source = "sec. 3.1, Observation 2"
    fewest, most = curves["clean"][0].ends()
    rise = results.gain(most, fewest).ours
    numbers = f"{with_limits(rise)} points from the fewest steps to the most"
    claims = [judge(text("fig4.clean", **ends), [rise], above([rise]), numbers, source=source)]
    for box in BOXES:
        falls, about = [results.gain(*curve.ends()).ours for curve in curves[box]], {"of": LABELS[box], "some": True}
        claim, numbers = text("fig4.attacked", **ends), each_attack(falls)
        claims.append(judge(claim, falls, at_most(falls, LEVEL), numbers, source=source, **about))
    ticks = sorted({*map(float, swept), paper_steps})
    panels = panels_of(VGG11, curves)
    draw = partial(_draw, panels, "timesteps T", lambda axes, start: axes.set_xticks(ticks), 1, 2.7, 4)
    rows = [curve for box in curves.values() for curve in box]
    table = table_of(text("fig4.caption", network=network_label(VGG11)), "T", rows)
    return results.page([VGG11], [table], [text("twins")], claims=claims, figure=draw)


def fig8a(results: Results) -> Page:
    """VGG5 under white-box PGD over the bound; K and alpha / eps stay."""
    scale = results.scale
    scale.some([VGG5])
    attack = scale.recipe(Run(VGG5, "hire")).attack
    recipe_bound = round(255 * attack.eps, 6)
    bounds: dict[float, str | None] = {0.0: None, recipe_bound: "pgd"}
    bounds |= {round(255 * parse_eps(eps), 6): f"pgd:eps={eps}" for eps in scale.eps}
    bounds = dict(sorted(bounds.items()))
    paper_at = {0.0: None, round(255 * parse_eps(CLAIMS["setting"]["eps"]), 6): "pgd"}
    curves = [
        _of_method(method, {at: results.accuracy(VGG5, method, name) for at, name in bounds.items()}, paper_at)
        for method in ("hire", "traditional")
    ]
    hire, largest_bound = list(curves[0].points.values()), max(bounds)

    def arrange(axes: Any, start: float) -> None:
        axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.6)
        axes.set_xticks(list(bounds), [f"{x:g}" for x in bounds])
        axes.minorticks_off()

    changes = [results.gain(later, earlier).ours for earlier, later in pairwise(hire)]
    lost, left = results.gain(hire[0], hire[-1]).ours, hire[-1].ours
    rise = max(change.mean for change in changes)
    fall = f"{with_limits(lost)} points from clean to the largest bound"
    fall += f"; the largest rise between two bounds is {max(0.0, rise):.1f}"
    rest = f"{one_decimal(left.mean)} % is left at {largest_bound:g}/255, the largest bound here"
    falls = above([lost]) if rise <= LEVEL else False
    vanishes = left.mean <= LEVEL if largest_bound > recipe_bound else None  # at the paper's own bound some is left
    claims = [
        judge(text("fig8.falls", level=LEVEL), [*changes, lost], falls, fall, source="sec. 5.3"),
        judge(text("fig8.vanishes", level=LEVEL), [left], vanishes, rest, source="sec. 5.3"),
    ]
    draw = partial(_draw, [Panel("", "accuracy (%)", curves)], "PGD bound ε (1/255)", arrange)
    notes = [text("fig8.alpha", ratio=attack.step / attack.eps), text("swept")]
    table = table_of(text("fig8.caption", network=network_label(VGG5)), "eps (1/255)", curves)
    return results.page([VGG5], [table], notes, claims=claims, figure=draw)


def fig8b(results: Results) -> Page:
    """VGG5 under white-box PGD after each number of iterations; eps and alpha are the recipe's."""
    scale = results.scale
    scale.some([VGG5])
    recipe_steps = scale.recipe(Run(VGG5, "hire")).attack.iterations
    counts = sorted({*scale.iterations, recipe_steps})
    first, last, level_from = counts[0], counts[-1], CLAIMS["fig8b"]["levels_off_after"]
    one = Measurement("by-iteration", VGG5, attack=f"pgd:iterations={last}", grid=tuple(counts))
    paper_at = {float(CLAIMS["setting"]["iterations"]): "pgd"}
    curves = []
    for method in ("hire", "traditional"):
        points = {float(K): results.read(replace(one, method=method, at=at)) for at, K in enumerate(counts)}
        curves.append(_of_method(method, points, paper_at))
    hire = curves[0].points

    def arrange(axes: Any, start: float) -> None:
        figures.logarithmic(axes, "x", [float(count) for count in counts if count >= start])

    start, end = hire[first].ours, hire[last].ours
    numbers = f"{start.mean:.1f} % at K = {first}, {end.mean:.1f} % at K = {last}"
    claims = [judge(text("fig8.decreases"), [start, end], end.mean < start.mean, numbers, source="sec. 5.3")]
    claim, change, numbers = text("fig8.level", after=level_from, level=LEVEL), [], f"this scale's K ends at {last}"
    if level_from in counts and last > level_from:
        change = [results.gain(hire[last], hire[level_from]).ours]
        spread = "" if change[0].deviation is None else f" ± {change[0].deviation:.1f}"
        numbers = f"{change[0].mean:+.1f}{spread} points from K = {level_from} to K = {last}"
    levels_off = abs(change[0].mean) <= LEVEL if change else None
    claims.append(judge(claim, change, levels_off, numbers, source="sec. 5.3"))
    rest = f"from K = {recipe_steps} on, another y axis"
    panels = [Panel("all", "accuracy (%)", curves), Panel(rest, "accuracy (%)", curves, recipe_steps)]
    draw = partial(_draw, panels, "PGD iterations K", arrange, legend=3)
    table = table_of(text("fig8.caption", network=network_label(VGG5)), "K", curves)
    return results.page([VGG5], [table], [text("swept")], claims=claims, figure=draw)


def _of_method(method: str, points: Mapping[float, Accuracy], paper_at: Mapping[float, str | None]) -> Curve:
    printed = {at: printed_accuracy(accuracy(VGG5, method, attack)) for at, attack in paper_at.items()}
    return Curve({"method": LABELS[method]}, method, points, printed)


def fig10be(results: Results) -> Page:
    """HIRE-SNN over the noise step eps_s; eps_s = 0 is traditional training, and eps_t = eps_s."""
    networks = swept_networks(results.scale)
    curves = {network: _over_noise(results, network) for network in networks}
    claims = [claim for network in networks for claim in _noise_claims(results, network, curves[network])]
    of = [network_label(network) for network in VGGS if network not in networks]
    claims += [Claim(text("fig10be.range"), OPEN, text("not_here"), network, "sec. 5.3") for network in of]
    panels = [panel for network in networks for panel in panels_of(network, curves[network])]
    axis, height = "noise step $\\epsilon_s$ (pixels)", 0.6 + 2.1 * len(networks)
    draw = partial(
        _draw, panels, axis, lambda axes, start: axes.locator_params(axis="x", nbins=4), len(networks), height, 4
    )
    rows = [curve for boxes in curves.values() for several in boxes.values() for curve in several]
    table, notes = table_of(text("fig10be.caption"), "eps_s", rows), [text("fig10be.bound"), text("twins")]
    return results.page(networks, [table], notes, lacking=VGGS, claims=claims, figure=draw)


def _over_noise(results: Results, network: str) -> Curves:
    steps = sorted({*results.scale.noise_steps, results.scale.recipe(Run(network, "hire")).noise.step})
    paper_step = float(CLAIMS["setting"]["noise_step"][network])
    hire, traditional = (partial(results.accuracy, network, method) for method in ("hire", "traditional"))
    return over_boxes(
        lambda attack, box: {
            0.0: traditional(attack, box),
            **{step: hire(attack, box, (("noise.step", f"{step:.6g}"),)) for step in steps},
        },
        lambda attack, box: {
            0.0: printed_accuracy(accuracy(network, "traditional", attack, box)),
            paper_step: printed_accuracy(accuracy(network, "hire", attack, box)),
        },
        labels(network),
    )


def _noise_claims(results: Results, network: str, curves: Curves) -> list[Claim]:
    """What the paper says of the sweep, from its first step to its last."""
    (clean,), attacked = curves["clean"], [curve for box in BOXES for curve in curves[box]]
    last, limit = max(clean.points), CLAIMS["fig10b-e"]["clean_drop_max"]

    rises, fall = [results.gain(*reversed(curve.ends())).ours for curve in attacked], results.gain(*clean.ends()).ours
    names = [f"{curve.labels['images']}, {curve.labels['attacker']}" for curve in attacked]
    each_curve = "; ".join(f"{name}: {with_limits(gain)}" for name, gain in zip(names, rises, strict=True)) + " points"
    better, drop = text("fig10be.better", last=last), text("fig10be.drop", limit=limit, more=limit + 0.5)
    lost, about = text("fig10be.found", drop=with_limits(fall), last=last), {"source": "sec. 5.3"}
    about["of"] = network_label(network)
    return [
        judge(better, rises, above(rises), each_curve, some=True, **about),
        judge(drop, [fall], at_most([fall], limit + 0.5), lost, paper=limit, ours=fall, **about),
    ]


def _draw(
    panels: Sequence[Panel],
    x: str,
    arrange: Callable[[Any, float], object],
    rows: int = 1,
    height: float = 2.6,
    legend: int = 2,
) -> Figure:
    """The panels, each with its own y axis; `arrange` gets the axes and the first x."""
    width = figures.FULL_WIDTH if len(panels) > 1 else figures.HALF_WIDTH
    drawing, places = figures.figure(rows, len(panels) // rows, width=width, height=height)
    for number, (axes, panel) in enumerate(zip(places, panels, strict=True), start=1):
        arrange(axes, panel.start)
        visible: list[SeedStat] = []  # also the paper's points
        for curve in panel.curves:
            style = figures.STYLES[curve.style]
            stats = {at: point.ours for at, point in curve.points.items() if at >= panel.start}
            paper = {at: value for at, value in curve.paper.items() if at >= panel.start and value is not None}
            figures.line(axes, list(stats), list(stats.values()), style)
            figures.paper_points(axes, list(paper), list(paper.values()), style)
            visible += [*stats.values(), *(SeedStat.of([value]) for value in paper.values())]
        figures.focus(axes, visible)
        axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))  # accuracies are never negative
        figures.label(axes, x=x, y=panel.y, title=panel.title, panel=number if len(panels) > 1 else 0)
    figures.outside(drawing, columns=legend)
    return drawing
