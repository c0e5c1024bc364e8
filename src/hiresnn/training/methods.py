"""Training methods: what each does to the input, and how often it updates. One row a method.

The whole difference between traditional training and HIRE-SNN is in this file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from hiresnn.errors import UsageError
from hiresnn.noise import CraftedNoise, GaussianNoise, Noise, NoNoise

State = Literal["reset", "carry"]


@dataclass
class Method:
    """How a batch is shown (Algorithm 1).

    Attributes:
        periods: N; a batch is shown in N windows of floor(T / N) steps, with an update after each. At least 1.
        noise: what is added to the images of each period.
        state: "reset": every period starts at rest, with a loss of its own. "carry": membranes, dropout masks
            and accumulated logits go on, detached, so that a period's loss sees all steps so far.
    """

    periods: int = 1
    noise: Noise = field(default_factory=NoNoise)
    state: State = "reset"

    def steps(self, timesteps: int) -> int:
        """Timesteps of one period, floor(T / N).

        Raises:
            UsageError: more periods than timesteps.
        """
        if not 1 <= self.periods <= timesteps:
            raise UsageError(
                f"noise.periods is {self.periods} and snn.timesteps {timesteps}; 1 <= periods <= timesteps."
            )
        return timesteps // self.periods


def _traditional(periods: int, step: float, bound: float, state: State) -> Method:
    return Method()


def _hire(periods: int, step: float, bound: float, state: State) -> Method:
    return Method(periods, CraftedNoise(step, bound), state)


def _gaussian(periods: int, step: float, bound: float, state: State) -> Method:
    return Method(periods, GaussianNoise(step), state)


def _noise_free(periods: int, step: float, bound: float, state: State) -> Method:
    return Method(periods, NoNoise(), state)


METHODS: dict[str, Callable[[int, float, float, State], Method]] = {
    "traditional": _traditional,
    "hire": _hire,
    "gaussian": _gaussian,
    "noise-free": _noise_free,
    "rate": _traditional,  # Poisson input: the encoding of the network differs, the training does not
}
"""Method name -> (periods, noise step, noise bound, state) -> Method."""


def method(name: str, *, periods: int, step: float, bound: float | None = None, state: State = "reset") -> Method:
    """Make a method by name; `bound` defaults to `step`, as in the paper.

    Raises:
        UsageError: an unknown name; a step or bound below 0.
    """
    if name not in METHODS:
        raise UsageError(f"method is {name!r}; choose one of {', '.join(METHODS)}.")
    return METHODS[name](periods, step, step if bound is None else bound, state)
