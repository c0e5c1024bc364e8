"""Figures 1c, 4, 8a, 8b, 9 and 10b-e as data: accuracies as bars and as curves over a swept quantity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from hiresnn.paper import labels
from hiresnn.paper.accuracy_page import (
    AccuracyPage,
    Curve,
    Direction,
    Gain,
    Grid,
    Judgement,
    Largest,
    Pair,
    Row,
    Values,
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
    OVER_SEEDS,
    PANEL_LABELS,
    TWINS_NOTE,
    network_label,
    network_labels,
    setting_notes,
)
from hiresnn.paper.measurements import BOXES, Measurement, Run, accuracy
from hiresnn.paper.scales import Scale
from hiresnn.paper.seedstat import SeedStat, points

VGG5, VGG11 = "vgg5-cifar10", "vgg11-cifar100"
CONDITIONS = (None, *ATTACKS)
ATTACKED = tuple((attack, box) for box in BOXES for attack in ATTACKS)
TRAINED = ("traditional", "noise-free", "gaussian", "hire")
"""Methods of Fig. 9; "noise-free" is a control, measured only in the white box."""
SWEPT_NOTE = "The paper draws its HIRE-SNN; traditional training is measured beside it."
LEVEL = 1.0
"""Percentage points of a change in Fig. 4, 8a and 8b that count as none."""
NO_GAIN = 2.0
"""Percentage points of a gain in Fig. 9 that count as no noticeable improvement."""

Curves = dict[str, list[Curve]]
"""Box -> its curves, the clean one first."""
Bars = Mapping[str, Mapping[tuple[str | None, str], Pair]]
"""Method -> attack and box -> bar."""


def swept_networks(scale: Scale) -> tuple[str, ...]:
    """The networks of Fig. 9 and 10b-e at a scale."""
    return tuple(network for network in (VGG5, VGG11) if network in scale.swept and network in scale.networks)


def fig1c(scale: Scale) -> AccuracyPage:
    """VGG11: the traditional SNN beside its ANN under each attack."""
    rows: list[Row] = []
    directions: list[Direction] = []
    bars: dict[str, dict[tuple[str | None, str], Pair]] = {"ann": {}, "traditional": {}}
    for attack, box in ATTACKED:
        cells = [pair(accuracy(VGG11, method, attack, box)) for method in bars]
        cells.append(pair(Gain(accuracy(VGG11, "traditional", attack, box), accuracy(VGG11, "ann", attack, box))))
        if not has_twin("ann", box):
            cells[0], cells[2] = (cells[0][0], None), (cells[2][0], None)
        bars["ann"][attack, box], bars["traditional"][attack, box] = cells[:2]
        rows.append(((BOX_LABELS[box], attack.upper()), cells))
        directions.append((f"{attack.upper()}, {BOX_LABELS[box]}, SNN over ANN", cells[2]))
    measured = (METHOD_LABELS["ann"], METHOD_LABELS["traditional"], "SNN minus ANN")
    source = "The paper draws this figure without numbers; the stars are those of its Table 1."
    notes = [*setting_notes(scale, [VGG11]), source, TWINS_NOTE, labels.ANN_TWIN_NOTE]
    grid = Grid("Accuracy in percent. Difference: ours minus the paper's.", ("box", "attack"), measured, rows)
    return AccuracyPage((VGG11,), [grid], notes, directions, lambda charts, values: _bars(charts, values, bars, 1))


def fig9(scale: Scale) -> AccuracyPage:
    """A network trained with Gaussian and with crafted noise of the same size, and traditionally.

    The paper draws VGG11; a scale that does not sweep it shows the first network that it sweeps.
    """
    network = VGG11 if VGG11 in swept_networks(scale) else swept_networks(scale)[0]
    where = network_label(network)
    bars = {
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
    judgements: list[str | Judgement] = []
    for box in BOXES:
        theirs = printed("fig9", "white" if box == "white" else "black", "gain_max") if network == VGG11 else None
        over_gaussian = _gains(network, "hire", "gaussian", box)
        gain_rows.append(((BOX_LABELS[box],), [(theirs, Largest(over_gaussian))]))
        better = "crafted noise is better than Gaussian noise under both attacks"
        judgements.append(Judgement(better, over_gaussian, _all(lambda gain: gain > 0), BOX_LABELS[box]))
        small = "Gaussian noise is no noticeable improvement over traditional training"
        small += f"; up to {NO_GAIN:g} points count as none"
        over_traditional = _gains(network, "gaussian", "traditional", box)
        judgements.append(Judgement(small, over_traditional, _all(lambda gain: gain <= NO_GAIN), BOX_LABELS[box]))
    control = _gains(network, "noise-free", "traditional", "white")
    question = "nothing on periods without noise; ours over traditional training, white box"
    judgements.append(Judgement(question, control, lambda found: (None, _each(found))))
    if network != VGG11:
        judgements.append(f"The paper draws {network_label(VGG11)}; it prints no gain over Gaussian noise for {where}.")
    caption = (
        f"{where}: accuracy in percent, {OVER_SEEDS}. The paper's values are those of its Tables 1 to 3; it draws those "
        "of Gaussian noise without printing them."
    )
    gain_caption = "Crafted over Gaussian noise in percentage points: the larger gain of FGSM and PGD."
    notes = [
        *setting_notes(scale, (network,)),
        "Gaussian noise has the standard deviation eps_s, is clipped to [0, 1] with the image, and is drawn afresh in "
        "every period.",
        "Periods without noise are a control that the paper does not have: as many updates, no noise. They are measured "
        "only in the white box.",
        TWINS_NOTE,
        *judgements,
    ]
    grids = [
        Grid(caption, ("images", "trained with"), ("accuracy (%)",), rows),
        Grid(gain_caption, ("attacker",), ("gain",), gain_rows),
    ]
    return AccuracyPage((network,), grids, notes, (), lambda charts, values: _bars(charts, values, bars))


def fig4(scale: Scale) -> AccuracyPage:
    """The traditional VGG11 over T, each T trained by itself, and at the recipe's own T."""
    swept = sorted({*scale.timesteps, scale.recipe(Run(VGG11, "traditional", 0)).snn.timesteps})
    fewest, most = swept[0], swept[-1]
    paper_steps = float(claims().setting.timesteps.vgg11)

    def curve(attack: str | None, box: str) -> Curve:
        at = {
            float(steps): accuracy(VGG11, "traditional", attack, box, (("snn.timesteps", str(steps)),))
            for steps in swept
        }
        return _curve(attack, box, at, {paper_steps: accuracy(VGG11, "traditional", attack, box)})

    curves = {box: [curve(attack, box) for attack in CONDITIONS] for box in BOXES}
    clean, better = curves["white"][0].change, f"clean accuracy is lower at T = {fewest} than at T = {most}"
    lower = Gain(clean.worse, clean.better)
    judgements = [Judgement(better, (lower,), lambda found: (found[0].mean < 0, f"{points(found[0])} points"))]
    for box, found in curves.items():
        changes = [Gain(curve.change.worse, curve.change.better) for curve in found[1:]]
        claim = f"accuracy under attack does not improve by more than a point as T falls from {most} to {fewest}"
        judgements.append(Judgement(claim, changes, _all(lambda change: change <= LEVEL), BOX_LABELS[box]))
    caption = (
        f"{network_label(VGG11)}, traditional SNN: accuracy in percent, {OVER_SEEDS}. The paper's values are those of "
        "its Table 1, at the one T that it prints."
    )
    ticks = sorted({*map(float, swept), paper_steps})
    return AccuracyPage(
        (VGG11,),
        [Grid(caption, ("attacker", "images", "T"), ("accuracy (%)",), _listed(curves))],
        [*setting_notes(scale, (VGG11,)), TWINS_NOTE, *judgements],
        figure=lambda charts, values: _panels(
            charts, values, {VGG11: curves}, "abc", "timesteps T", lambda axes: axes.set_xticks(ticks)
        ),
    )


