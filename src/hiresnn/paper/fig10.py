"""Fig. 10 b to e: HIRE-SNN over the noise step eps_s, from 0, which is traditional training. Fig. 10a: fig10a.py."""

from __future__ import annotations

from typing import Any

from hiresnn.paper.accuracies import TWINS_NOTE, over
from hiresnn.paper.artefact import Artefact
from hiresnn.paper.claims import printed
from hiresnn.paper.fig10a import fig10a
from hiresnn.paper.study import BOXES, Study
from hiresnn.paper.sweep import (
    CLEAN,
    CONDITION_WORDS,
    CONDITIONS,
    PANEL_WORDS,
    Curve,
    draw,
    judged,
    known,
    paper_noise_step,
    points,
    printed_accuracy,
    swept,
    table,
)
from hiresnn.paper.words import BOXES as BOX_WORDS
from hiresnn.paper.words import left_out, network_words, setting_notes

__all__ = ["fig10a", "fig10be"]

NETWORKS = ("vgg5-cifar10", "vgg11-cifar100")
LETTERS = {
    "vgg5-cifar10": dict(zip(BOXES, "bcc", strict=True)),
    "vgg11-cifar100": dict(zip(BOXES, "dee", strict=True)),
}
"""The paper's panels; its black box is drawn twice, once for each kind of twin."""


def fig10be(study: Study) -> Artefact:
    """Accuracy in percent at each noise step of the scale, at the recipe's own, and at 0; the bound is the step."""
    networks = [network for network in NETWORKS if network in swept(study)]
    curves = {network: _curves(study, network) for network in networks}
    rows = [
        (*network_words(network), curve)
        for network, found in curves.items()
        for box, drawn in found.items()
        for curve in drawn
        if box == "white" or curve.style != CLEAN
    ]
    listed = [Curve((model, dataset, *c.names), c.style, c.x, c.stats, c.paper) for model, dataset, c in rows]
    caption = (
        "Accuracy in percent over the noise step eps_s in pixel units, mean ± sample standard deviation over seeds. "
        "0 is traditional training. The paper's values are those of its Tables 1 to 3."
    )

    def figure(plotting: Any) -> Any:
        rows = len(networks)
        drawn, panels = plotting.figure(rows, 3, width=plotting.FULL_WIDTH, height=0.5 + 2.1 * rows, share_y=True)
        places = [(network, box) for network in networks for box in BOXES]
        for axes, (network, box) in zip(panels, places, strict=True):
            draw(plotting, axes, curves[network][box])
            axes.locator_params(axis="x", nbins=4)  # small numbers make wide labels
            plotting.label(
                axes,
                x="noise step $\\epsilon_s$ (pixel units)",
                y=f"{' on '.join(network_words(network))}\naccuracy (%)" if box == "white" else "",
                title=f"({LETTERS[network][box]}) {PANEL_WORDS[box]}",
            )
        plotting.outside(drawn, columns=4)
        return drawn

    columns = ("model", "data set", "attacker", "images")
    return Artefact(
        "fig10b-e",
        "Accuracy over the noise step",
        [table(caption, "eps_s", columns, listed)],
        figure,
        [
            *setting_notes(study, tuple(networks)),
            *left_out(NETWORKS, networks),
            "The noise bound eps_t equals eps_s at every point, as in the paper.",
            TWINS_NOTE,
            *(note for network in networks for note in _observations(network, curves[network])),
        ],
    )


def _curves(study: Study, network: str) -> dict[str, list[Curve]]:
    """Box -> its curves, the clean one first."""
    steps = sorted({0.0, *study.scale.noise_steps, study.recipe(network, "hire", 0).noise.step})
    return {box: [_curve(study, network, condition, box, steps) for condition in CONDITIONS] for box in BOXES}


def _curve(study: Study, network: str, condition: str, box: str, steps: list[float]) -> Curve:
    attack = None if condition == CLEAN else condition
    stats = [
        over(study, network, "hire", attack, box, noise__step=f"{step:.6g}")
        if step
        else over(study, network, "traditional", attack, box)
        for step in steps
    ]
    paper = {
        0.0: printed_accuracy(network, "traditional", condition, box),
        paper_noise_step(network): printed_accuracy(network, "hire", condition, box),
    }
    return Curve(
        names=("none" if attack is None else BOX_WORDS[box], CONDITION_WORDS[condition]),
        style=condition,
        x=tuple(steps),
        stats=tuple(stats),
        paper=known(paper),
    )


def _observations(network: str, curves: dict[str, list[Curve]]) -> list[str]:
    """What the paper says of the sweep, judged from its first step to its last."""
    where, clean = " on ".join(network_words(network)), curves["white"][0]
    gains = [(curve, curve.last.minus(curve.first)) for found in curves.values() for curve in found[1:]]
    told = "; ".join(f"{curve.names[1]}, {curve.names[0]}: {points(gain)}" for curve, gain in gains)
    drop, last = clean.first.minus(clean.last), clean.x[-1]
    limit = printed("fig10b-e", "clean_drop_max") or 0.0
    return [
        judged(
            f"at eps_s = {last:g} it is better than traditional training under both attacks, white and black box",
            all(gain.mean > 0 for _, gain in gains),
            f"{told} points",
            of=where,
        ),
        judged(
            f"clean accuracy drops by up to about {limit:g} points; {limit + 0.5:g} counts as that",
            drop.mean <= limit + 0.5,
            f"{drop.mean:.1f} points lower at eps_s = {last:g} than at 0",
            of=where,
        ),
    ]
