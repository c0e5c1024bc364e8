"""Whether compiled scans pay for the work ahead."""

from __future__ import annotations

import torch

from hiresnn.network import SpikingNetwork, record

FUSING_PAYS_ABOVE = 4e9
"""Neuron updates in a training above which compiling the scans wins back its half minute (cold cache)."""
COMPILING = "Neurons are compiled at the first batch: half a minute the first time on this machine, seconds after that."


def should_fuse(wanted: str, network: SpikingNetwork, image: torch.Tensor, presentations: int) -> bool:
    """Whether compiled scans pay for `presentations` images shown and, in training, differentiated.

    Args:
        wanted: "auto", "always" or "never".
        image: [1, C, H, W], to count the neurons with.
    """
    if wanted != "auto":
        return wanted == "always"
    with torch.no_grad(), record(network.eval()) as spikes:
        network(image)
    return presentations * sum(layer.numel() for layer in spikes.values()) > FUSING_PAYS_ABOVE


def is_fused(network: SpikingNetwork) -> bool:
    """Whether its scans are compiled, which also needs a compiler."""
    return any(lif.fused for lif in network.neurons.values())
