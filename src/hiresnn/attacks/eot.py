"""Expectation over transformation (Athalye et al. 2018): the gradient averaged over draws of a random model."""

from __future__ import annotations

import torch
from torch import Tensor

from hiresnn.attacks.gate import Model
from hiresnn.attacks.losses import Climb, Gradient, Loss, loss_gradient
from hiresnn.errors import UsageError


def over_draws(draws: int, gradient: Gradient = loss_gradient) -> Gradient:
    """`gradient` as the mean of `draws` calls: logits, loss and gradient alike.

    For anything random in the forward pass, such as Poisson spikes; at least 10 draws. An image then counts as
    misclassified by its mean logits. One draw is `gradient` itself.

    Raises:
        UsageError: draws is below 1.
    """
    if draws < 1:
        raise UsageError(f"draws is {draws}; a gradient needs at least 1.")
    if draws == 1:
        return gradient

    def averaged(model: Model, images: Tensor, labels: Tensor, loss: Loss) -> Climb:
        climbs = [gradient(model, images, labels, loss) for _ in range(draws)]
        return Climb(*(torch.stack(each).mean(0) for each in zip(*climbs, strict=True)))

    return averaged


@torch.no_grad()
def expected_logits(model: Model, images: Tensor, draws: int = 1) -> Tensor:
    """Logits [B, K] in float32, the mean of `draws` forward passes."""
    return torch.stack([model(images).float() for _ in range(draws)]).mean(0)
