"""Training with rounded weights: a forward and backward pass of the rounded network, and a step of its own weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn


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
    own = [parameter.detach().clone() for parameter in parameters]
    rounding()
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, own, strict=True):
                parameter.copy_(value)
