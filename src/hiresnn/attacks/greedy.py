"""PGD that tries every gradient rule at every step and keeps the best (greedy rule choice, Xu et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from hiresnn.attacks.ball import ascend, perturbed
from hiresnn.attacks.best_of import Worst
from hiresnn.attacks.gate import check, frozen
from hiresnn.attacks.losses import loss_gradient, named
from hiresnn.attacks.options import check_options, relative_step
from hiresnn.errors import UsageError
from hiresnn.neurons import gradient_rule, takes_rule
from hiresnn.neurons.rules import RULES, Rule

CHOICE = ("linear", "arctan", "rectangular", "straight-through", "bptr", "conversion")
"""Rules tried where the caller names none."""


def greedy(
    model: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, " batch"],
    *,
    eps: float = 8 / 255,
    step: float | None = None,
    iterations: int = 20,
    loss: str = "margin",
    rules: Sequence[Rule] | None = None,
) -> Float[Tensor, "batch channel height width"]:
    """PGD whose step, for each sample, is the one of all rules that leads to the highest loss.

    Broken images leave the batch, so a rule with statistics (ASSG) has no place here.

    Args:
        model: a network with LIF neurons; images, labels, eps, step, iterations: as in `pgd`.
        loss: one of `losses.LOSSES`.
        rules: what is tried, two forward passes and a backward pass each a step; None takes what the network can take
            of `CHOICE`.

    Raises:
        UsageError: a value out of range, an empty choice, or a model without LIF neurons.
    """
    step = relative_step(eps) if step is None else step
    check_options("greedy", eps=eps, step=step, iterations=iterations)
    rules = _taken(model) if rules is None else rules
    if not rules:
        raise UsageError("greedy: rules is empty; name at least one.")
    climbed = named(loss)
    with frozen(model):
        worst = Worst(model, images, labels)
        rows = worst.standing
        adversarial = images[rows]
        for _ in range(iterations):
            if not len(rows):
                break
            best, reached = adversarial, torch.full((len(rows),), -torch.inf, device=images.device)
            for rule in rules:
                with gradient_rule(model, rule):
                    slope = loss_gradient(model, adversarial, labels[rows], climbed).gradient
                tried = perturbed(images[rows], ascend(adversarial - images[rows], slope, step, eps))
                with torch.no_grad():
                    logits = model(tried).float()
                worst.offer(rows, tried, logits)
                value = climbed(logits, labels[rows])
                best = torch.where((value > reached).view(-1, 1, 1, 1), tried, best)
                reached = torch.maximum(value, reached)
            left = ~worst.broken[rows]
            rows, adversarial = rows[left], best[left]
    check(images, worst.adversarial, eps=eps)
    return worst.adversarial


def _taken(model: nn.Module) -> list[Rule]:
    """The rules of `CHOICE` for hiresnn's neurons; networks of other libraries take those that work on one membrane."""
    rules = [RULES[name].make() for name in CHOICE]
    taken = [rule for rule in rules if takes_rule(model, rule)]
    if not taken:
        with gradient_rule(model, rules[0]):  # says what is wrong
            pass
    return taken
