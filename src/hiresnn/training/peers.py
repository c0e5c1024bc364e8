"""What other methods of robust training add to adversarial training, at their own price."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn.training.losses import Presentation

BETA = 1e-3
"""Strength of `orthogonalise`, as published."""


@torch.no_grad()
def orthogonalise(model: nn.Module) -> None:
    """Pull the rows of every weight W towards an orthogonal system: W <- (1 + b) W - b W W^T W, b = BETA.

    SNN-RAT (Ding et al., NeurIPS 2022) does this after each update; a convolution is a matrix of one row per output
    channel.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            rows = layer.weight.flatten(1)
            layer.weight.copy_(((1 + BETA) * rows - BETA * rows @ rows.T @ rows).view_as(layer.weight))


def sparse_gradients(seen: Presentation, *, strength: float = 0.002, h: float = 0.01) -> Tensor:
    """Return CE(m) + strength * mean of ((f(x + h d) - f(x)) / h)^2, with d the sign of the gradient of f.

    SR (Liu et al., ICML 2024): f(x) is the logit of the label, m = logits / T, and the difference is the L1 norm of
    the gradient of f in the image, up to the order of h.
    """
    model, t = seen.model, seen.timesteps

    def of_label(logits: Tensor) -> Tensor:
        return logits.gather(1, seen.labels[:, None])[:, 0] / t

    images = seen.shown.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(of_label(model(images)).sum(), images)
    moved = of_label(model(images.detach() + h * gradient.sign()))
    slope = (moved - of_label(seen.logits)) / h
    return F.cross_entropy(seen.logits / t, seen.labels) + strength * slope.square().mean()
