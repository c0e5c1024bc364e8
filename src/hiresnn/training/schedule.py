"""Learning rate in steps, multiplied by a factor after fractions of the epochs (section 5.1), or in one cycle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PEAK = 0.4
"""Fraction of the epochs at which a cyclic rate is highest."""


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
        cyclic: instead of the steps, rise linearly to `lr` until 40 % of the epochs and fall linearly to 0.
    """

    epochs: int
    lr: float
    decay: float = 0.2
    milestones: Sequence[float] = (0.6, 0.8, 0.9)
    cyclic: bool = False

    def rate(self, epoch: int) -> float:
        """Return the learning rate of `epoch`, counted from 0: lr * decay ** (milestones passed), unless `cyclic`."""
        if self.cyclic:
            done = (epoch + 0.5) / self.epochs
            return self.lr * min(done / PEAK, (1 - done) / (1 - PEAK))
        passed = sum(epoch >= round(fraction * self.epochs) for fraction in self.milestones)
        return float(self.lr * self.decay**passed)