def fig8a(scale: Scale) -> AccuracyPage:
    """VGG5 under white-box PGD over the bound; K and alpha / eps stay."""
    attack = scale.recipe(Run(VGG5, "hire", 0)).attack
    bounds: dict[float, str | None] = {0.0: None, round(255 * attack.eps, 6): "pgd"}
    bounds |= {_level(eps): f"pgd:eps={eps}" for eps in scale.eps}
    printed_at = {0.0: None, _level(claims().setting.eps): "pgd"}
    curves = {
        method: Curve(
            (METHOD_LABELS[method],), method, {at: accuracy(VGG5, method, bounds[at]) for at in sorted(bounds)},
            {at: printed_accuracy(accuracy(VGG5, method, text)) for at, text in printed_at.items()},
        )
        for method in ("hire", "traditional")
    }  # fmt: skip
    levels, largest = list(curves["hire"].points.values()), f"{max(bounds):g}/255, the largest bound here"

    def falls(changes: list[SeedStat]) -> tuple[bool, str]:
        most = max(change.mean for change in changes)
        return most <= LEVEL, f"the largest change from one bound to the next is {most:+.1f} points"

    def vanishes(found: list[SeedStat]) -> tuple[bool, str]:
        return found[0].mean <= LEVEL, f"{found[0].mean:.1f} % is left at {largest}"

    judgements = [
        Judgement(
            f"a larger bound lowers the accuracy (Table 4, iii); a rise of up to {LEVEL:g} point counts as none",
            [Gain(later, earlier) for earlier, later in zip(levels, levels[1:], strict=False)],
            falls,
        ),
        Judgement(f"accuracy reaches about 0 % (Table 4, iv); {LEVEL:g} % counts as that", levels[-1:], vanishes),
    ]

    def arrange(charts: Any, axes: Any) -> None:
        axes.set_xscale("symlog", base=2, linthresh=1, linscale=0.6)
        axes.set_xticks(sorted(bounds), [f"{x:g}" for x in sorted(bounds)])
        axes.minorticks_off()

    ratio = f"alpha is {attack.step / attack.eps:.3g} eps at every bound, so that K steps reach equally far."
    return _fig8(scale, curves, "eps (1/255)", "PGD bound ε (1/255)", [ratio, SWEPT_NOTE, *judgements], arrange)


