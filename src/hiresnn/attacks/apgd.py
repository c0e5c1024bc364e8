"""Auto-PGD (Croce and Hein 2020, Algorithm 1): momentum, and a step that halves where it no longer pays."""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from hiresnn.attacks.ball import ascend, perturbed, project
from hiresnn.attacks.best_of import Worst
from hiresnn.attacks.checkpoints import Checkpoints
from hiresnn.attacks.eot import over_draws
from hiresnn.attacks.gate import Model, check, frozen
from hiresnn.attacks.losses import TARGETED, Gradient, Loss, named, towards
from hiresnn.attacks.options import check_options
from hiresnn.attacks.random_noise import uniform

MOMENTUM = 0.75
"""Share of the new step; the rest repeats the step before."""


def apgd(
    model: Model,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, " batch"],
    *,
    eps: float = 8 / 255,
    iterations: int = 100,
    restarts: int = 1,
    loss: str = "cross-entropy",
    targets: int = 9,
    draws: int = 1,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch channel height width"]:
    """APGD in the L-infinity ball, without a step size to choose; any misclassified iterate counts.

    Images broken by one run leave the batch for the next.

    Args:
        model, images, labels, eps: as in `pgd`.
        iterations: of each run.
        restarts: runs (for each target), each from a random start; at least 1.
        loss: "cross-entropy", "margin", "dlr", or "dlr-targeted".
        targets: for "dlr-targeted", how many of the classes that the model finds next best are aimed at in turn.
        draws: forward passes a gradient is averaged over, see `eot.over_draws`.
        generator: CPU generator of the random starts.

    Returns:
        Adversarial images, verified; where none was found, the iterate with the largest margin loss.

    Raises:
        UsageError: a value out of range, or too few classes for the loss.
    """
    check_options("apgd", eps=eps, iterations=iterations)
    check_options("apgd", restarts=restarts, targets=targets)
    run = partial(_run, eps=eps, iterations=iterations, gradient=over_draws(draws), generator=generator)
    with frozen(model):
        worst = Worst(model, images, labels, draws)
        for _ in range(restarts):
            if loss != TARGETED:
                run(worst, images, worst.standing, named(loss, TARGETED))
                continue
            ranked = worst.logits.scatter(1, labels[:, None], -torch.inf).argsort(1, descending=True)
            for rank in range(min(targets, ranked.shape[1] - 1)):
                rows = worst.standing
                run(worst, images, rows, towards(ranked[rows, rank]))
    check(images, worst.adversarial, eps=eps)
    return worst.adversarial


def _run(
    worst: Worst,
    images: Tensor,
    rows: Tensor,
    loss: Loss,
    *,
    eps: float,
    iterations: int,
    gradient: Gradient,
    generator: torch.Generator | None,
) -> None:
    """One run on the images of `rows`, its iterates offered to `worst`."""
    if not len(rows):
        return
    images, labels = images[rows], worst.labels[rows]
    each = (-1, *(1,) * (images.dim() - 1))  # one value a sample, beside its pixels
    adversarial = before = perturbed(images, _start(images, eps, generator))
    at = gradient(worst.model, adversarial, labels, loss)
    worst.offer(rows, adversarial, at.logits)
    slope, best_loss, best, best_slope = at.gradient, at.loss, adversarial, at.gradient
    step, checkpoints = torch.full_like(at.loss, 2 * eps).view(each), Checkpoints(iterations, at.loss)
    for iteration in range(iterations):
        here = adversarial - images
        aimed = perturbed(images, ascend(here, slope, step, eps)) - adversarial
        if iteration:
            aimed = MOMENTUM * aimed + (1 - MOMENTUM) * (adversarial - before)
        before, adversarial = adversarial, perturbed(images, project(here + aimed, eps))
        at = gradient(worst.model, adversarial, labels, loss)
        worst.offer(rows, adversarial, at.logits)
        better = (at.loss > best_loss).view(each)
        best, best_slope = torch.where(better, adversarial, best), torch.where(better, at.gradient, best_slope)
        best_loss = torch.maximum(at.loss, best_loss)
        halved = checkpoints.halve(at.loss).view(each)
        step = torch.where(halved, step / 2, step)
        adversarial, slope = torch.where(halved, best, adversarial), torch.where(halved, best_slope, at.gradient)


def _start(images: Tensor, eps: float, generator: torch.Generator | None) -> Tensor:
    """A uniform draw, stretched until its largest pixel lies on the ball."""
    noise = uniform(images, 1.0, generator)
    return project(eps * noise / noise.abs().amax((1, 2, 3), keepdim=True), eps)
