"""Decide whether compiled neurons pay for the work ahead."""

from __future__ import annotations

import torch
from torch import Tensor

from hiresnn.network import SpikingNetwork, record
from hiresnn.progress import Progress

COMPILING_PAYS_ABOVE = 4e9
"""Neuron updates above which compiling saves more than the half minute that it takes with an empty cache."""
COMPILING = "Neurons are compiled at the first batch: half a minute the first time on this machine, seconds after that."


def should_fuse(wanted: str, network: SpikingNetwork, image: Tensor, presentations: int) -> bool:
    """Return whether to compile the neurons. The network keeps its mode.

    Args:
        wanted: the recipe's `compile`: "auto", "always" or "never".
        network: its neurons are counted.
        image: [1, C, H, W], any image of the data set.
        presentations: forward passes of one image, each with its backward pass if there is one.
    """
    if wanted != "auto":
        return wanted == "always"
    training = network.training
    with torch.no_grad(), record(network.eval()) as spikes:
        network(image)
    network.train(training)
    return presentations * sum(layer.numel() for layer in spikes.values()) > COMPILING_PAYS_ABOVE


def is_fused(network: SpikingNetwork) -> bool:
    """Return whether the neurons are compiled, which also needs a compiler on this machine."""
    return network.fused


def compile_neurons(
    wanted: str, network: SpikingNetwork, image: Tensor, presentations: int, progress: Progress | None = None
) -> None:
    """Compile the neurons if that pays, and say so in `progress`. Arguments as for `should_fuse`."""
    network.fuse(should_fuse(wanted, network, image, presentations))
    if progress is not None and is_fused(network):
        progress.line(COMPILING)
