"""What the evidence says of gradients: five questions, six indicators, and a verdict by a stated rule.

For each rule, on the scouted images:

- **masked gradients likely** where any of the five questions of Athalye et al. 2018 is answered yes; or more than
  10 % of the images have a gradient of exactly zero; or, for the network's own rule, another one breaks at least 25 %
  of the images more with the same climbs, and that is no chance (sign test, 5 %).
- **inconclusive** where another rule breaks at least 10 % more, and no chance; where more than 10 % of the images show
  an indicator of a failed attack (Pintor et al. 2022: silent success, a loss still rising), or their losses change by
  more than half in random directions; or where fewer than 20 images were scouted.
- **consistent** otherwise. Five times no proves nothing: it is the absence of a reason to doubt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hiresnn.audit.bounds import Bound
from hiresnn.audit.card import Question, RuleReport, Verdict
from hiresnn.audit.intervals import outnumbers
from hiresnn.audit.scouting import WIDER, Scouted
from hiresnn.audit.subject import OWN

SOME = 0.05
"""Share of the images from which an effect counts in a question."""
MANY = 0.10
"""Share of the images from which an indicator counts."""
FAR = 0.25
"""Share of the images that another rule breaks beyond the own one from which the own one counts as masked."""
UNSTABLE = 0.5
"""Mean relative change of the loss from which its landscape counts as jagged."""
FEWEST = 20
"""Images below which nothing can be concluded."""

Broken = NDArray[np.bool_]


def questions(scouted: Scouted, without_gradient: Mapping[str, Broken], bound: Bound) -> list[Question]:
    """Athalye's five, answered for one rule.

    Args:
        without_gradient: what each attack that sees no gradient of this network broke of the sample, alone.
            Names that begin with "noise" answer the question about random sampling, all of them that about
            the black box.
    """
    climbed, count = scouted.broken, len(scouted.fgsm)
    gained = (scouted.fgsm & ~climbed).sum(), (climbed & ~scouted.fgsm).sum()
    found = [
        Question(
            name="Is one step better than iterating?",
            yes=outnumbers(int(gained[0]), int(gained[1])),
            evidence=f"one step alone breaks {gained[0]}, iterating alone {gained[1]} of {count} images",
        )
    ]
    best, better = "", (0, 0)
    for name, broken in without_gradient.items():
        pair = int((broken & ~climbed).sum()), int((climbed & ~broken).sum())
        if not best or pair[0] - pair[1] > better[0] - better[1]:
            best, better = name, pair
    found.append(
        Question(
            name="Is a black box better than the white box?",
            yes=outnumbers(*better),
            evidence=f"{best or 'nothing'} alone breaks {better[0]}, the gradient alone {better[1]} of {count} images",
        )
    )
    here, there = int(scouted.margin.sum()), int(scouted.wider.sum())
    wider = f"{WIDER} times {bound.label}" if bound.radius < 1 else "any bound, which is no larger"
    found.append(
        Question(
            name="Does a larger bound fail to help?",
            yes=bound.radius < 1 and here < (1 - SOME) * count and there < here + SOME * count,
            evidence=f"{here} of {count} images fall at {bound.label}, {there} at {wider}",
        )
    )
    left = int((~scouted.unbounded).sum())
    found.append(
        Question(
            name="Does the unbounded attack stay below 100 %?",
            yes=left > SOME * count,
            evidence=f"{left} of {count} images stand without a bound",
        )
    )
    noise = [broken for name, broken in without_gradient.items() if name.startswith("noise")]
    lucky = int((np.logical_or.reduce(noise) & ~climbed).sum()) if noise else 0
    found.append(
        Question(
            name="Does random sampling find what gradients do not?",
            yes=lucky > max(SOME * count, 1),
            evidence=f"noise breaks {lucky} of {count} images that the gradient leaves",
        )
    )
    return found


def report(
    scouted: Scouted,
    others: Sequence[Scouted],
    without_gradient: Mapping[str, Broken],
    bound: Bound,
    surrogate_only: float | None = None,
) -> RuleReport:
    """One rule's indicators, questions and verdict. `others` are the scouted rules, it may be among them."""
    asked = questions(scouted, without_gradient, bound)
    shares = {name: float(getattr(scouted, name).mean()) for name in ("zero", "zero_pixels", "silent", "rising")}
    unstable, unbounded = float(scouted.unstable.mean()), float((~scouted.unbounded).mean())
    masked = [f"{question.name[:-1]}: yes, {question.evidence}" for question in asked if question.yes]
    if shares["zero"] > MANY:
        masked.append(f"{100 * shares['zero']:.0f} % of the images have a gradient of exactly zero")
    beaten, by = _beaten(scouted, others)
    doubts = []
    if by >= FAR and scouted.rule == OWN:  # of an attacker's rule it only says that it is a poor one
        masked.append(beaten)
    elif by >= MANY:
        doubts.append(beaten)
    if shares["silent"] > MANY:
        doubts.append(
            f"the last iterate misses a success of an earlier one on {100 * shares['silent']:.0f} % of the images"
        )
    if shares["rising"] > MANY:
        doubts.append(f"the loss was still rising at the end on {100 * shares['rising']:.0f} % of the images")
    if unstable > UNSTABLE:
        doubts.append(f"the loss changes by {100 * unstable:.0f} % in random directions")
    if len(scouted.fgsm) < FEWEST:
        doubts.append(f"only {len(scouted.fgsm)} images were scouted")
    verdict, reasons = _decide(masked, doubts)
    return RuleReport(
        rule=scouted.rule,
        zero_gradients=shares["zero"],
        zero_pixels=shares["zero_pixels"],
        unstable=unstable,
        silent=shares["silent"],
        rising=shares["rising"],
        surrogate_only=surrogate_only,
        unbounded=unbounded,
        questions=asked,
        verdict=verdict,
        reasons=reasons,
    )


