"""What training does to weights besides the steps of the optimiser: it rounds, averages and orthogonalises them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

BETA = 1e-3
"""Strength of `orthogonalise`, as published."""


@contextmanager
def rounded(model: nn.Module, rounding: Callable[[], None] | None) -> Iterator[None]:
    """Round a network inside the block; afterwards it has its own weights again.

    The gradient of the rounded network, applied to the network's own weights, is the straight-through gradient: the
    derivative of rounding counts as 1 (Bengio et al. 2013).

    Args:
        rounding: rounds the parameters of `model` in place; None leaves them as they are.
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


class Average:
    """Averages the weights and batch norm statistics of a network after each step of its optimiser.

        average = d * average + (1 - d) * weights,   d = min(decay, (1 + n) / (10 + n)) at update n

    The statistics of batch norm are averaged like the weights that they belong to; counters are copied. (torch's
    AveragedModel takes over the first weights as they are, so it would give other numbers.)

    Args:
        model: trained by `optimizer`; a copy of it holds the average.
        decay: d of a long training, in [0, 1).

    Attributes:
        model: the copy, in eval mode.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0
        optimizer.register_step_post_hook(lambda *_: self.update(model))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights of `model`."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        values, averages = model.state_dict(), self.model.state_dict()
        names = {(average.data_ptr(), average.shape): name for name, average in averages.items()}  # tied weights once
        for name in names.values():
            average = averages[name]
            if average.is_floating_point():
                average.lerp_(values[name], 1 - decay)
            else:
                average.copy_(values[name])

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]
