"""SA-PGD (Wang et al., CVPR 2026): a stable, adaptive step of full length in every pixel, for jagged losses."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from hiresnn.attacks.ball import perturbed, project
from hiresnn.attacks.best_of import Worst
from hiresnn.attacks.checkpoints import Checkpoints
from hiresnn.attacks.eot import over_draws
from hiresnn.attacks.gate import Model, check, frozen
from hiresnn.attacks.losses import Gradient, Loss, named
from hiresnn.attacks.options import check_options
from hiresnn.attacks.random_noise import uniform

FIRST, SECOND = 0.5, 0.8
"""What the first and the second moment keep from one iteration to the next."""


def sa_pgd(
    model: Model,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, " batch"],
    *,
    eps: float = 8 / 255,
    iterations: int = 100,
    restarts: int = 1,
    loss: str = "cross-entropy",
    draws: int = 1,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch channel height width"]:
    """Adaptive steps in the L-infinity ball; any misclassified iterate counts. Meant to go with the rule ASSG.

    With the gradient g and means over the pixels of a sample: m = 0.5 m + g / mean |g|,
    v = 0.8 v + g^2 / mean g^2, x = x + clip(eta m / sqrt v, -eta, eta), projected. eta starts at eps and is halved,
    the search going on from the best iterate, by the criterion of APGD.

    Args:
        model, images, labels, eps: as in `pgd`.
        iterations: of each run, 100 and more.
        restarts: runs, the first from the image itself, the others from uniform draws; at least 1. Images broken by
            one run leave the batch for the next.
        loss: "cross-entropy", "margin" or "dlr".
        draws: forward passes a gradient is averaged over, see `eot.over_draws`.
        generator: CPU generator of the random starts.

    Returns:
        Adversarial images, verified; where none was found, the iterate with the largest margin loss.

    Raises:
        UsageError: a value out of range.
    """
    check_options("sa-pgd", eps=eps, iterations=iterations)
    check_options("sa-pgd", restarts=restarts)
    gradient, climbed = over_draws(draws), named(loss)
    with frozen(model):
        worst = Worst(model, images, labels, draws)
        for start in range(restarts):
            rows = worst.standing
            if not len(rows):
                break
            begin = images[rows]
            if start:
                begin = perturbed(begin, uniform(begin, eps, generator))
            _run(worst, images[rows], rows, begin, gradient, climbed, eps, iterations)
    check(images, worst.adversarial, eps=eps)
    return worst.adversarial


def _run(
    worst: Worst,
    images: Tensor,
    rows: Tensor,
    adversarial: Tensor,
    gradient: Gradient,
    loss: Loss,
    eps: float,
    iterations: int,
) -> None:
    """One run on `images`, which are those of `rows`; its iterates are offered to `worst`."""
    labels, pixels = worst.labels[rows], tuple(range(1, images.dim()))
    each = (-1, *(1,) * len(pixels))  # one value a sample, beside its pixels
    at = gradient(worst.model, adversarial, labels, loss)
    worst.offer(rows, adversarial, at.logits)
    slope, best_loss, best, best_slope = at.gradient, at.loss, adversarial, at.gradient
    step, checkpoints = torch.full_like(at.loss, eps).view(each), Checkpoints(iterations, at.loss)
    first = second = torch.zeros_like(images)
    for _ in range(iterations):
        scaled = _over(slope, slope.abs().mean(pixels, keepdim=True))
        square = scaled.square()  # of the scaled gradient: that of a tiny one would be 0 in float32
        first = FIRST * first + scaled
        second = SECOND * second + _over(square, square.mean(pixels, keepdim=True))
        by = torch.clamp(step * _over(first, second.sqrt()), -step, step)
        adversarial = perturbed(images, project(adversarial - images + by, eps))
        at = gradient(worst.model, adversarial, labels, loss)
        worst.offer(rows, adversarial, at.logits)
        better = (at.loss > best_loss).view(each)
        best, best_slope = torch.where(better, adversarial, best), torch.where(better, at.gradient, best_slope)
        best_loss = torch.maximum(at.loss, best_loss)
        halved = checkpoints.halve(at.loss).view(each)
        step = torch.where(halved, step / 2, step)
        adversarial, slope = torch.where(halved, best, adversarial), torch.where(halved, best_slope, at.gradient)


def _over(value: Tensor, by: Tensor) -> Tensor:
    """value / by, and 0 where `by` is 0: a pixel that never had a gradient stays."""
    return torch.where(by > 0, value / torch.where(by > 0, by, 1.0), 0.0)
