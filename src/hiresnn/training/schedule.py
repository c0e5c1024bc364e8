"""Learning rate in steps: multiplied by a factor once given fractions of the epochs are done (section 5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Learning rates of a training.

    >>> Schedule(epochs=30, lr=1e-4).rate(18)
    2e-05

    Attributes:
        epochs: number of epochs.
        lr: rate of the first epoch.
        decay: factor at each milestone, in (0, 1].
        milestones: fractions of the epochs, each rounded to a whole epoch.
    """

    epochs: int
    lr: float
    decay: float = 0.2
    milestones: Sequence[float] = (0.6, 0.8, 0.9)

    def rate(self, epoch: int) -> float:
        """Return the learning rate of `epoch`, counted from 0: lr * decay ** (milestones passed)."""
        passed = sum(epoch >= round(fraction * self.epochs) for fraction in self.milestones)
        return float(self.lr * self.decay**passed)