def fig8b(scale: Scale) -> AccuracyPage:
    """VGG5 under white-box PGD after each number of iterations; eps and alpha are the recipe's."""
    counts = sorted({*scale.iterations, scale.recipe(Run(VGG5, "hire", 0)).attack.iterations})
    first, last = counts[0], counts[-1]

    def after(method: str, at: int) -> Measurement:
        text, grid = f"pgd:iterations={last}", tuple(counts)
        return Measurement("by-iteration", VGG5, method, attack=text, grid=grid, at=counts.index(at))

    curves = {
        method: Curve(
            (METHOD_LABELS[method],), method, {float(count): after(method, count) for count in counts},
            {float(claims().setting.iterations): printed_accuracy(accuracy(VGG5, method, "pgd"))},
        )
        for method in ("hire", "traditional")
    }  # fmt: skip

    def decreases(found: list[SeedStat]) -> tuple[bool, str]:
        left = f"{found[0].mean:.1f} % at K = {first}, {found[1].mean:.1f} % at K = {last}"
        return found[1].mean < found[0].mean, left

    level_from = int(printed("fig8b", "levels_off_after") or 0)
    decides = level_from in counts and last > level_from
    ends = [Gain(after("hire", last), after("hire", level_from))] if decides else []

    def levels_off(found: list[SeedStat]) -> tuple[bool | None, str]:
        if not found:
            return None, f"this scale's K ends at {last}"
        return abs(found[0].mean) <= LEVEL, f"{points(found[0])} points from K = {level_from} to K = {last}"

    level = f"accuracy levels off after K = {level_from}; a change of up to {LEVEL:g} point counts as level"
    judgements = [
        Judgement("accuracy decreases with K", [after("hire", first), after("hire", last)], decreases),
        Judgement(level, ends, levels_off),
    ]

    def arrange(charts: Any, axes: Any) -> None:
        charts.logarithmic(axes, "x", list(map(float, counts)))

    return _fig8(scale, curves, "K", "PGD iterations K", [SWEPT_NOTE, *judgements], arrange)


