"""Fig. 4: traditionally trained VGG11 over the number of timesteps T, on clean and on attacked images."""

from __future__ import annotations

from typing import Any

from hiresnn.paper.accuracies import ATTACKS, TWINS_NOTE, over
from hiresnn.paper.artefact import Artefact
from hiresnn.paper.claims import claims
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
    points,
    printed_accuracy,
    table,
)
from hiresnn.paper.words import BOXES as BOX_WORDS
from hiresnn.paper.words import network_words, setting_notes

NETWORK, METHOD = "vgg11-cifar100", "traditional"


def fig4(study: Study) -> Artefact:
    """Accuracy in percent at each T of the scale, each T trained by itself, and at the recipe's own T."""
    swept = sorted({*study.scale.timesteps, study.recipe(NETWORK, METHOD, 0).snn.timesteps})
    curves = {box: [_curve(study, box, condition, swept) for condition in CONDITIONS] for box in BOXES}
    listed = [curve for box, found in curves.items() for curve in found if box == "white" or curve.style != CLEAN]
    model, dataset = network_words(NETWORK)
    caption = (
        f"{model} on {dataset}, traditional SNN: accuracy in percent, mean ± sample standard deviation over seeds. "
        "The paper's values are those of its Table 1, printed at its T alone."
    )

    def figure(plotting: Any) -> Any:
        drawn, panels = plotting.figure(1, 3, width=plotting.FULL_WIDTH, height=2.5, share_y=True)
        for axes, letter, (box, found) in zip(panels, "abc", curves.items(), strict=True):
            draw(plotting, axes, found)
            axes.set_xticks(sorted({*swept, *found[0].paper}))
            plotting.label(
                axes,
                x="timesteps T",
                y="accuracy (%)" if box == "white" else "",
                title=f"({letter}) {PANEL_WORDS[box]}",
            )
        plotting.outside(drawn, columns=4)
        return drawn

    return Artefact(
        "fig4",
        "Accuracy over timesteps T",
        [table(caption, "T", ("attacker", "images"), listed)],
        figure,
        [*setting_notes(study, (NETWORK,)), TWINS_NOTE, *_observations(curves, swept)],
    )


def _curve(study: Study, box: str, condition: str, swept: list[int]) -> Curve:
    attack = None if condition == CLEAN else condition
    at = [over(study, NETWORK, METHOD, attack, box, snn__timesteps=str(steps)) for steps in swept]
    paper = printed_accuracy(NETWORK, METHOD, condition, box)
    return Curve(
        names=("none" if attack is None else BOX_WORDS[box], CONDITION_WORDS[condition]),
        style=condition,
        x=tuple(map(float, swept)),
        stats=tuple(at),
        paper=known({float(claims().setting.timesteps.vgg11): paper}),
    )


def _observations(curves: dict[str, list[Curve]], swept: list[int]) -> list[str]:
    """Observation 2, both halves, from the largest T to the smallest. One point decides what is a change."""
    fewest, most = swept[0], swept[-1]
    clean = curves["white"][0].first.minus(curves["white"][0].last)
    notes = [
        judged(
            f"clean accuracy is lower at T = {fewest} than at T = {most}",
            clean.mean < 0,
            f"{points(clean)} points",
        )
    ]
    for box, found in curves.items():
        changes = [curve.first.minus(curve.last) for curve in found[1:]]
        told = ", ".join(f"{attack.upper()} {points(change)}" for attack, change in zip(ATTACKS, changes, strict=True))
        notes.append(
            judged(
                f"accuracy under attack does not improve by more than a point as T falls from {most} to {fewest}",
                all(change.mean <= 1 for change in changes),
                f"{told} points",
                of=BOX_WORDS[box],
            )
        )
    return notes
