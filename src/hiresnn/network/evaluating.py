"""Eval mode for a block of code; afterwards every layer has its own mode again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode; afterwards every module has the mode that it had."""
    before, training = network.training, [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        yield
    finally:
        network.train(before)  # for a module that does more than to note the mode
        for module, was in training:
            module.training = was
