"""Accuracy under attack on held-out images after each epoch: which epoch to take, and when robustness collapses."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hiresnn.attacks import fgsm, pgd
from hiresnn.attacks.gate import frozen
from hiresnn.metrics import correct

Select = Literal["last", "robust"]
ITERATIONS = 10
"""Steps of the PGD that measures robustness, each of eps / 4."""
OVERFITTED = 10.0
"""Points by which FGSM minus PGD-10 may exceed that of the best epoch."""


@dataclass
class Selection:
    """Measures a network under FGSM and PGD-10 after each epoch.

    Catastrophic overfitting (Wong et al. 2020) is assumed where FGSM minus PGD-10 grows by more than OVERFITTED points
    over that of the best epoch while PGD-10 falls: the network has learned to fool one-step attacks.

    Attributes:
        images, labels: [N, C, H, W] in [0, 1] and [N], held out of training.
        eps: bound of both attacks in pixel units.
        select: "robust" takes the epoch with the highest accuracy under PGD-10, the later one of equals.
        best: that epoch: its number, its accuracies, and the state of the training; empty before the first.
    """

    images: Tensor
    labels: Tensor
    eps: float
    select: Select = "last"
    best: dict[str, Any] = field(default_factory=dict)

    def measure(self, network: nn.Module) -> dict[str, float]:
        """Return the accuracies in percent: clean, fgsm, pgd."""
        images, labels = self.images, self.labels
        attacked = {
            "clean": images,
            "fgsm": fgsm(network, images, labels, eps=self.eps),
            "pgd": pgd(network, images, labels, eps=self.eps, step=self.eps / 4, iterations=ITERATIONS),
        }
        with frozen(network), torch.no_grad():
            found = {name: correct(network(shown), labels) for name, shown in attacked.items()}
        return {name: round(100 * right.float().mean().item(), 2) for name, right in found.items()}

    def overfitted(self, accuracies: dict[str, float]) -> bool:
        """Return whether these accuracies mean catastrophic overfitting."""
        if not self.best:
            return False
        before = self.best["accuracies"]
        growth = (accuracies["fgsm"] - accuracies["pgd"]) - (before["fgsm"] - before["pgd"])
        return bool(accuracies["pgd"] < before["pgd"] and growth > OVERFITTED)

    def consider(self, epoch: int, accuracies: dict[str, float], state: dict[str, Any]) -> None:
        """Store a copy of the training's `state` if this epoch is the best so far."""
        if not self.best or accuracies["pgd"] >= self.best["accuracies"]["pgd"]:
            self.best = {"epoch": epoch, "accuracies": accuracies, "state": copy.deepcopy(state)}