def fig10be(scale: Scale) -> AccuracyPage:
    """HIRE-SNN over the noise step eps_s; eps_s = 0 is traditional training, and eps_t = eps_s."""
    networks = swept_networks(scale)
    curves = {network: _over_noise(scale, network) for network in networks}
    rows = [
        ((*network_labels(network), *texts), cells)
        for network, found in curves.items()
        for texts, cells in _listed(found)
    ]
    caption = (
        f"Accuracy in percent over the noise step eps_s in pixel units, {OVER_SEEDS}. 0 is traditional training. The "
        "paper's values are those of its Tables 1 to 3."
    )
    letters = "bccdee" if networks[0] == VGG5 else "dee"  # as in the paper, whose black box is drawn twice here
    axis = "noise step $\\epsilon_s$ (pixel units)"
    return AccuracyPage(
        networks,
        [Grid(caption, ("model", "data set", "attacker", "images", "eps_s"), ("accuracy (%)",), rows)],
        [
            *setting_notes(scale, networks),
            *labels.left_out((VGG5, VGG11), networks),
            "The noise bound eps_t equals eps_s at every point, as in the paper.",
            TWINS_NOTE,
            *(note for network in networks for note in _noise_judgements(network, curves[network])),
        ],
        figure=lambda charts, values: _panels(
            charts, values, curves, letters, axis, lambda axes: axes.locator_params(axis="x", nbins=4)
        ),
    )


def _over_noise(scale: Scale, network: str) -> Curves:
    steps = sorted({*scale.noise_steps, scale.recipe(Run(network, "hire", 0)).noise.step})
    paper_step = float(claims().setting.noise_step[network])

    def curve(attack: str | None, box: str) -> Curve:
        traditional, hire = (accuracy(network, method, attack, box) for method in ("traditional", "hire"))
        at = {step: accuracy(network, "hire", attack, box, (("noise.step", f"{step:.6g}"),)) for step in steps}
        return _curve(attack, box, {0.0: traditional, **at}, {0.0: traditional, paper_step: hire})

    return {box: [curve(attack, box) for attack in CONDITIONS] for box in BOXES}


def _noise_judgements(network: str, curves: Curves) -> list[Judgement]:
    """What the paper says of the sweep, from its first step to its last."""
    attacked, clean = [curve for found in curves.values() for curve in found[1:]], curves["white"][0]
    last, limit = max(clean.points), printed("fig10b-e", "clean_drop_max") or 0.0

    def gains(found: list[SeedStat]) -> tuple[bool, str]:
        named = zip(attacked, found, strict=True)
        words = "; ".join(f"{curve.labels[1]}, {curve.labels[0]}: {points(gain)}" for curve, gain in named)
        return all(gain.mean > 0 for gain in found), f"{words} points"

    def drop(found: list[SeedStat]) -> tuple[bool, str]:
        return -found[0].mean <= limit + 0.5, f"{-found[0].mean:.1f} points lower at eps_s = {last:g} than at 0"

    better = f"at eps_s = {last:g} it is better than traditional training under both attacks, white and black box"
    cost = f"clean accuracy drops by up to about {limit:g} points; {limit + 0.5:g} counts as that"
    return [
        Judgement(better, [curve.change for curve in attacked], gains, network_label(network)),
        Judgement(cost, [clean.change], drop, network_label(network)),
    ]


def _gains(network: str, better: str, worse: str, box: str) -> tuple[Gain, ...]:
    return tuple(
        Gain(accuracy(network, better, attack, box), accuracy(network, worse, attack, box)) for attack in ATTACKS
    )