def of_audit(
    gradient_left: int, found_without: int, unbroken: int, correct: int, rising: float
) -> tuple[Verdict, list[str]]:
    """The verdict on the audit's own worst case.

    Masked gradients are likely where attacks that see no gradient of the network broke more than 5 % of the images
    that every gradient attack before them left, or where more than 5 % of the correct images stand without a bound.
    It is inconclusive where any image does, or where the best rule's loss was still rising on more than 10 %.

    Args:
        gradient_left: image-bound pairs shown to attacks without gradients, found_without: those that fell to them.
        unbroken: images that stand without a bound, of `correct`.
        rising: share of the scouted images on which the best rule's loss was still rising at the end.
    """
    masked: list[str] = []
    doubts: list[str] = []
    if found_without > SOME * gradient_left and found_without > 1:
        masked.append(
            f"attacks without gradients broke {found_without} of {gradient_left} that gradients left standing"
        )
    if unbroken:
        words = f"{unbroken} of {correct} correct images stand without any bound"
        (masked if unbroken > SOME * correct else doubts).append(words)
    if rising > MANY:
        doubts.append(
            f"the best rule's loss was still rising on {100 * rising:.0f} % of the scouted images: more may fall"
        )
    return _decide(masked, doubts)


def _beaten(scouted: Scouted, others: Sequence[Scouted]) -> tuple[str, float]:
    """(words, share): how many more of the images the best rule breaks with the same climbs, 0 where that is chance."""
    own = scouted.broken
    best = max(others, key=lambda other: int(other.broken.sum()), default=scouted)
    more, fewer = int((best.broken & ~own).sum()), int((own & ~best.broken).sum())
    words = f"the rule {best.rule} breaks {int(best.broken.sum())} of {len(own)} images, this one {int(own.sum())}"
    return words, (more - fewer) / len(own) if outnumbers(more, fewer) else 0.0


def _decide(masked: list[str], doubts: list[str]) -> tuple[Verdict, list[str]]:
    if masked:
        return "masked gradients likely", masked + doubts
    if doubts:
        return "inconclusive", doubts
    return "consistent", ["no question was answered yes and no indicator points to a failed attack"]
