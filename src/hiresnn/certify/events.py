"""Smoothing of event grids: certificates for events that are added or deleted (Bojchevski et al., ICML 2020)."""

import math
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from hiresnn.errors import UsageError

MOST_EVENTS = 1000
"""Largest number of changed events that `Sparse.radius` looks at."""


@dataclass(frozen=True)
class Sparse:
    """Noise on binary grids: an empty cell gets an event with probability `p_plus`, an event is lost with `p_minus`.

    Few cells hold an event, so p_plus has to be far smaller than p_minus for the noise to leave the events visible.

    Two grids that differ by `added` and `deleted` events are compared in the cells that differ. There the likelihood
    ratio of a noisy grid depends only on the number q of noisy cells that disagree with the first grid:

        P(q | first)  : q = Binomial(added, p_plus) + Binomial(deleted, p_minus)
        P(q | second) : q = Binomial(added, 1 - p_minus) + Binomial(deleted, 1 - p_plus)

    and falls with q. By the lemma of Neyman and Pearson, the classifier that loses most has the regions q = 0, 1, ...
    up to its probability under the first grid, so that its probability under the second is a sum of added + deleted + 1
    numbers.

    Raises:
        UsageError: a probability is outside [0, 1), or their sum is not below 1.
    """

    p_plus: float
    p_minus: float
    norm: ClassVar[str] = "events"

    def __post_init__(self) -> None:
        if not (self.p_plus >= 0 and self.p_minus >= 0 and 0 < self.p_plus + self.p_minus < 1):
            raise UsageError(f"p_plus is {self.p_plus}, p_minus {self.p_minus}; their sum must lie in (0, 1).")

    def draw(self, image: Tensor, count: int, generator: torch.Generator) -> Tensor:
        if not ((image == 0) | (image == 1)).all():
            raise UsageError("the grid holds values other than 0 and 1; sparse smoothing needs binary event grids.")
        draws = torch.rand(count, *image.shape, generator=generator).to(image.device)
        return torch.where(image == 1, draws >= self.p_minus, draws < self.p_plus).to(image.dtype)

    def required(self, added: int, deleted: int) -> float:
        """Return the probability of a class above which (added, deleted) events cannot change it; 1 if none suffices.

        >>> round(Sparse(0.0, 0.5).required(0, 1), 6)  # half of the events are lost
        0.75
        """
        if min(added, deleted) < 0:
            raise UsageError(f"added is {added} and deleted is {deleted}; give numbers of events from 0.")
        return _required(self.p_plus, self.p_minus, added, deleted)

    def certified(self, p: float, added: int, deleted: int) -> bool:
        """Return whether a class of probability >= p cannot change by these numbers of events."""
        return p > self.required(added, deleted)

    def radius(self, p: float) -> float:
        """Return the smallest number of changed events that may change a class of probability >= p."""
        for events in range(1, MOST_EVENTS + 1):
            if not all(self.certified(p, added, events - added) for added in range(events + 1)):
                return events
        return math.inf

    def distance(self, change: Tensor) -> float:
        return float((change != 0).sum())


@cache
def _required(p_plus: float, p_minus: float, added: int, deleted: int) -> float:
    from scipy.stats import binom

    def of_regions(of_added: float, of_deleted: float) -> np.ndarray:
        first = binom.pmf(np.arange(added + 1), added, of_added)
        return np.convolve(first, binom.pmf(np.arange(deleted + 1), deleted, of_deleted))

    first, second = of_regions(p_plus, p_minus), of_regions(1 - p_minus, 1 - p_plus)
    possible = first > 0  # the adversary has no use for regions that the first grid never reaches
    needed, mass = 0.0, 0.0
    for here, there in zip(first[possible], second[possible], strict=True):
        if mass + there > 0.5:
            # The last term makes rounding err to the safe side.
            return min(1.0, needed + float(here) * (0.5 - mass) / float(there) + 1e-12)
        needed, mass = needed + float(here), mass + float(there)
    return 1.0
