"""Projected gradient descent (Eq. 4; Madry et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from hiresnn.attacks.ball import ascend, perturbed
from hiresnn.attacks.eot import over_draws
from hiresnn.attacks.gate import Model, check, frozen
from hiresnn.attacks.losses import cross_entropy
from hiresnn.attacks.options import check_options


def pgd(
    model: Model,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, " batch"],
    *,
    eps: float = 8 / 255,
    step: float = 0.01,
    iterations: int = 7,
    random_start: bool = False,
    draws: int = 1,
    generator: torch.Generator | None = None,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Float[Tensor, "batch channel height width"]:
    """Climb the loss for K steps along the sign of its gradient, inside the eps-ball and [0, 1].

    Args:
        model: images -> logits; a module is attacked in eval mode and left as it was.
        images: in [0, 1]; labels: the true classes.
        eps: L-infinity bound in pixel units, at least 0 (paper: 8/255).
        step: alpha, in pixel units (paper: 0.01).
        iterations: K (paper: 7).
        random_start: begin at a uniform draw from the ball, as the authors' code does; Eq. 4 does not.
        draws: forward passes a gradient is averaged over, see `eot.over_draws`.
        generator: CPU generator of the random start.
        watch: told, before each step, how many steps were made and the logits there, [B, classes]; so one run of K
            steps says what every smaller K would have left.

    Returns:
        Adversarial images: |x_adv - x| <= eps, values in [0, 1], both verified.

    Raises:
        UsageError: a value out of range.
    """
    check_options("pgd", eps=eps, step=step, iterations=iterations, draws=draws)
    delta = torch.zeros_like(images)
    if random_start:
        delta = (torch.rand(images.shape, generator=generator) * 2 - 1).to(images) * eps
    adversarial = perturbed(images, delta)
    climb = over_draws(draws)
    with frozen(model):
        for done in range(iterations):
            at = climb(model, adversarial, labels, cross_entropy)
            if watch is not None:
                watch(done, at.logits)
            adversarial = perturbed(images, ascend(adversarial - images, at.gradient, step, eps))
    adversarial = adversarial.detach()
    check(images, adversarial, eps=eps)
    return adversarial
