"""Exponential moving average of the weights of a network."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer


class Average:
    """Averages the weights and batch norm statistics of a network after each step of its optimiser.

        average = d * average + (1 - d) * weights,   d = min(decay, (1 + n) / (10 + n)) at update n

    The statistics of batch norm are averaged like the weights that they belong to; counters are copied.

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
        values = model.state_dict()
        for name, average in self.model.state_dict().items():
            if average.is_floating_point():
                average.lerp_(values[name], 1 - decay)
            else:
                average.copy_(values[name])

    def state_dict(self) -> dict[str, Any]:
        """Return the average and the number of updates."""
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]