def _each(gains: Sequence[SeedStat]) -> str:
    """Gains under FGSM and PGD in words."""
    return (
        ", ".join(f"{attack.upper()} {points(gain)}" for attack, gain in zip(ATTACKS, gains, strict=True)) + " points"
    )


def _all(condition: Callable[[float], bool]) -> Callable[[list[SeedStat]], tuple[bool, str]]:
    return lambda gains: (all(condition(gain.mean) for gain in gains), _each(gains))


def _level(eps: str) -> float:
    return round(float(255 * Fraction(eps)), 6)


def _curve(
    attack: str | None, box: str, at: Mapping[float, Measurement], printed_at: Mapping[float, Measurement]
) -> Curve:
    texts = ("none" if attack is None else BOX_LABELS[box], ATTACK_LABELS[attack])
    return Curve(texts, attack or "clean", at, {x: printed_accuracy(each) for x, each in printed_at.items()})


def _listed(curves: Curves) -> list[Row]:
    """The rows of a table: the clean curve once, the attacked ones for each box."""
    listed = [curve for box, found in curves.items() for curve in found if box == "white" or curve.style != "clean"]
    return [row for curve in listed for row in curve.rows()]


def _panels(
    charts: Any,
    values: Values,
    networks: Mapping[str, Curves],
    letters: str,
    x: str,
    arrange: Callable[[Any], object],
) -> Any:
    """A row of panels per network, one for each box."""
    height = 0.5 + 2.1 * len(networks)
    drawn, panels = charts.figure(len(networks), len(BOXES), width=charts.FULL_WIDTH, height=height, share_y=True)
    places = [(network, box) for network in networks for box in BOXES]
    for axes, letter, (network, box) in zip(panels, letters, places, strict=True):
        for curve in networks[network][box]:
            curve.draw(charts, axes, values)
        arrange(axes)
        y = f"{network_label(network)}\naccuracy (%)" if box == "white" else ""
        charts.label(axes, x=x, y=y, title=f"({letter}) {PANEL_LABELS[box]}")
    charts.outside(drawn, columns=4)
    return drawn


def _bars(charts: Any, values: Values, bars: Bars, digits: int | None = None) -> Any:
    """Groups of one bar per method, with the paper's values as stars."""
    drawn, (axes,) = charts.figure(width=charts.FULL_WIDTH, height=2.8)
    groups = list(max(bars.values(), key=len))
    cells = {method: [found.get(group, (None, None)) for group in groups] for method, found in bars.items()}
    series = [
        (charts.STYLES[method], [None if ours is None else values.read(ours) for _, ours in each])
        for method, each in cells.items()
    ]
    twins = {box: PANEL_LABELS[box].replace(", ", ",\n").replace("independent", "indep.") for box in BOXES}
    names = [f"{ATTACK_LABELS[attack]}\n{twins[box]}" if attack else "clean" for attack, box in groups]
    stars = [[paper for paper, _ in each] for each in cells.values()]
    charts.bars(axes, names, series, paper=stars, digits=digits)
    charts.label(axes, x="images", y="accuracy (%)")
    charts.outside(drawn, columns=5)
    return drawn


def _fig8(
    scale: Scale,
    curves: Mapping[str, Curve],
    column: str,
    axis: str,
    notes: Sequence[str | Judgement],
    arrange: Callable[[Any, Any], None],
) -> AccuracyPage:
    def figure(charts: Any, values: Values) -> Any:
        drawn, (axes,) = charts.figure(height=2.6)
        arrange(charts, axes)
        for curve in curves.values():
            curve.draw(charts, axes, values)
        charts.label(axes, x=axis, y="accuracy (%)")
        charts.legend(axes)
        return drawn

    caption = (
        f"{network_label(VGG5)}, white-box PGD: accuracy in percent, {OVER_SEEDS}. The paper's values are those of its "
        "Tables 1 and 2."
    )
    grid = Grid(
        caption, ("method", column), ("accuracy (%)",), [row for each in curves.values() for row in each.rows()]
    )
    return AccuracyPage((VGG5,), [grid], [*setting_notes(scale, (VGG5,)), *notes], figure=figure)
