"""One PGD, watched: what its losses, verdicts and gradients did on the way tells whether it can be believed."""

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
"""Share of the whole climb by which the loss may still rise in the last steps (Pintor et al. 2022, I4)."""
LAST = 10
"""How many steps those are, at most half of the climb."""
DIRECTIONS, RADIUS = 100, 8 / 255
"""Random directions and their radius for the stability of the loss (Pintor et al. 2022, I2)."""


@dataclass(frozen=True, eq=False)
class Climb:
    """K steps on B images.

    Attributes:
        loss: at every iterate, the image itself first, [K+1, B].
        margin: largest margin loss over the iterates, above 0 where one was misclassified.
        wrong: whether an iterate is misclassified, [K+1, B].
        zero: the gradient at the image is exactly zero; zero_pixels: the share of its pixels where it is.
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
        """Any iterate is misclassified."""
        return self.wrong.any(0)

    @property
    def silent(self) -> Bool[Tensor, " batch"]:
        """An iterate succeeded, the last one fails: whoever looks at the last alone misses it (I3)."""
        return self.broken & ~self.wrong[-1]

    @property
    def rising(self) -> Bool[Tensor, " batch"]:
        """It broke nothing, and its best loss still rose in the last steps by more than `RISE` of the whole (I4)."""
        best = self.loss.cummax(0).values
        steps = len(best) - 1
        whole = best[-1] - self.loss.amin(0)
        late = best[-1] - best[steps - min(LAST, steps // 2)]
        return ~self.broken & (late > RISE * whole) & (late > 0)


def climb(
    model: Model, images: Tensor, labels: Int64[Tensor, " batch"], *, eps: float, iterations: int, loss: str
) -> Climb:
    """PGD from the image, a quarter of the bound a step, with nothing left out of the batch."""
    step, climbed = eps / 4, LOSSES[loss]
    adversarial, losses, margins, wrong = images, [], [], []
    zero = zero_pixels = torch.zeros(0)
    for iteration in range(iterations + 1):
        at = loss_gradient(model, adversarial, labels, climbed)
        losses.append(at.loss)
        margins.append(margin(at.logits, labels))
        wrong.append(~correct(at.logits, labels))
        if not iteration:
            still = at.gradient.flatten(1) == 0
            zero, zero_pixels = still.all(1), still.float().mean(1)
        if iteration < iterations:
            adversarial = perturbed(images, ascend(adversarial - images, at.gradient, step, eps))
    return Climb(
        torch.stack(losses), torch.stack(margins).amax(0), torch.stack(wrong), zero, zero_pixels, adversarial.detach()
    )


@torch.no_grad()
def instability(
    model: Model, images: Tensor, labels: Int64[Tensor, " batch"], directions: int = DIRECTIONS
) -> Float[Tensor, " batch"]:
    """Mean relative change of the cross-entropy over random directions, each sample's at most 1 (Pintor I2)."""
    climbed = LOSSES["cross-entropy"]
    here = climbed(model(images).float(), labels)
    changes = torch.zeros_like(here)
    for _ in range(directions):
        there = climbed(model(perturbed(images, uniform(images, RADIUS, None))).float(), labels)
        changes += ((there - here).abs() / here.abs().clamp(min=1e-12)).clamp(max=1)
    return changes / directions
