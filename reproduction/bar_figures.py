"""Figures 1c and 9 as data: accuracies under each attack as bars, a bar per network or per training."""

from __future__ import annotations

from functools import partial

from reproduction import labels
from reproduction.accuracy_charts import MEASURED, Bars, Group, above, at_most, draw_bars, each_attack, largest
from reproduction.accuracy_page import AccuracyPage, Direction, Gain, Grid, Judgement, Pair, Row, pair
from reproduction.accuracy_tables import gains_of, has_twin
from reproduction.claims import printed
from reproduction.labels import ATTACK_LABELS, ATTACKS, BOX_LABELS, METHOD_LABELS, VGG11, network_label, text
from reproduction.measurements import BOXES, accuracy
from reproduction.scales import Scale
from reproduction.sweep_figures import swept_networks

TRAINED = ("traditional", "noise-free", "gaussian", "hire")
"""Methods of Fig. 9; "noise-free" is a control, measured only in the white box."""
NO_GAIN = 2.0
"""Percentage points of a gain in Fig. 9 that count as no noticeable improvement."""
ATTACKED = [(attack, box) for box in BOXES for attack in ATTACKS]
"""Every attack in every box."""


def fig1c(scale: Scale) -> AccuracyPage:
    """VGG11: the traditional SNN beside its ANN under each attack."""
    rows: list[Row] = []
    directions = []
    bars: dict[str, dict[tuple[str | None, str], Pair]] = {"ann": {}, "traditional": {}}
    for attack, box in ATTACKED:
        ann, snn = (accuracy(VGG11, method, attack, box) for method in bars)
        gain = Gain(snn, ann)
        cells = [pair(ann), pair(snn), pair(gain)]
        if has_twin("ann", box):
            directions.append(Direction(f"{attack.upper()}, {BOX_LABELS[box]}, SNN over ANN", cells[2][0], gain))
        else:
            cells[0], cells[2] = (cells[0][0], None), (cells[2][0], None)
        bars["ann"][attack, box], bars["traditional"][attack, box] = cells[:2]
        rows.append(((BOX_LABELS[box], attack.upper()), cells))
    measured = (METHOD_LABELS["ann"], METHOD_LABELS["traditional"], "SNN minus ANN")
    notes = [*labels.setting_notes(scale, [VGG11]), text("fig1c.source"), text("twins"), text("ann_twin")]
    grid = Grid(text("fig1c.caption"), ("box", "attack"), measured, rows)
    draw = partial(draw_bars, bars=bars, panels={"": ATTACKED})
    return AccuracyPage((VGG11,), [grid], notes, directions, figure=draw)


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
    judgements = []
    none, where = text("fig9.none", no_gain=NO_GAIN), "sec. 5.3"
    for box, words in BOX_LABELS.items():
        crafted = [*gains_of([network], "hire", "gaussian", [box]).values()]
        theirs = printed("fig9", "white" if box == "white" else "black", "gain_max") if network == VGG11 else None
        judgements.append(Judgement(text("fig9.better"), crafted, above, words, where, theirs, largest, some=True))
        gaussian = [*gains_of([network], "gaussian", "traditional", [box]).values()]
        judgements.append(Judgement(none, gaussian, partial(at_most, limit=NO_GAIN), words, where, some=True))
    control = [*gains_of([network], "noise-free", "traditional", ["white"]).values()]
    judgements.append(Judgement(text("fig9.nothing"), control, lambda found: (None, each_attack(found))))
    notes = [*labels.setting_notes(scale, (network,)), text("fig9.gaussian"), text("fig9.control"), text("twins")]
    notes += [] if network == VGG11 else [text("fig9.other", network=network_label(network))]
    caption = text("fig9.caption", network=network_label(network))
    grids = [Grid(caption, ("images", "trained with"), MEASURED, rows)]
    panels: dict[str, list[Group]] = {
        "clean and FGSM": [(None, "white"), *(("fgsm", box) for box in BOXES)],
        "PGD": [("pgd", box) for box in BOXES],
    }
    return AccuracyPage((network,), grids, notes, (), judgements, partial(draw_bars, bars=bars, panels=panels))
