"""Screening: every gradient rule alone on the same few images, which shows which rules attack this network well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from hiresnn.attacks import LOSSES, Model, fgsm, loss_gradient
from hiresnn.attacks.ball import perturbed, uniform
from hiresnn.attacks.iterative import fixed_step
from hiresnn.attacks.losses import margin
from hiresnn.audit.bounds import Bound
from hiresnn.audit.instrumented import OWN, InstrumentedModel
from hiresnn.metrics import correct

Record = Mapping[str, "NDArray[Any]"]
"""Arrays by name: the result of one unit of work, as the cache stores it."""

WIDER = 4  # factor of the larger bound at which an attack must break more
RISE = 0.05
"""Share of the total rise above which a rise in the last steps counts as unfinished (Pintor et al. 2022, I4)."""
LAST = 10  # the number of last steps, at most half of all
DIRECTIONS, RADIUS = 100, 8 / 255
"""Random directions, and their radius in pixel units, for the stability of the loss (Pintor et al. 2022, I2)."""


@dataclass(frozen=True, eq=False)
class PgdTrace:
    """Steps of PGD on B images; the first iterate is the image itself."""

    loss: Float[Tensor, "iterate batch"]
    margin: Float[Tensor, " batch"]  # largest margin loss over the iterates, above 0 if one was misclassified
    wrong: Bool[Tensor, "iterate batch"]  # whether each iterate is misclassified
    zero: Bool[Tensor, " batch"]  # whether the gradient at the image is exactly zero
    zero_pixels: Float[Tensor, " batch"]  # share of its pixels where the gradient is exactly zero
    last: Float[Tensor, "batch ..."]  # the last iterate

    @property
    def broken(self) -> Bool[Tensor, " batch"]:
        """Whether any iterate is misclassified."""
        return self.wrong.any(0)

    @property
    def silent(self) -> Bool[Tensor, " batch"]:
        """Whether an iterate succeeded although the last one fails (I3)."""
        return self.broken & ~self.wrong[-1]

    @property
    def rising(self) -> Bool[Tensor, " batch"]:
        """Whether nothing succeeded although the best loss rose by more than `RISE` of its range at the end (I4)."""
        best = self.loss.cummax(0).values
        steps = len(best) - 1
        total = best[-1] - self.loss.amin(0)
        late = best[-1] - best[steps - min(LAST, steps // 2)]
        return ~self.broken & (late > RISE * total) & (late > 0)


def trace_pgd(
    model: Model, images: Tensor, labels: Int64[Tensor, " batch"], *, eps: float, iterations: int, loss: str
) -> PgdTrace:
    """Run PGD from the images with steps of eps / 4; no image leaves the batch."""
    step = fixed_step(eps / 4, eps)
    adversarial, losses, margins, wrong = images, [], [], []
    zero = zero_pixels = torch.zeros(0)
    for iteration in range(iterations + 1):
        at = loss_gradient(model, adversarial, labels, LOSSES[loss])
        losses.append(at.loss)
        margins.append(margin(at.logits, labels).nan_to_num(torch.inf))
        wrong.append(~correct(at.logits, labels))
        if not iteration:
            flat = at.gradient.flatten(1) == 0
            zero, zero_pixels = flat.all(1), flat.float().mean(1)
        if iteration < iterations:
            adversarial = step(images, adversarial, at)
    return PgdTrace(
        torch.stack(losses), torch.stack(margins).amax(0), torch.stack(wrong), zero, zero_pixels, adversarial.detach()
    )


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


@dataclass(frozen=True, eq=False)
class RuleScreening:
    """What one gradient rule did on the screened images; every array has one value per image."""

    rule: str
    fgsm: NDArray[np.bool_]  # broken by one step
    entropy: NDArray[np.bool_]  # broken by PGD on the cross-entropy
    margin: NDArray[np.bool_]  # broken by PGD on the margin loss
    reached: NDArray[np.floating]  # largest margin loss over both PGD runs
    wider: NDArray[np.bool_]  # broken by PGD at `WIDER` times the bound
    unbounded: NDArray[np.bool_]  # broken by PGD without a bound
    zero: NDArray[np.bool_]  # this, zero_pixels, silent and rising: see `PgdTrace`
    zero_pixels: NDArray[np.floating]
    unstable: NDArray[np.floating]  # see `instability`
    silent: NDArray[np.bool_]
    rising: NDArray[np.bool_]

    @classmethod
    def read(cls, rule: str, record: Record) -> RuleScreening:
        """The screening of a rule from what `screen_rule` returned."""
        return cls(rule, **{name: record[name] for name in cls.__annotations__ if name != "rule"})

    @property
    def broken(self) -> NDArray[np.bool_]:
        """Broken by PGD on either loss."""
        return self.entropy | self.margin


def screen_rule(
    model: InstrumentedModel, rule: str, images: Tensor, labels: Tensor, bound: Bound, iterations: int,
    directions: int = DIRECTIONS,
) -> Record:  # fmt: skip
    """Attack the images under one rule: FGSM, PGD on two losses, PGD at a larger bound and without one."""
    with model.under(rule):
        single = fgsm(model, images, labels, eps=bound.radius)
    with torch.no_grad():
        one_step = ~correct(model(single), labels)

    def run(eps: float, steps: int, loss: str) -> PgdTrace:
        with model.under(rule):  # a rule with statistics starts each run afresh
            return trace_pgd(model, images, labels, eps=min(eps, 1.0), iterations=steps, loss=loss)

    entropy, margins = (run(bound.radius, iterations, loss) for loss in ("cross-entropy", "margin"))
    arrays = {
        "fgsm": one_step,
        "entropy": entropy.broken,
        "margin": margins.broken,
        # Margins of different rules are compared, so all are in units of the network's logits.
        "reached": torch.maximum(entropy.margin, margins.margin) * (1.0 if rule == OWN else model.scale),
        "wider": run(WIDER * bound.radius, iterations, "margin").broken,
        "unbounded": run(1.0, iterations // 2, "margin").broken,
        "zero": entropy.zero,
        "zero_pixels": entropy.zero_pixels,
        "unstable": instability(model, entropy.last, labels, directions),
        "silent": entropy.silent,
        "rising": entropy.rising,
    }
    return {name: values.cpu().numpy() for name, values in arrays.items()}


def select_rules(screened: Sequence[RuleScreening], most: int | None, prune: bool) -> tuple[list[str], list[str]]:
    """(selected, dropped): rules by the number of images on which they reach the largest margin.

    On a tie the first rule wins, so a rule that acts like the network's own is not selected beside it. `prune` drops
    rules that win no image, and those beyond `most`; without it all rules are selected.
    """
    winners = np.stack([each.reached for each in screened]).argmax(0)
    wins = {each.rule: int((winners == place).sum()) for place, each in enumerate(screened)}
    names = sorted(wins, key=lambda rule: -wins[rule])
    winning = sum(1 for each in wins.values() if each) or 1
    count = min(winning, most or winning) if prune else len(names)
    return names[:count], names[count:]


def screening_bound(bounds: Sequence[Bound], standing: Mapping[Bound, int], sample: int, headline: Bound) -> Bound:
    """The bound up to the headline at which the paper's PGD leaves closest to half of the sample.

    Rules differ most there. If all bounds are equally close, as for a network that masks its gradients, it is the
    largest, the headline.
    """
    candidates = [bound for bound in bounds if 0 < bound.eps <= headline.eps]
    return min(candidates, key=lambda bound: (abs(2 * standing[bound] - sample), -bound.eps))
