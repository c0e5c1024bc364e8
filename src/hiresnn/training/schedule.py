"""Learning rate in steps: multiplied by a factor once given fractions of the epochs are done (sec. 5.1)."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer


def learning_rate(epoch: int, epochs: int, *, lr: float, decay: float, milestones: Sequence[float]) -> float:
    """Rate of `epoch` (counted from 0): lr * decay ** (milestones passed).

    >>> learning_rate(18, 30, lr=1e-4, decay=0.2, milestones=(0.6, 0.8, 0.9))
    2e-05
    """
    passed = sum(epoch >= round(fraction * epochs) for fraction in milestones)
    return float(lr * decay**passed)


def set_learning_rate(optimizer: Optimizer, lr: float) -> None:
    """Set the rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = lr
