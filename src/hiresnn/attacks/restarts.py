"""PGD with restarts, where any misclassified iterate counts (Madry et al. 2018, as Carlini et al. 2019 advise)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from hiresnn.attacks.ball import ascend, perturbed
from hiresnn.attacks.best_of import Worst
from hiresnn.attacks.eot import over_draws
from hiresnn.attacks.gate import Model, check, frozen
from hiresnn.attacks.losses import Climb, named
from hiresnn.attacks.options import check_options, relative_step
from hiresnn.attacks.random_noise import uniform


def pgd_restarts(
    model: Model,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, " batch"],
    *,
    eps: float = 8 / 255,
    step: float | None = None,
    iterations: int = 100,
    restarts: int = 5,
    loss: str = "cross-entropy",
    draws: int = 1,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch channel height width"]:
    """`pgd` from `restarts` starts; an image leaves the batch with its first misclassified iterate.

    The first start is the image itself, the others are uniform draws from the ball.

    Args:
        model, images, labels, eps, step, iterations, generator: as in `pgd`.
        restarts: starts in all, at least 1.
        loss: one of `losses.LOSSES`.
        draws: forward passes a gradient is averaged over, see `eot.over_draws`.

    Returns:
        Adversarial images, verified; where none was found, the iterate with the largest margin loss.

    Raises:
        UsageError: a value out of range.
    """
    return _searched(model, images, labels, eps, step, iterations, restarts, loss, draws, generator).adversarial


def unbroken(
    model: Model,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, " batch"],
    *,
    eps: float = 8 / 255,
    step: float | None = None,
    iterations: int = 7,
) -> Bool[Tensor, " batch"]:
    """Which images neither they themselves nor any iterate of `pgd` breaks; arguments as there.

    The fast way to a robust accuracy that counts any iterate: nothing is shown to the model twice. The images found
    are verified all the same.
    """
    return ~_searched(model, images, labels, eps, step, iterations, 1, "cross-entropy", 1, None).broken


def _searched(
    model: Model,
    images: Tensor,
    labels: Tensor,
    eps: float,
    step: float | None,
    iterations: int,
    restarts: int,
    loss: str,
    draws: int,
    generator: torch.Generator | None,
) -> Worst:
    step = relative_step(eps) if step is None else step
    check_options("pgd-restarts", eps=eps, step=step, iterations=iterations, restarts=restarts, draws=draws)
    gradient, climbed = over_draws(draws), named(loss)
    with frozen(model):
        # The first iterate is the image itself: its logits say what is broken from the start.
        first = gradient(model, images, labels, climbed) if iterations else None
        worst = Worst(model, images, labels, draws, first and first.logits)
        for start in range(restarts):
            rows = worst.standing
            adversarial = images[rows]
            if start:
                adversarial = perturbed(adversarial, uniform(adversarial, eps, generator))
            for _ in range(iterations):
                if not len(rows):
                    break
                if first is None:
                    at = gradient(model, adversarial, labels[rows], climbed)
                else:
                    at, first = Climb(*(each[rows] for each in first)), None
                left = ~worst.offer(rows, adversarial, at.logits)
                rows = rows[left]
                delta = ascend(adversarial[left] - images[rows], at.gradient[left], step, eps)
                adversarial = perturbed(images[rows], delta)
            worst.show(rows, adversarial)
    check(images, worst.adversarial, eps=eps)
    return worst
