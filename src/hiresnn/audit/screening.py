"""Screening: every gradient rule alone on the same few images, which shows which rules attack this network well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiresnn.attacks import fgsm
from hiresnn.audit.bounds import Bound
from hiresnn.audit.instrumented import OWN, InstrumentedModel
from hiresnn.audit.trace import DIRECTIONS, PgdTrace, instability, trace_pgd
from hiresnn.metrics import correct

Record = Mapping[str, "NDArray[Any]"]
"""Arrays by name: the result of one unit of work, as the cache stores it."""

WIDER = 4
"""Factor of the larger bound at which an attack must break more."""


@dataclass(frozen=True, eq=False)
class RuleScreening:
    """What one gradient rule did on the screened images; every array has one value per image.

    Attributes:
        fgsm, entropy, margin: broken by one step; by PGD on the cross-entropy; by PGD on the margin loss.
        reached: largest margin loss over both PGD runs.
        wider, unbounded: broken by PGD at `WIDER` times the bound; without a bound.
        zero, zero_pixels, silent, rising: see `PgdTrace`. unstable: see `instability`.
    """

    rule: str
    fgsm: NDArray[np.bool_]
    entropy: NDArray[np.bool_]
    margin: NDArray[np.bool_]
    reached: NDArray[np.floating]
    wider: NDArray[np.bool_]
    unbounded: NDArray[np.bool_]
    zero: NDArray[np.bool_]
    zero_pixels: NDArray[np.floating]
    unstable: NDArray[np.floating]
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
    model: InstrumentedModel,
    rule: str,
    images: Tensor,
    labels: Tensor,
    bound: Bound,
    iterations: int,
    directions: int = DIRECTIONS,
) -> Record:
    """Attack the images under one rule: FGSM, PGD on two losses, PGD at a larger bound and without one."""
    with model.under(rule):
        single = fgsm(model, images, labels, eps=bound.radius)
    with torch.no_grad():
        one_step = ~correct(model(single), labels)

    def run(eps: float, steps: int, loss: str) -> PgdTrace:
        with model.under(rule):  # a rule with statistics starts each run afresh
            return trace_pgd(model, images, labels, eps=min(eps, 1.0), iterations=steps, loss=loss)

    entropy, margin = (run(bound.radius, iterations, loss) for loss in ("cross-entropy", "margin"))
    arrays = {
        "fgsm": one_step,
        "entropy": entropy.broken,
        "margin": margin.broken,
        # Margins of different rules are compared, so all are in units of the network's logits.
        "reached": torch.maximum(entropy.margin, margin.margin) * (1.0 if rule == OWN else model.scale),
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

    On a tie the first rule wins, so a rule that acts like the network's own is not selected beside it.

    Args:
        most: how many rules to select at most.
        prune: whether rules that win no image are dropped; if not, all rules are selected.
    """
    winners = np.stack([each.reached for each in screened]).argmax(0)
    wins = [int((winners == place).sum()) for place in range(len(screened))]
    order = sorted(range(len(screened)), key=lambda place: -wins[place])
    names = [screened[place].rule for place in order]
    if not prune:
        return names, []
    winning = sum(1 for each in wins if each) or 1
    count = min(winning, most or winning)
    return names[:count], names[count:]


def screening_bound(bounds: Sequence[Bound], standing: Mapping[Bound, int], sample: int, headline: Bound) -> Bound:
    """The bound up to the headline at which the paper's PGD leaves closest to half of the sample.

    Rules differ most there. If all bounds are equally close, as for a network that masks its gradients, it is the
    largest, the headline.
    """
    candidates = [bound for bound in bounds if 0 < bound.eps <= headline.eps]
    return min(candidates, key=lambda bound: (abs(2 * standing[bound] - sample), -bound.eps))
