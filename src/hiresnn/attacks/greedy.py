"""Greedy rule choice: PGD that tries several gradient rules at every step (Xu et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hiresnn.attacks.gate import Images, Labels, checked
from hiresnn.attacks.iterative import fixed_step, iterate
from hiresnn.attacks.losses import LossGradient, choose_loss, expected_logits, loss_gradient
from hiresnn.attacks.worst_case import WorstCandidates
from hiresnn.errors import UsageError
from hiresnn.neurons import gradient_rule, takes_rule
from hiresnn.neurons.rules import RULES, Rule

CHOICE = ("linear", "arctan", "rectangular", "straight-through", "bptr", "conversion")
"""Rules that are tried unless the caller names others."""


@checked("greedy")
def greedy(
    model: nn.Module,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    step: float | None = None,
    iterations: int = 20,
    loss: str = "margin",
    mean_logits: bool = False,
    rules: Sequence[Rule] | None = None,
) -> Images:
    """PGD that takes, for each sample, the step of the rule that leads to the highest loss.

    Broken images leave the batch, so do not use it with a rule that keeps statistics (ASSG).

    Args:
        model: a network with LIF neurons. All else is as in `pgd_restarts`.
        rules: the rules to try; each costs two forward passes and a backward pass per step. None takes those of
            `CHOICE` that the network supports.

    Raises:
        UsageError: no rules, or a model without LIF neurons.
    """
    rules = _supported(model) if rules is None else rules
    if not rules:
        raise UsageError("greedy: rules is empty; name at least one.")
    chosen = choose_loss(model, loss, mean_logits=mean_logits)
    move = fixed_step(step, eps)
    worst = WorstCandidates(model, images, labels)

    def best_rule(rows: Tensor, adversarial: Tensor) -> LossGradient:
        """Try every rule and return, per sample, the gradient of the best."""
        reached = torch.full((len(rows),), -torch.inf, device=images.device)
        best: LossGradient | None = None
        for rule in rules:
            with gradient_rule(model, rule):
                found = loss_gradient(model, adversarial, labels[rows], chosen)
            tried = move(images[rows], adversarial, found)
            logits = expected_logits(model, tried)
            worst.update(rows, tried, logits)
            value = chosen(logits, labels[rows])
            better = (value > reached).view(-1, 1, 1, 1)
            slope = found.gradient if best is None else torch.where(better, found.gradient, best.gradient)
            best, reached = found._replace(gradient=slope), torch.maximum(value, reached)
        assert best is not None
        return best

    def record(_: int, rows: Tensor, __: Tensor, ___: LossGradient) -> Tensor:
        return ~worst.broken[rows]

    rows = worst.standing
    iterate(images, rows, images[rows], iterations, best_rule, move, record)
    return worst.adversarial


def _supported(model: nn.Module) -> list[Rule]:
    """Return the rules of `CHOICE` that the network takes; those of other libraries take only elementwise rules."""
    rules = [RULES[name].make() for name in CHOICE]
    taken = [rule for rule in rules if takes_rule(model, rule)]
    if not taken:
        with gradient_rule(model, rules[0]):  # raises the error that names the cause
            pass
    return taken
