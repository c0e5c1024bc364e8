"""Screening, the first pass: every gradient rule alone on the same few images, with the verdicts of docs/audit.md."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from hiresnn.attacks import LOSSES, Model, fgsm, loss_gradient
from hiresnn.attacks.gate import perturbed, uniform
from hiresnn.attacks.iterative import fixed_step
from hiresnn.attacks.losses import margin
from hiresnn.audit.behaviour import OWN, InstrumentedModel
from hiresnn.audit.card import GradientVerdict, Question, RuleReport
from hiresnn.eps import Bound
from hiresnn.metrics import correct

Record = Mapping[str, "NDArray[Any]"]
"""Arrays by name: the result of one unit of work, as the cache stores it."""
Broken = NDArray[np.bool_]

WIDER = 4  # factor of the larger bound at which an attack must break more
RISE = 0.05  # share of the total rise above which one in the last steps counts as unfinished (Pintor et al. 2022, I4)
LAST = 10  # the number of last steps, at most half of all
DIRECTIONS, RADIUS = 100, 8 / 255  # random directions, in pixel units, for the stability of the loss (Pintor I2)


class PgdTrace(NamedTuple):
    """Steps of PGD on B images; the first iterate is the image itself."""

    loss: Float[Tensor, "iterate batch"]
    margin: Float[Tensor, " batch"]  # largest margin loss over the iterates, above 0 if one was misclassified
    wrong: Bool[Tensor, "iterate batch"]  # whether each iterate is misclassified
    gradient: Float[Tensor, "batch ..."]  # at the image
    last: Float[Tensor, "batch ..."]  # the last iterate


def trace_pgd(
    model: Model, images: Tensor, labels: Int64[Tensor, " batch"], *, eps: float, iterations: int, loss: str
) -> PgdTrace:
    """Run PGD from the images with steps of eps / 4; no image leaves the batch."""
    step = fixed_step(eps / 4, eps)
    adversarial, looks = images, []
    for iteration in range(iterations + 1):
        looks.append(look := loss_gradient(model, adversarial, labels, LOSSES[loss]))
        if iteration < iterations:
            adversarial = step(images, adversarial, look)
    margins = torch.stack([margin(look.logits, labels).nan_to_num(torch.inf) for look in looks])
    wrong = torch.stack([~correct(look.logits, labels) for look in looks])
    losses = torch.stack([look.loss for look in looks])
    return PgdTrace(losses, margins.amax(0), wrong, looks[0].gradient, adversarial.detach())


def rising(losses: Float[Tensor, "iterate batch"]) -> Bool[Tensor, " batch"]:
    """Whether the best loss rose by more than `RISE` of its range in the last steps (I4)."""
    best = losses.cummax(0).values
    steps = len(best) - 1
    late = best[-1] - best[steps - min(LAST, steps // 2)]
    return (late > RISE * (best[-1] - losses.amin(0))) & (late > 0)


@torch.no_grad()
def instability(
    model: Model, images: Tensor, labels: Int64[Tensor, " batch"], directions: int = DIRECTIONS
) -> Float[Tensor, " batch"]:
    """Mean relative change of the cross-entropy over random directions, at most 1 for each (Pintor I2)."""
    entropy = LOSSES["cross-entropy"]
    here = entropy(model(images).float(), labels)
    changes = torch.zeros_like(here)
    for _ in range(directions):
        there = entropy(model(perturbed(images, uniform(images, RADIUS, None))).float(), labels)
        changes += ((there - here).abs() / here.abs().clamp(min=1e-12)).clamp(max=1).nan_to_num(1)
    return changes / directions


def screen_rule(
    model: InstrumentedModel, rule: str, images: Tensor, labels: Tensor, bound: Bound, iterations: int, directions: int
) -> Record:
    """Attack the images under one rule alone.

    Returns one value per image: whether it was broken by one step ("fgsm"), by PGD on the cross-entropy ("entropy"), on
    the margin loss ("margin"), at `WIDER` times the bound ("wider") and without one ("unbounded"); the largest margin
    loss over the first two ("reached"); whether the gradient is exactly zero ("zero"), and on which share of the pixels
    ("zero_pixels"); `instability` ("unstable"); whether an iterate succeeded although the last one fails ("silent",
    I3); whether nothing succeeded although the loss was still `rising` (I4).
    """
    with model.under(rule):
        single = fgsm(model, images, labels, eps=bound.radius)
    with torch.no_grad():
        one_step = ~correct(model(single), labels)

    def run(eps: float, steps: int, loss: str) -> PgdTrace:
        with model.under(rule):  # a rule with statistics starts each run afresh
            return trace_pgd(model, images, labels, eps=min(eps, 1.0), iterations=steps, loss=loss)

    entropy, margins = (run(bound.radius, iterations, loss) for loss in ("cross-entropy", "margin"))
    broken, zero = entropy.wrong.any(0), entropy.gradient.flatten(1) == 0
    arrays = {
        "fgsm": one_step,
        "entropy": broken,
        "margin": margins.wrong.any(0),
        # Margins of different rules are compared, so all are in units of the network's logits.
        "reached": torch.maximum(entropy.margin, margins.margin) * (1.0 if rule == OWN else model.scale),
        "wider": run(WIDER * bound.radius, iterations, "margin").wrong.any(0),
        "unbounded": run(1.0, iterations // 2, "margin").wrong.any(0),
        "zero": zero.all(1),
        "zero_pixels": zero.float().mean(1),
        "unstable": instability(model, entropy.last, labels, directions),
        "silent": broken & ~entropy.wrong[-1],
        "rising": ~broken & rising(entropy.loss),
    }
    return {name: values.cpu().numpy() for name, values in arrays.items()}


def broken_by(screening: Record) -> Broken:
    """Which images PGD broke on either loss."""
    return screening["entropy"] | screening["margin"]


def _only(one: Broken, other: Broken) -> tuple[int, int]:
    return int((one & ~other).sum()), int((other & ~one).sum())


def select_rules(screened: Mapping[str, Record], most: int | None) -> tuple[list[str], list[str]]:
    """(selected, dropped): rules by the number of images on which they reach the largest margin.

    On a tie the first rule wins, so a rule that acts like the network's own is not selected beside it. At most `most`
    rules that win an image are selected; with None all, also those that win none.
    """
    winners = np.stack([screening["reached"] for screening in screened.values()]).argmax(0)
    wins = {rule: int((winners == row).sum()) for row, rule in enumerate(screened)}
    names = sorted(wins, key=lambda rule: -wins[rule])
    winning = sum(1 for count in wins.values() if count) or 1
    count = len(names) if most is None else min(winning, most)
    return names[:count], names[count:]


def screening_bound(bounds: Sequence[Bound], standing: Mapping[Bound, int], sample: int, headline: Bound) -> Bound:
    """The bound up to the headline where PGD leaves closest to half of the sample, on a tie (masking) the largest."""
    candidates = [bound for bound in bounds if 0 < bound.eps <= headline.eps]
    return min(candidates, key=lambda bound: (abs(2 * standing[bound] - sample), -bound.eps))


SOME = 0.05  # share of the images from which an effect counts in a question
MANY = 0.10  # share of the images from which an indicator counts
FAR = 0.25  # share of the images that another rule must break beyond the own rule for the own rule to count as masked
UNSTABLE = 0.5  # mean relative change of the loss from which its surface counts as jagged
FEWEST = 20  # screened images below which nothing can be concluded


def questions(screening: Record, without_gradient: Mapping[str, Broken], bound: Bound) -> list[Question]:
    """The five questions of Athalye et al. 2018 for one rule, screened at `bound`."""
    pgd, count = broken_by(screening), len(screening["fgsm"])
    single = _only(screening["fgsm"], pgd)
    boxes = {name: _only(broken, pgd) for name, broken in without_gradient.items()}
    best = max(boxes, key=lambda name: boxes[name][0] - boxes[name][1], default="")
    black, black_box = boxes.get(best, (0, 0)), "no attack without gradients was run"
    if boxes:
        black_box = f"only {best} breaks {black[0]}, only PGD {black[1]} of {count} images"
    here, there = int(screening["margin"].sum()), int(screening["wider"].sum())
    left = int((~screening["unbounded"]).sum())
    bounded = bound.radius < 1
    fails = bounded and here < (1 - SOME) * count and there < here + SOME * count
    wider = f"{WIDER} times {bound.label}" if bounded else "any bound, which is no larger"
    larger = f"PGD breaks {here} of {count} images at {bound.label}, {there} at {wider}"
    noise = [broken for name, broken in without_gradient.items() if name.startswith("noise")]
    lucky = _only(np.logical_or.reduce(noise), pgd)[0] if noise else 0
    one_step = f"only one step breaks {single[0]}, only PGD {single[1]} of {count} images"
    unbounded = f"{left} of {count} images stand without a bound"
    random = f"noise breaks {lucky} of {count} images that PGD leaves"
    answers = [
        ("Is one step better than iterating?", significantly_more(*single), one_step),
        ("Is a black box better than the white box?", significantly_more(*black), black_box),
        ("Does a larger bound fail to help?", fails, larger),
        ("Does the unbounded attack stay below 100 %?", left > SOME * count, unbounded),
        ("Does random sampling find what gradients do not?", lucky > max(SOME * count, 1), random),
    ]
    return [Question(name=name, yes=yes, evidence=evidence) for name, yes, evidence in answers]


def report(
    rule: str, screened: Mapping[str, Record], without_gradient: Mapping[str, Broken], bound: Bound
) -> RuleReport:
    """Indicators, questions and verdict of one of the `screened` rules."""
    screening = screened[rule]
    asked, pgd = questions(screening, without_gradient, bound), broken_by(screening)
    shares = {name: float(screening[name].mean()) for name in ("zero", "zero_pixels", "silent", "rising")}
    percent = {name: f"{100 * share:.0f} %" for name, share in shares.items()}
    unstable = float(screening["unstable"].mean())
    masked = [f"{question.name} Yes: {question.evidence}" for question in asked if question.yes]
    if shares["zero"] > MANY:
        masked.append(f"{percent['zero']} of the images have a gradient of exactly zero")
    best, best_pgd = max(((name, broken_by(other)) for name, other in screened.items()), key=lambda pair: pair[1].sum())
    comparison = f"the rule {best} breaks {best_pgd.sum()} of {len(pgd)} images, this rule {pgd.sum()}"
    more, fewer = _only(best_pgd, pgd)
    advantage = (more - fewer) / len(pgd) if significantly_more(more, fewer) else 0.0
    if advantage >= FAR and rule == OWN:  # for an attacker's rule it only means that the rule is weak
        masked.append(comparison)
    signs = {
        comparison: advantage >= MANY and comparison not in masked,
        f"{percent['zero_pixels']} of the pixels have a gradient of exactly zero": shares["zero_pixels"] > MANY,
        f"PGD passes a success that its last iterate misses on {percent['silent']} of images": shares["silent"] > MANY,
        f"the loss was still rising when PGD ended on {percent['rising']} of the images": shares["rising"] > MANY,
        f"the loss changes by {100 * unstable:.0f} % in random directions": unstable > UNSTABLE,
        f"only {len(pgd)} images were screened": len(pgd) < FEWEST,
    }
    doubts = [reason for reason, holds in signs.items() if holds]
    verdict: GradientVerdict = "masked gradients likely" if masked else "inconclusive" if doubts else "consistent"
    return RuleReport(
        rule=rule,
        zero_gradients=shares["zero"],
        zero_pixels=shares["zero_pixels"],
        unstable=unstable,
        silent=shares["silent"],
        rising=shares["rising"],
        unbounded=float((~screening["unbounded"]).mean()),
        questions=asked,
        verdict=verdict,
        reasons=masked + doubts,
    )


def significantly_more(more: int, fewer: int) -> bool:
    """Whether A breaks more than B beyond chance, where only A breaks `more` images and only B breaks `fewer`.

    The exact one-sided sign test at the 5 % level; five images against none are enough.

    >>> significantly_more(4, 0), significantly_more(5, 0), significantly_more(12, 8)
    (False, True, False)
    """
    from scipy.stats import binomtest  # here, because its import takes longer than most commands

    return more > fewer and bool(binomtest(more, more + fewer, alternative="greater").pvalue < 0.05)
