"""A PGD run with its losses, predictions and gradients recorded, which tell whether its failure means anything."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from hiresnn.attacks import LOSSES, Model, loss_gradient
from hiresnn.attacks.ball import ascend, perturbed, uniform
from hiresnn.attacks.losses import margin
from hiresnn.metrics import correct

RISE = 0.05
"""Share of the total rise above which a rise in the last steps counts as unfinished (Pintor et al. 2022, I4)."""
LAST = 10
"""The number of last steps, at most half of all."""
DIRECTIONS, RADIUS = 100, 8 / 255
"""Random directions, and their radius in pixel units, for the stability of the loss (Pintor et al. 2022, I2)."""


@dataclass(frozen=True, eq=False)
class PgdTrace:
    """K steps of PGD on B images.

    Attributes:
        loss: at every iterate, the image itself first, [K+1, B].
        margin: largest margin loss over the iterates, above 0 if one was misclassified, [B].
        wrong: whether each iterate is misclassified, [K+1, B].
        zero: whether the gradient at the image is exactly zero, [B].
        zero_pixels: share of its pixels where the gradient is exactly zero, [B].
        last: the last iterate.
    """

    loss: Float[Tensor, "iterate batch"]
    margin: Float[Tensor, " batch"]
    wrong: Bool[Tensor, "iterate batch"]
    zero: Bool[Tensor, " batch"]
    zero_pixels: Float[Tensor, " batch"]
    last: Float[Tensor, "batch ..."]

    @property
    def broken(self) -> Bool[Tensor, " batch"]:
        """Whether any iterate is misclassified."""
        return self.wrong.any(0)

    @property
    def silent(self) -> Bool[Tensor, " batch"]:
        """Whether an iterate succeeded although the last one fails (I3)."""
        return self.broken & ~self.wrong[-1]

    @property
    def rising(self) -> Bool[Tensor, " batch"]:
        """Whether nothing succeeded although the best loss rose by more than `RISE` of its range at the end (I4)."""
        best = self.loss.cummax(0).values
        steps = len(best) - 1
        total = best[-1] - self.loss.amin(0)
        late = best[-1] - best[steps - min(LAST, steps // 2)]
        return ~self.broken & (late > RISE * total) & (late > 0)


def trace_pgd(
    model: Model, images: Tensor, labels: Int64[Tensor, " batch"], *, eps: float, iterations: int, loss: str
) -> PgdTrace:
    """Run PGD from the images with steps of eps / 4; no image leaves the batch."""
    step, ascended = eps / 4, LOSSES[loss]
    adversarial, losses, margins, wrong = images, [], [], []
    zero = zero_pixels = torch.zeros(0)
    for iteration in range(iterations + 1):
        at = loss_gradient(model, adversarial, labels, ascended)
        losses.append(at.loss)
        margins.append(margin(at.logits, labels).nan_to_num(torch.inf))
        wrong.append(~correct(at.logits, labels))
        if not iteration:
            flat = at.gradient.flatten(1) == 0
            zero, zero_pixels = flat.all(1), flat.float().mean(1)
        if iteration < iterations:
            adversarial = perturbed(images, ascend(adversarial - images, at.gradient, step, eps))
    return PgdTrace(
        torch.stack(losses), torch.stack(margins).amax(0), torch.stack(wrong), zero, zero_pixels, adversarial.detach()
    )


@torch.no_grad()
def instability(
    model: Model, images: Tensor, labels: Int64[Tensor, " batch"], directions: int = DIRECTIONS
) -> Float[Tensor, " batch"]:
    """Mean relative change of the cross-entropy over random directions, at most 1 for each (Pintor I2)."""
    entropy = LOSSES["cross-entropy"]
    here = entropy(model(images).float(), labels)
    changes = torch.zeros_like(here)
    for _ in range(directions):
        there = entropy(model(perturbed(images, uniform(images, RADIUS, None))).float(), labels)
        changes += ((there - here).abs() / here.abs().clamp(min=1e-12)).clamp(max=1).nan_to_num(1)
    return changes / directions
