"""The training loop (Algorithm 1), one for every method and for the ANN.

A batch is seen in N periods. In each: forward on the noisy images, one backward for the gradients of weights,
threshold, leak and input, all at the old weights (lines 13-18), an optimiser step (19-22), and the new noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from hiresnn.errors import NotFiniteError
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import Window
from hiresnn.training.methods import Method

Batch = tuple[Tensor, Tensor]


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
) -> list[tuple[float, int]]:
    """Train on one batch; returns (loss, right answers) of each period.

    Args:
        model: a SpikingNetwork, or an ANN, for which time does not exist and one period is one update.
        images: [B, C, H, W] in [0, 1]; labels: [B].
        timesteps: T over all periods.
        precision: torch.bfloat16 autocasts products; membranes, losses and weights stay float32.

    Raises:
        NotFiniteError: the loss is not finite; this period's update was not made.
    """
    window = Window(method.steps(timesteps), images.shape[0], carried=method.state == "carry")
    seen = []
    for period in range(method.periods):
        shown = method.noise.apply(images)
        if method.noise.crafted:
            shown = shown.detach().requires_grad_()
        if period:
            window = window.following() if window.carried else Window(window.timesteps, window.batch)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=precision is torch.bfloat16):
            logits = model.present(shown, window) if isinstance(model, SpikingNetwork) else model(shown)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels)
        value = loss.item()
        if not math.isfinite(value):
            raise NotFiniteError(f"the loss is {value}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if isinstance(model, SpikingNetwork):
            model.clamp_neurons_()
        if method.noise.crafted:
            assert shown.grad is not None
            method.noise.update(shown.grad)
        seen.append((value, int((logits.detach().argmax(1) == labels).sum())))
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
) -> EpochResult:
    """Train on every batch once.

    `advance` is called after each batch with the number of images and a note such as "loss 1.23".

    Raises:
        NotFiniteError: names the batch (counted from 1) at which the loss was not finite, or the weights that
            were not at the end: a membrane that is NaN never spikes, so that the loss may hide it.
    """
    model.train()
    losses, right, shown, images_seen = 0.0, 0, 0, 0
    for number, (images, labels) in enumerate(batches, start=1):
        try:
            periods = train_batch(model, optimizer, images, labels, method, timesteps=timesteps, precision=precision)
        except NotFiniteError as error:
            raise NotFiniteError(f"{error} at batch {number}") from None
        count = images.shape[0]
        losses += count * sum(loss for loss, _ in periods)
        right += sum(hits for _, hits in periods)
        shown += count * len(periods)
        images_seen += count
        advance(count, f"loss {losses / shown:.3f}")
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise NotFiniteError(f"{name} is no longer finite")
    return EpochResult(losses / max(shown, 1), 100 * right / max(shown, 1), images_seen)
