"""Scouting: every gradient rule alone on the same few images at one bound, and what needs no gradient beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hiresnn.attacks import fgsm
from hiresnn.audit.bounds import Bound
from hiresnn.audit.climb import Climb, climb, instability
from hiresnn.audit.subject import Audited
from hiresnn.metrics import correct

Record = Mapping[str, NDArray[Any]]
"""What one piece of work found, by name; what an interrupted audit keeps."""

WIDER = 4
"""How many times wider the bound is at which success must have grown."""


@dataclass(frozen=True, eq=False)
class Scouted:
    """What one rule did on the sample; arrays are a value an image."""

    rule: str
    fgsm: NDArray[np.bool_]
    entropy: NDArray[np.bool_]  # broken by a climb of the cross-entropy
    margin: NDArray[np.bool_]  # or of the margin
    reached: NDArray[np.floating]  # largest margin of all climbs
    wider: NDArray[np.bool_]
    unbounded: NDArray[np.bool_]
    zero: NDArray[np.bool_]
    zero_pixels: NDArray[np.floating]
    unstable: NDArray[np.floating]
    silent: NDArray[np.bool_]
    rising: NDArray[np.bool_]

    @property
    def broken(self) -> NDArray[np.bool_]:
        """Broken by a climb of either loss."""
        return self.entropy | self.margin


def read(rule: str, record: Record) -> Scouted:
    """What `scout` returned, under its rule."""
    return Scouted(rule, **{name: record[name] for name in Scouted.__annotations__ if name != "rule"})


def scout(model: Audited, rule: str, images: Tensor, labels: Tensor, bound: Bound, iterations: int) -> Record:
    """One rule on the sample: FGSM, a climb of each loss, one at a wider bound, one without; see `Scouted`."""
    short = iterations // 2
    with model.under(rule):
        single = fgsm(model, images, labels, eps=bound.radius)
    with torch.no_grad():
        one_step = ~correct(model(single), labels)

    def climbed(eps: float, steps: int, loss: str) -> Climb:
        with model.under(rule):  # a rule with statistics starts each climb afresh
            return climb(model, images, labels, eps=min(eps, 1.0), iterations=steps, loss=loss)

    entropy, margin = (climbed(bound.radius, iterations, loss) for loss in ("cross-entropy", "margin"))
    found = {
        "fgsm": one_step,
        "entropy": entropy.broken,
        "margin": margin.broken,
        "reached": torch.maximum(entropy.margin, margin.margin),
        "wider": climbed(WIDER * bound.radius, iterations, "margin").broken,
        "unbounded": climbed(1.0, short, "margin").broken,
        "zero": entropy.zero,
        "zero_pixels": entropy.zero_pixels,
        "unstable": instability(model, entropy.last, labels),
        "silent": entropy.silent,
        "rising": entropy.rising,
    }
    return {name: values.cpu().numpy() for name, values in found.items()}


def choose(scouted: list[Scouted], most: int | None, prune: bool) -> tuple[list[str], list[str]]:
    """(kept, dropped): rules by how many images they win, the largest margin reached; a rule that wins none goes.

    The first of equals wins, so rules that do the same as the network's own are not kept beside it.
    """
    reached = np.stack([each.reached for each in scouted])
    winners = reached.argmax(0)
    wins = [int((winners == place).sum()) for place in range(len(scouted))]
    order = sorted(range(len(scouted)), key=lambda place: -wins[place])
    names = [scouted[place].rule for place in order]
    if not prune:
        return names, []
    winning = sum(1 for each in wins if each) or 1
    kept = min(winning, most or winning)
    return names[:kept], names[kept:]


def scouting_bound(bounds: tuple[Bound, ...], standing: Mapping[Bound, int], sample: int, headline: Bound) -> Bound:
    """The bound up to the headline at which the paper's PGD leaves nearest to half of the sample standing.

    There rules differ most; where all are as far from half, as on a network that hides its gradients, the headline.
    """
    candidates = [bound for bound in bounds if 0 < bound.eps <= headline.eps]
    return min(candidates, key=lambda bound: (abs(2 * standing[bound] - sample), -bound.eps))
