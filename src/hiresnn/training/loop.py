"""The training loop (Algorithm 1): one for every method, which is data, and for the ANN.

Each of the N periods of a batch does a forward pass on the noisy images, one backward pass for the gradients of
weights, thresholds, leaks and input, all at the old weights (lines 13-18), a step (lines 19-22), and updates the noise.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hiresnn.errors import NotFiniteError, UsageError
from hiresnn.metrics import correct
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import Window
from hiresnn.training.losses import Presentation, cross_entropy
from hiresnn.training.noise import Noise
from hiresnn.training.ranks import ALONE, Ranks

BETA = 1e-3
"""Strength of `orthogonalise`, as published."""


@dataclass
class Method:
    """How one batch is trained on (Algorithm 1).

    Attributes:
        periods: N, at least 1. A batch is presented in N windows of floor(T / N) steps, with an update after each.
        replay: every period has all T steps instead.
        noise: noise on the images of each period.
        state: "reset": every period starts from rest and has its own loss. "carry": membranes, dropout masks and
            accumulated logits continue, detached, so that the loss of a period covers all steps so far.
        loss: mean loss over the rows of a period.
        after: changes the weights after each update.
        rounding: rounds the weights of the network in place, for every pass and at the end; see `rounded`.
    """

    periods: int = 1
    noise: Noise = field(default_factory=Noise)
    state: Literal["reset", "carry"] = "reset"
    loss: Callable[[Presentation], Tensor] = cross_entropy
    replay: bool = False
    after: Callable[[nn.Module], None] | None = None
    rounding: Callable[[], None] | None = None

    def steps(self, timesteps: int) -> int:
        """Return the timesteps of one period, floor(T / N), or T where batches are replayed."""
        if self.replay and self.periods >= 1:
            return timesteps
        if not 1 <= self.periods <= timesteps:
            hint = "give 1 to timesteps (noise.periods and snn.timesteps in a recipe)"
            raise UsageError(f"periods is {self.periods} and timesteps is {timesteps}; {hint}.")
        return timesteps // self.periods


class PeriodResult(NamedTuple):
    """Mean loss, number of correct answers and number of images of one period, over all ranks."""

    loss: float
    correct: int
    images: int


def train_batch(
    model: nn.Module,
    optimizer: Optimizer,
    images: Tensor,
    labels: Tensor,
    method: Method,
    *,
    timesteps: int | None = None,
    precision: torch.dtype = torch.float32,
    ranks: Ranks = ALONE,
) -> list[PeriodResult]:
    """Train on one batch; return one result per period. A batch without images changes nothing.

    Args:
        model: a SpikingNetwork, or an ANN, which has no timesteps and is updated once per batch.
        optimizer: holds the parameters of `model`.
        images, labels: [B, C, H, W] in [0, 1], and [B].
        method: noise, loss, periods; its noise is updated in place.
        timesteps: T of all periods together; None is the network's own T.
        precision: torch.bfloat16 runs products under autocast; membranes, losses and weights stay float32.
        ranks: the processes that train together. `images` are this rank's rows of the global batch, possibly none.

    Raises:
        NotFiniteError: the loss is not finite. The update of that period was not made.
    """
    rows, count = len(images), int(ranks.summed(len(images))[0])
    if count == 0:
        return [PeriodResult(0.0, 0, 0)] * method.periods
    if rows == 0:  # Every rank takes part in every pass: this one shows a blank image whose loss has weight 0.
        images, labels = images.new_zeros(1, *images.shape[1:]), labels.new_zeros(1)
    if timesteps is None:
        timesteps = model.timesteps if isinstance(model, SpikingNetwork) else 1
    window = Window(method.steps(timesteps), len(images), carried=method.state == "carry")
    present, earlier = ranks.presenter(model), None
    results: list[PeriodResult] = []
    cast = partial(torch.autocast, images.device.type, torch.bfloat16, enabled=precision is torch.bfloat16)
    try:
        with rounded(model, method.rounding), cast():
            method.noise.begin(model, images, labels)
        for period in range(method.periods):
            if period:
                window = window.following() if window.carried else Window(window.timesteps, window.batch)
            steps = window.timesteps * (period + 1 if window.carried else 1)
            shown = method.noise.apply(images)
            if method.noise.needs_gradient:
                shown = shown.detach().requires_grad_()
            with rounded(model, method.rounding):
                again = _further_pass(model, cast, steps, images.device)
                with cast():
                    logits = present(shown, window)
                logits = logits.float()
                loss = method.loss(Presentation(again, images, shown, labels, logits, steps, earlier))
                earlier = logits.detach() / steps
                optimizer.zero_grad(set_to_none=True)
                ranks.weighted(loss, rows, count).backward()  # type: ignore[no-untyped-call]
            result = _result(loss, logits, labels, rows, count, ranks)
            if not math.isfinite(result.loss):
                raise NotFiniteError(f"the loss is {result.loss}")
            optimizer.step()
            if isinstance(model, SpikingNetwork):
                model.clamp_neurons_()
            if method.after is not None:
                method.after(model)
            if shown.grad is not None:
                method.noise.update(shown.grad)
            results.append(result)
    finally:
        method.noise.end()
    return results


def _further_pass(
    model: nn.Module, cast: Callable[[], torch.autocast], steps: int, device: torch.device
) -> Callable[..., Tensor]:
    """Return a further pass of `model` for a loss: over `steps` timesteps from rest, in the training's precision."""
    devices = [device] if device.type == "cuda" else []
    cpu_state, cuda_states = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in devices]
    options = {"timesteps": steps} if isinstance(model, SpikingNetwork) else {}

    def further_pass(images: Tensor, same_draws: bool = False) -> Tensor:
        with torch.random.fork_rng(devices, enabled=same_draws), cast():
            if same_draws:
                torch.set_rng_state(cpu_state)
                for device, state in zip(devices, cuda_states, strict=True):
                    torch.cuda.set_rng_state(state, device)
            logits: Tensor = model(images, **options)
        return logits.float()

    return further_pass


def _result(loss: Tensor, logits: Tensor, labels: Tensor, rows: int, count: int, ranks: Ranks) -> PeriodResult:
    """Read loss and correct answers from the device, once, after the backward pass is queued there."""
    mean, right = torch.stack([loss.detach().double(), correct(logits, labels).sum().double()]).tolist()
    if ranks.size > 1:
        summed, right = ranks.summed(mean * rows if rows else 0.0, right if rows else 0.0)
        mean = summed / count
    return PeriodResult(mean, int(right), count)


@contextmanager
def rounded(model: nn.Module, rounding: Callable[[], None] | None) -> Iterator[None]:
    """Inside the block the parameters of `model` are what `rounding` makes of them in place, if it is not None.

    The gradient of the rounded network, applied to the network's own weights, is the straight-through gradient: the
    derivative of rounding counts as 1 (Bengio et al. 2013).
    """
    if rounding is None:
        yield
        return
    parameters = list(model.parameters())
    values = [parameter.detach().clone() for parameter in parameters]
    rounding()
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, values, strict=True):
                parameter.copy_(value)


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
