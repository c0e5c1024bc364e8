"""The training loop (Algorithm 1), one for every method and for the ANN.

A batch is seen in N periods. In each: forward on the noisy images, one backward for the gradients of weights,
threshold, leak and input, all at the old weights (lines 13-18), an optimiser step (19-22), and the new noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from hiresnn.errors import NotFiniteError
from hiresnn.metrics import correct
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import Window
from hiresnn.training.methods import Method
from hiresnn.training.ranks import ALONE, Ranks

Batch = tuple[Tensor, Tensor]


class PeriodResult(NamedTuple):
    """Mean loss, right answers and images of one period, over the shares of all ranks."""

    loss: float
    right: int
    images: int


@dataclass(frozen=True)
class EpochResult:
    """Means over an epoch: loss of all periods; accuracy in percent on the training images as they were shown."""

    loss: float
    accuracy: float
    images: int


def train_batch(
    model: nn.Module,
    optimizer: Optimizer,
    images: Tensor,
    labels: Tensor,
    method: Method,
    *,
    timesteps: int = 1,
    precision: torch.dtype = torch.float32,
    ranks: Ranks = ALONE,
) -> list[PeriodResult]:
    """Train on one batch; returns what each period gave.

    Args:
        model: a SpikingNetwork, or an ANN, for which time does not exist and one period is one update.
        images: [B, C, H, W] in [0, 1]; labels: [B].
        timesteps: T over all periods.
        precision: torch.bfloat16 autocasts products; membranes, losses and weights stay float32.
        ranks: the processes that train together, of whose batch these images are this one's share.

    Raises:
        NotFiniteError: the loss is not finite; this period's update was not made.
    """
    rows = images.shape[0]
    window = Window(method.steps(timesteps), images.shape[0], carried=method.state == "carry")
    seen = []
    for period in range(method.periods):
        shown = method.noise.apply(images)
        if method.noise.crafted:
            shown = shown.detach().requires_grad_()
        if period:
            window = window.following() if window.carried else Window(window.timesteps, window.batch)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision is torch.bfloat16):
            logits = ranks.present(model, shown, window)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels)
        right = int(correct(logits.detach(), labels).sum())
        value, right, count = ranks.over_batch(loss.item(), right, rows)
        if not math.isfinite(value):
            raise NotFiniteError(f"the loss is {value}")
        optimizer.zero_grad(set_to_none=True)
        ranks.weighted(loss, rows, count).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if isinstance(model, SpikingNetwork):
            model.clamp_neurons_()
        if method.noise.crafted:
            assert shown.grad is not None
            method.noise.update(shown.grad)
        seen.append(PeriodResult(value, right, count))
    return seen


def train_epoch(
    model: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[Batch],
    method: Method,
    *,
    timesteps: int = 1,
    precision: torch.dtype = torch.float32,
    advance: Callable[[int, str], None] = lambda count, note: None,
    ranks: Ranks = ALONE,
) -> EpochResult:
    """Train on every batch once.

    `advance` is called after each batch with the number of images and a note such as "loss 1.23". `ranks` as in
    `train_batch`; what is returned is of all ranks.

    Raises:
        NotFiniteError: names the batch (counted from 1) at which the loss was not finite, or the weights that
            were not at the end: a membrane that is NaN never spikes, so that the loss may hide it.
    """
    model.train()
    losses, right, shown, images_seen = 0.0, 0, 0, 0
    for number, (images, labels) in enumerate(batches, start=1):
        try:
            periods = train_batch(
                model, optimizer, images, labels, method, timesteps=timesteps, precision=precision, ranks=ranks
            )
        except NotFiniteError as error:
            raise NotFiniteError(f"{error} at batch {number}") from None
        count = periods[0].images
        losses += count * sum(period.loss for period in periods)
        right += sum(period.right for period in periods)
        shown += count * len(periods)
        images_seen += count
        advance(count, f"loss {losses / shown:.3f}")
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise NotFiniteError(f"{name} is no longer finite")
    return EpochResult(losses / max(shown, 1), 100 * right / max(shown, 1), images_seen)
