"""Decide whether to compile the neurons of a network, by the work that is ahead."""

from __future__ import annotations

import torch
from torch import Tensor

from hiresnn.network.evaluating import evaluating
from hiresnn.network.spiking import COMPILING_PAYS_ABOVE, SpikingNetwork
from hiresnn.neurons import Window


def compiling_pays(network: SpikingNetwork, image: Tensor, presentations: int) -> bool:
    """Return whether compiled neurons win back the time that compiling takes. The network keeps its mode.

    Args:
        network: its neurons, not compiled yet, are counted.
        image: [1, C, H, W], any image of the data set.
        presentations: forward passes of one image, each with its backward pass if there is one.
    """
    window = Window(network.timesteps, len(image))
    with torch.no_grad(), evaluating(network):
        network.present(image, window)
    return presentations * window.updates > COMPILING_PAYS_ABOVE
