"""The ANN in the form of its spiking network, to compare the two layer by layer.

In the ANN, an activation that is a function or is called twice has no module of its own, and a max pool may stand
behind it. The network has a layer of neurons for each call, behind the pool, and so has this copy of the ANN.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.network.encoding import Encoder
from hiresnn.network.evaluating import evaluating
from hiresnn.network.graph import over_time
from hiresnn.network.max_pool import MaxPool
from hiresnn.network.spiking import SpikingNetwork
from hiresnn.neurons import LIF, Window

_IMAGES, _TOLERANCE = 4, 0.02


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


@torch.no_grad()
def require_same_answers(ann: nn.Module, network: SpikingNetwork, images: Tensor) -> None:
    """Compare `ann` with the graph that `network` was made from, on the first of `images` [B, C, H, W] in [0, 1].

    Raises:
        UsageError: their answers differ, so the ANN does something that its graph does not show.
    """
    shown, graph = images[:_IMAGES], analogue(ann, network)
    devices = [images.device] if images.is_cuda else []
    with torch.random.fork_rng(devices), evaluating(ann), evaluating(graph):
        first, again = (ann(shown.clone()).double() for _ in range(2))
        found = graph(shown.clone()).double()
    scale = float(first.abs().max()) if first.numel() else 0.0
    if torch.equal(first, again) and not torch.allclose(first, found, rtol=0, atol=_TOLERANCE * scale):
        raise UsageError(
            f"{type(ann).__name__} cannot be converted: traced by torch.fx it gives other logits, which differ by "
            f"{float((first - found).abs().max()):.3g}. Look for layers that write into tensors used elsewhere, or a "
            "BatchNorm1d behind a linear layer with more than two dimensions."
        )
