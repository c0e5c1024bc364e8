"""Whether the gradients of one rule can be trusted: five questions, indicators, and a verdict by a stated rule.

On the screened images, the verdict on a rule is

- *masked gradients likely* if one of the five questions of Athalye et al. 2018 is answered yes; or more than 10 % of
  the gradients are exactly zero; or, for the network's own rule, another rule breaks more of the images with the same
  attacks, by at least 25 percentage points, and not by chance (sign test, 5 %);
- *inconclusive* if another rule breaks more, by at least 10 percentage points; or more than 10 % of the pixels have a
  gradient of exactly zero; or more than 10 % of the images show an indicator of a failed attack (Pintor et al. 2022);
  or the loss changes by more than half in random directions; or fewer than 20 images were screened;
- *consistent* otherwise. This is the absence of a reason to doubt, not a proof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hiresnn.audit.bounds import Bound
from hiresnn.audit.card import GradientVerdict, Question, RuleReport
from hiresnn.audit.instrumented import OWN
from hiresnn.audit.screening import WIDER, RuleScreening

SOME = 0.05  # share of the images from which an effect counts in a question
MANY = 0.10  # share of the images from which an indicator counts
FAR = 0.25  # share of the images that another rule must break beyond the own rule for the own rule to count as masked
UNSTABLE = 0.5  # mean relative change of the loss from which its surface counts as jagged
FEWEST = 20  # screened images below which nothing can be concluded

Broken = NDArray[np.bool_]


def questions(screening: RuleScreening, without_gradient: Mapping[str, Broken], bound: Bound) -> list[Question]:
    """The five questions of Athalye et al. 2018 for one rule, screened at `bound`.

    All attacks `without_gradient` answer the question about the black box, noise also that about random sampling.
    """
    pgd, count = screening.broken, len(screening.fgsm)

    def only(one: Broken, other: Broken) -> tuple[int, int]:
        return int((one & ~other).sum()), int((other & ~one).sum())

    single = only(screening.fgsm, pgd)
    boxes = {name: only(broken, pgd) for name, broken in without_gradient.items()}
    best = max(boxes, key=lambda name: boxes[name][0] - boxes[name][1], default="")
    black = boxes.get(best, (0, 0))
    here, there = int(screening.margin.sum()), int(screening.wider.sum())
    bounded = bound.radius < 1
    wider = f"{WIDER} times {bound.label}" if bounded else "any bound, which is no larger"
    left = int((~screening.unbounded).sum())
    noise = [broken for name, broken in without_gradient.items() if name.startswith("noise")]
    lucky = int((np.logical_or.reduce(noise) & ~pgd).sum()) if noise else 0
    asked = {
        "Is one step better than iterating?": (
            significantly_more(*single),
            f"only one step breaks {single[0]}, only PGD {single[1]} of {count} images",
        ),
        "Is a black box better than the white box?": (
            significantly_more(*black),
            f"only {best} breaks {black[0]}, only PGD {black[1]} of {count} images"
            if boxes
            else "no attack without gradients was run",
        ),
        "Does a larger bound fail to help?": (
            bounded and here < (1 - SOME) * count and there < here + SOME * count,
            f"PGD breaks {here} of {count} images at {bound.label}, {there} at {wider}",
        ),
        "Does the unbounded attack stay below 100 %?": (
            left > SOME * count,
            f"{left} of {count} images stand without a bound",
        ),
        "Does random sampling find what gradients do not?": (
            lucky > max(SOME * count, 1),
            f"noise breaks {lucky} of {count} images that PGD leaves",
        ),
    }
    return [Question(name=name, yes=yes, evidence=evidence) for name, (yes, evidence) in asked.items()]


def report(
    screening: RuleScreening, others: Sequence[RuleScreening], without_gradient: Mapping[str, Broken], bound: Bound
) -> RuleReport:
    """Indicators, questions and verdict of one rule; `others` are all screened rules."""
    asked = questions(screening, without_gradient, bound)
    shares = {name: float(getattr(screening, name).mean()) for name in ("zero", "zero_pixels", "silent", "rising")}
    unstable = float(screening.unstable.mean())
    masked = [f"{question.name} Yes: {question.evidence}" for question in asked if question.yes]
    if shares["zero"] > MANY:
        masked.append(f"{100 * shares['zero']:.0f} % of the images have a gradient of exactly zero")
    doubts = []
    words, advantage = _best_other(screening, others)
    if advantage >= FAR and screening.rule == OWN:  # for an attacker's rule it only means that the rule is weak
        masked.append(words)
    elif advantage >= MANY:
        doubts.append(words)
    if shares["zero_pixels"] > MANY:
        doubts.append(f"{100 * shares['zero_pixels']:.0f} % of the pixels have a gradient of exactly zero")
    if shares["silent"] > MANY:
        doubts.append(f"PGD passes a success that its last iterate misses on {100 * shares['silent']:.0f} % of images")
    if shares["rising"] > MANY:
        doubts.append(f"the loss was still rising when PGD ended on {100 * shares['rising']:.0f} % of the images")
    if unstable > UNSTABLE:
        doubts.append(f"the loss changes by {100 * unstable:.0f} % in random directions")
    if len(screening.fgsm) < FEWEST:
        doubts.append(f"only {len(screening.fgsm)} images were screened")
    verdict: GradientVerdict = "masked gradients likely" if masked else "inconclusive" if doubts else "consistent"
    return RuleReport(
        rule=screening.rule, zero_gradients=shares["zero"], zero_pixels=shares["zero_pixels"], unstable=unstable,
        silent=shares["silent"], rising=shares["rising"], unbounded=float((~screening.unbounded).mean()),
        questions=asked, verdict=verdict, reasons=masked + doubts,
    )  # fmt: skip


def _best_other(screening: RuleScreening, others: Sequence[RuleScreening]) -> tuple[str, float]:
    """(words, share of the images by which the best rule breaks more), 0 if the difference may be chance."""
    own = screening.broken
    best = max(others, key=lambda other: int(other.broken.sum()), default=screening)
    more, fewer = int((best.broken & ~own).sum()), int((own & ~best.broken).sum())
    words = f"the rule {best.rule} breaks {int(best.broken.sum())} of {len(own)} images, this rule {int(own.sum())}"
    return words, (more - fewer) / len(own) if significantly_more(more, fewer) else 0.0


def significantly_more(more: int, fewer: int) -> bool:
    """Whether A breaks more than B beyond chance, where only A breaks `more` images and only B breaks `fewer`.

    The exact one-sided sign test at the 5 % level; five images against none are enough.

    >>> significantly_more(4, 0), significantly_more(5, 0), significantly_more(12, 8)
    (False, True, False)
    """
    from scipy.stats import binomtest  # here, because its import takes longer than most commands

    return more > fewer and bool(binomtest(more, more + fewer, alternative="greater").pvalue < 0.05)
