"""The ANN in the form of its spiking network, to compare the two layer by layer.

In the ANN, an activation that is a function or is called twice has no module of its own, and a max pool may stand
behind it. The network has a layer of neurons for each call, behind the pool, and so has this copy of the ANN.
"""

from __future__ import annotations

from torch import Tensor, nn

from hiresnn.network.convert import over_time
from hiresnn.network.encoding import Encoder
from hiresnn.network.max_pool import MaxPool
from hiresnn.network.spiking import SpikingNetwork
from hiresnn.neurons import LIF, Window


class _Analogue(LIF):
    """Stands where the network has neurons, and computes the ANN's activation instead."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activate = activation.forward  # no submodule, which fx would take for unused

    def forward(self, current: Tensor, window: Window, timed: bool = True) -> Tensor:
        """Return the activation of `current`; there is one timestep."""
        activation: Tensor = self.activate(current)
        return activation


def analogue(ann: nn.Module, network: SpikingNetwork) -> SpikingNetwork:
    """Return a copy of `ann` with the graph of `network`, which was made from it: `.neurons` are its activations."""
    max_pool: MaxPool = "currents" if network.pools_currents else "spikes"
    return over_time(ann, 1, _Analogue, Encoder("direct"), max_pool).fuse(False)
