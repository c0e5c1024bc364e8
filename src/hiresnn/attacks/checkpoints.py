"""When a step is halved: the checkpoints of APGD (Croce and Hein 2020, sec. 3.1), shared by SA-PGD."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

IMPROVED = 0.75
"""The step is halved unless more than this share of the steps since the last checkpoint raised the loss."""


def lengths(iterations: int) -> list[int]:
    """Iterations from each checkpoint to the next: 22 % of them at first, then 3 % fewer each, at least 6 %."""
    length, least, less = (max(int(share * iterations), 1) for share in (0.22, 0.06, 0.03))
    found: list[int] = []
    while sum(found) + length <= iterations:
        found.append(length)
        length = max(length - less, least)
    return found


class Checkpoints:
    """Follows the loss [B] of a climb over its iterations.

    At a checkpoint the step of a sample is halved if at most 75 % of its steps raised the loss, or if neither its
    step nor its best loss has changed since the checkpoint before.

    Args:
        iterations: of the climb.
        loss: at its start.
    """

    def __init__(self, iterations: int, loss: Float[Tensor, " batch"]) -> None:
        self._lengths = iter(lengths(iterations))
        self._left = next(self._lengths, 0)
        self._rises = torch.zeros_like(loss)
        self._last = self._best = self._best_before = loss
        self._length = self._left
        self._halved = torch.ones_like(loss, dtype=torch.bool)

    def halve(self, loss: Float[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Take the loss after one iteration; True for the samples whose step is to be halved now."""
        self._rises += loss > self._last
        self._last, self._best = loss, torch.maximum(self._best, loss)
        self._left -= 1
        if self._left:
            return torch.zeros_like(self._halved)
        stuck = ~self._halved & (self._best_before >= self._best)
        self._halved = (self._rises <= IMPROVED * self._length) | stuck
        self._best_before, self._rises = self._best, torch.zeros_like(loss)
        self._length = self._left = next(self._lengths, 0)
        return self._halved
