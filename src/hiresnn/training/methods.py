"""Training methods as data: noise, loss, number of periods. METHODS has one row per method.

The whole difference between traditional training and HIRE-SNN is two rows of that table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from torch import Tensor, nn

from hiresnn.errors import UsageError, closest
from hiresnn.plugins import find, offered
from hiresnn.training.losses import (
    MembraneDistance,
    MembraneOverlap,
    Presentation,
    consistent,
    cross_entropy,
    sparse_gradients,
    trades,
)
from hiresnn.training.noise import Adversarial, CraftedNoise, GaussianNoise, MemoryNoise, Noise, NoiseInTime, TwinNoise
from hiresnn.training.weights import orthogonalise

State = Literal["reset", "carry"]


@dataclass
class Method:
    """How one batch is trained on (Algorithm 1).

    Attributes:
        periods: N, at least 1. A batch is presented in N windows of floor(T / N) steps, with an update after each.
        replay: every period has all T steps instead.
        noise: noise on the images of each period.
        state: "reset": every period starts from rest and has its own loss. "carry": membranes, dropout masks and
            accumulated logits continue, detached, so that the loss of a period covers all steps so far.
        loss: mean loss over the rows of a period.
        after: changes the weights after each update; None for nothing.
        rounding: rounds the weights of the network in place, for every pass and at the end; see `rounded`. None for
            none.
    """

    periods: int = 1
    noise: Noise = field(default_factory=Noise)
    state: State = "reset"
    loss: Callable[[Presentation], Tensor] = cross_entropy
    replay: bool = False
    after: Callable[[nn.Module], None] | None = None
    rounding: Callable[[], None] | None = None

    def steps(self, timesteps: int) -> int:
        """Return the timesteps of one period, floor(T / N), or T where batches are replayed.

        Raises:
            UsageError: there are more periods than timesteps.
        """
        if self.replay and self.periods >= 1:
            return timesteps
        if not 1 <= self.periods <= timesteps:
            raise UsageError(
                f"periods is {self.periods} and timesteps is {timesteps}; periods must lie between 1 and timesteps "
                "(noise.periods and snn.timesteps in a recipe)."
            )
        return timesteps // self.periods


ROTATION = ("linear", "arctan", "conversion", "straight-through")
"""Gradient rules that take turns in crafting the noise of "rotating"."""

METHODS: dict[str, Callable[[int, float, float, State], Method]] = {
    "traditional": lambda periods, step, bound, state: Method(),
    "hire": lambda periods, step, bound, state: Method(periods, CraftedNoise(step, bound), state),
    "gaussian": lambda periods, step, bound, state: Method(periods, GaussianNoise(step), state),
    "noise-free": lambda periods, step, bound, state: Method(periods, Noise(), state),
    "rate": lambda periods, step, bound, state: Method(),  # Poisson input: only the network's encoding differs
    "converted": lambda periods, step, bound, state: Method(),  # no epoch: the converted ANN as it is
    "nfgsm": lambda periods, step, bound, state: Method(noise=Adversarial(step, start=2 * bound)),
    "hire-nfgsm": lambda periods, step, bound, state: Method(periods, NoiseInTime(step, bound), state),
    # Cheaper ways to the noise of nfgsm: on two timesteps, on the ANN with the same weights, from the epoch before.
    "short": lambda periods, step, bound, state: Method(noise=Adversarial(step, start=2 * bound, timesteps=2)),
    "twin": lambda periods, step, bound, state: Method(noise=TwinNoise(step, start=2 * bound)),
    "memory": lambda periods, step, bound, state: Method(noise=MemoryNoise(step, bound)),
    "free": lambda periods, step, bound, state: Method(periods, CraftedNoise(step, bound), replay=True),
    "consistency": lambda periods, step, bound, state: Method(periods, NoiseInTime(step, bound), state, consistent),
    "rotating": lambda periods, step, bound, state: Method(noise=Adversarial(step, start=2 * bound, rules=ROTATION)),
    # Published defences of other authors; the cost of an epoch differs.
    "trades": lambda periods, step, bound, state: Method(
        noise=Adversarial(step, start=1e-3, bound=bound, divergence=True), loss=trades
    ),
    "snn-rat": lambda periods, step, bound, state: Method(
        noise=Adversarial(step, bound=bound, evaluating=True), after=orthogonalise
    ),
    "sparse": lambda periods, step, bound, state: Method(noise=Adversarial(step, bound=bound), loss=sparse_gradients),
    "mppd-tv": lambda periods, step, bound, state: _with_own_loss(MembraneDistance(step, bound=bound)),
    "mpd-sgr": lambda periods, step, bound, state: _with_own_loss(MembraneOverlap()),
}

ANN_TRAININGS: dict[str, Callable[[float], Noise]] = {
    "plain": lambda eps: Noise(),
    "fgsm": lambda eps: Adversarial(eps, bound=eps),
    "n-fgsm": lambda eps: Adversarial(eps, start=2 * eps),
    "pgd": lambda eps: Adversarial(eps / 4, start=eps, bound=eps, iterations=7),
    "trades": lambda eps: Adversarial(eps / 4, start=1e-3, bound=eps, iterations=7, divergence=True),
}
"""How an ANN is trained -> noise of its training for the bound eps."""


def _with_own_loss(noise: MembraneDistance | MembraneOverlap) -> Method:
    return Method(noise=noise, loss=noise.loss)


def method(name: str, *, periods: int, step: float, bound: float | None = None, state: State = "reset") -> Method:
    """Build a method by its name in METHODS, with N `periods` and noise of eps_s `step` and eps_t `bound`.

    `bound` equals `step` by default, as in the paper; `step` is the standard deviation of Gaussian noise.

    A name that METHODS lacks is that of a plug-in: a function like those of METHODS, of an installed package.

    Raises:
        UsageError: an unknown name, a negative step or bound, or a plug-in that returns no `Method`.
    """
    make = METHODS.get(name) or find("methods", name)
    if make is None:
        raise UsageError(f"method is {name!r}; {closest(name, (*METHODS, *offered('methods')))}.")
    made = make(periods, step, step if bound is None else bound, state)
    if not isinstance(made, Method):
        raise UsageError(f"the plug-in for method {name!r} returned {type(made).__name__}; it must return a Method.")
    return made


def ann_method(training: str = "plain", *, eps: float = 8 / 255, smoothing: float = 0.0) -> Method:
    """Build the method of an ANN by its name in ANN_TRAININGS.

    Args:
        training: "plain", "fgsm", "n-fgsm", "pgd" (7 steps of eps / 4 from a random start) or "trades".
        eps: bound of the adversarial examples in pixel units, in [0, 1].
        smoothing: of the labels, in [0, 1).

    Raises:
        UsageError: an unknown name.
    """
    if training not in ANN_TRAININGS:
        raise UsageError(f"training is {training!r}; choose one of {', '.join(ANN_TRAININGS)}.")
    loss = trades if training == "trades" else cross_entropy
    return Method(noise=ANN_TRAININGS[training](eps), loss=partial(loss, smoothing=smoothing))
