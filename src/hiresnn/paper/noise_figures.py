"""Figures 9 and 10b-e as data: noise of the same size, crafted and Gaussian, and accuracy over the noise step."""

from __future__ import annotations

from hiresnn.paper import labels
from hiresnn.paper.accuracy_charts import (
    MEASURED,
    Bars,
    Curves,
    boxes_of,
    draw_bars,
    draw_panels,
    each_attack,
    every,
    rows_of,
)
from hiresnn.paper.accuracy_page import AccuracyPage, Decision, Gain, Grid, Judgement, Largest, Row, pair
from hiresnn.paper.claims import claims, printed
from hiresnn.paper.labels import ATTACK_LABELS, ATTACKS, BOX_LABELS, METHOD_LABELS, VGG5, VGG11, network_label, text
from hiresnn.paper.measurements import BOXES, Measurement, Run, accuracy
from hiresnn.paper.scales import Scale
from hiresnn.paper.seedstat import SeedStat, points

TRAINED = ("traditional", "noise-free", "gaussian", "hire")
"""Methods of Fig. 9; "noise-free" is a control, measured only in the white box."""
NO_GAIN = 2.0
"""Percentage points of a gain in Fig. 9 that count as no noticeable improvement."""


def swept_networks(scale: Scale) -> tuple[str, ...]:
    """The networks of Fig. 9 and 10b-e at a scale."""
    return scale.present(network for network in (VGG5, VGG11) if network in scale.swept)


def fig9(scale: Scale) -> AccuracyPage:
    """A network trained with Gaussian and with crafted noise of the same size, and traditionally.

    The paper draws VGG11; a scale that does not sweep it shows the first network that it sweeps.
    """
    network = VGG11 if VGG11 in swept_networks(scale) else swept_networks(scale)[0]
    bars: Bars = {
        method: {
            (attack, box): pair(accuracy(network, method, attack, box))
            for attack, box in ((None, "white"), *((attack, box) for box in BOXES for attack in ATTACKS))
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
    notes: list[str | Judgement] = [*labels.setting_notes(scale, (network,))]
    notes += [text("fig9.gaussian"), text("fig9.control"), text("twins")]
    none = text("fig9.none", no_gain=NO_GAIN)
    for box, words in BOX_LABELS.items():
        crafted = _gains(network, "hire", "gaussian", box)
        theirs = printed("fig9", "white" if box == "white" else "black", "gain_max") if network == VGG11 else None
        gains.append(((words,), [(theirs, Largest(crafted))]))
        notes.append(Judgement(text("fig9.better"), crafted, every(lambda gain: gain > 0), words))
        gaussian = _gains(network, "gaussian", "traditional", box)
        notes.append(Judgement(none, gaussian, every(lambda gain: gain <= NO_GAIN), words))
    control = _gains(network, "noise-free", "traditional", "white")
    notes.append(Judgement(text("fig9.nothing"), control, lambda found: (None, each_attack(found))))
    notes += [] if network == VGG11 else [text("fig9.other", network=network_label(network))]
    grids = [
        Grid(text("fig9.caption", network=network_label(network)), ("images", "trained with"), MEASURED, rows),
        Grid(text("fig9.gains"), ("attacker",), ("gain",), gains),
    ]
    return AccuracyPage((network,), grids, notes, (), draw_bars(bars))


def _gains(network: str, better: str, worse: str, box: str) -> tuple[Gain, ...]:
    return tuple(
        Gain(accuracy(network, better, attack, box), accuracy(network, worse, attack, box)) for attack in ATTACKS
    )


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

    return boxes_of(
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
