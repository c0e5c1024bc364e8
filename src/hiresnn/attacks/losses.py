"""What an attack climbs: a loss a sample, from logits, higher where the model is further from the truth.

The logits of a spiking network are sums over T steps. Cross-entropy saturates on large ones, to a gradient of
exactly zero in float32; the margin keeps its gradient, and the difference of logits ratio (DLR) keeps its scale too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from hiresnn.attacks.gate import Model
from hiresnn.errors import UsageError

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits [B, K], labels [B]) -> loss [B]."""


def cross_entropy(logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """-log softmax(logits) at the label."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """max over i != y of z_i, minus z_y: above 0 where the model is wrong (Carlini and Wagner 2017)."""
    true = logits.gather(1, labels[:, None])
    return (logits.scatter(1, labels[:, None], -torch.inf).amax(1, keepdim=True) - true)[:, 0]


def dlr(logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Margin / (z_1 - z_3), with z_1, z_3 the largest and third largest logit (Croce and Hein 2020).

    Raises:
        UsageError: fewer than 3 classes.
    """
    _need_classes("dlr", logits, 3)
    top = logits.topk(3, 1).values
    return margin(logits, labels) / (top[:, 0] - top[:, 2] + 1e-12)


def dlr_targeted(
    logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"], targets: Int64[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """(z_t - z_y) / (z_1 - (z_3 + z_4) / 2) for one target class a sample (Croce and Hein 2020).

    Raises:
        UsageError: fewer than 4 classes.
    """
    _need_classes("dlr-targeted", logits, 4)
    top = logits.topk(4, 1).values
    gap = logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None])
    return gap[:, 0] / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2 + 1e-12)


LOSSES: dict[str, Loss] = {"cross-entropy": cross_entropy, "margin": margin, "dlr": dlr}
"""Untargeted losses by name."""
TARGETED = "dlr-targeted"
"""The name that stands for `dlr_targeted`, one run a target."""


def named(loss: str, *others: str) -> Loss:
    """The untargeted loss of that name; `others` are names that the caller knows besides.

    Raises:
        UsageError: no such loss.
    """
    if loss not in LOSSES:
        raise UsageError(f"loss is {loss!r}; choose one of {', '.join((*LOSSES, *others))}.")
    return LOSSES[loss]


def towards(targets: Int64[Tensor, " batch"]) -> Loss:
    """`dlr_targeted` with its targets, as a loss."""
    return partial(dlr_targeted, targets=targets)


class Climb(NamedTuple):
    """What an iteration learns at the images where it stands."""

    logits: Tensor  # [B, K], float32
    loss: Tensor  # [B]
    gradient: Tensor  # of the loss of each sample in its image, [B, C, H, W]


Gradient = Callable[[Model, Tensor, Tensor, Loss], Climb]
"""(model, images, labels, loss) -> Climb: `loss_gradient`, or one averaged over draws."""


def loss_gradient(model: Model, images: Tensor, labels: Tensor, loss: Loss) -> Climb:
    """One forward and one backward pass."""
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = model(images).float()
        value = loss(logits, labels)
        (gradient,) = torch.autograd.grad(value.sum(), images)
    return Climb(logits.detach(), value.detach(), gradient)


def _need_classes(name: str, logits: Tensor, least: int) -> None:
    if logits.shape[1] < least:
        raise UsageError(f"loss {name!r} needs {least} classes, the model has {logits.shape[1]}; use 'margin'.")
