"""Training methods as data: noise, loss, number of periods. METHODS has one row per method.

The whole difference between traditional training and HIRE-SNN is two rows of that table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.training.noise import CraftedNoise, GaussianNoise, Noise

State = Literal["reset", "carry"]


class Presentation(NamedTuple):
    """What a loss sees of one period: [B, C, H, W] images in [0, 1], [B] labels, [B, K] logits.

    `shown` are the images with the noise. `logits` are sums over `timesteps` steps, or None for `earlier` in the
    first period; `earlier` are the detached logits of the period before.
    """

    model: nn.Module
    images: Tensor
    shown: Tensor
    labels: Tensor
    logits: Tensor
    timesteps: int
    earlier: Tensor | None


Loss = Callable[[Presentation], Tensor]
"""Mean loss over the rows of a presentation."""


def cross_entropy(seen: Presentation) -> Tensor:
    """Cross-entropy of the logits, the loss of the paper."""
    return F.cross_entropy(seen.logits, seen.labels)


@dataclass
class Method:
    """How one batch is trained on (Algorithm 1).

    Attributes:
        periods: N, at least 1. A batch is presented in N windows of floor(T / N) steps, with an update after each.
        noise: noise on the images of each period.
        state: "reset": every period starts from rest and has its own loss. "carry": membranes, dropout masks and
            accumulated logits continue, detached, so that the loss of a period covers all steps so far.
        loss: loss of a period.
    """

    periods: int = 1
    noise: Noise = field(default_factory=Noise)
    state: State = "reset"
    loss: Loss = cross_entropy

    def steps(self, timesteps: int) -> int:
        """Return the timesteps of one period, floor(T / N).

        Raises:
            UsageError: there are more periods than timesteps.
        """
        if not 1 <= self.periods <= timesteps:
            raise UsageError(
                f"periods is {self.periods} and timesteps is {timesteps}; periods must lie between 1 and timesteps "
                "(noise.periods and snn.timesteps in a recipe)."
            )
        return timesteps // self.periods


class _Options(NamedTuple):
    periods: int
    step: float
    bound: float
    state: State


METHODS: dict[str, Callable[[_Options], Method]] = {
    "traditional": lambda of: Method(),
    "hire": lambda of: Method(of.periods, CraftedNoise(of.step, of.bound), of.state),
    "gaussian": lambda of: Method(of.periods, GaussianNoise(of.step), of.state),
    "noise-free": lambda of: Method(of.periods, Noise(), of.state),
    "rate": lambda of: Method(),  # Poisson input: the network's encoding differs, its training does not
}


def method(name: str, *, periods: int, step: float, bound: float | None = None, state: State = "reset") -> Method:
    """Build a method by name.

    Args:
        name: a key of METHODS.
        periods: N; used by "hire", "gaussian" and "noise-free".
        step: eps_s in pixel units, the standard deviation for "gaussian"; at least 0.
        bound: eps_t in pixel units, at least 0; None means `step`, as in the paper.
        state: what becomes of the membranes between periods, see `Method`.

    Raises:
        UsageError: an unknown name, or a negative step or bound.
    """
    if name not in METHODS:
        raise UsageError(f"method is {name!r}; choose one of {', '.join(METHODS)}.")
    return METHODS[name](_Options(periods, step, step if bound is None else bound, state))
