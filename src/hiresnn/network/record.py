"""Record the spikes of every layer during a forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from hiresnn.network.spiking import SpikingNetwork


@contextmanager
def record(network: SpikingNetwork) -> Iterator[dict[str, Tensor]]:
    """Collect the spikes of every LIF layer: name -> [T, B, ...], 0 or 1, of the latest forward pass.

    Where a network folds P patches per image into the batch, a layer's spikes are [T, B, P, ...]. Spikes are detached.
    Each forward pass inside the context fills the dictionary, which stays valid afterwards.
    """
    spikes: dict[str, Tensor] = {}

    def save(name: str, _: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        window = inputs[1]
        rows = window.by_step(output.detach().clone())  # the next layer may write into its input
        patches = rows.shape[1] // max(1, window.batch)
        spikes[name] = rows.unflatten(1, (window.batch, patches)) if patches > 1 else rows

    with ExitStack() as stack:
        for name, lif in network.neurons.items():
            stack.enter_context(lif.register_forward_hook(partial(save, name)))
        yield spikes
