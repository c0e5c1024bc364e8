"""Operations of a spiking network, counted on the spikes of real images."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, fx

from hiresnn.analysis.activity import SpikingActivity
from hiresnn.analysis.connectivity import synapses
from hiresnn.analysis.energy_report import EnergyReport
from hiresnn.analysis.foreign_energy import ForeignEnergy
from hiresnn.analysis.operations import SynapseCounter, lif_operations, readout_operations
from hiresnn.attacks import frozen
from hiresnn.errors import UsageError
from hiresnn.foreign import Unrolled
from hiresnn.network import SpikingNetwork, record
from hiresnn.neurons import Window


class Energy(fx.Interpreter):
    """Accumulates the operations of a network on images.

    Args:
        network: any converted network.
        timesteps: T; None takes the network's own.
        variants: how often the image changes within T. 1 at inference; N in a forward pass of HIRE-SNN training, in
            which the layers that see the image work N times.

    Raises:
        UsageError: a layer whose operations cannot be counted; variants outside 1 to T.

    Example:
        >>> from torch import nn
        >>> from hiresnn.network import spiking_graph
        >>> ann = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> energy = Energy(spiking_graph(ann, timesteps=2))
        >>> energy.update(torch.ones(1, 1, 2, 2))
        >>> first = energy.compute().layers[0]
        >>> first.inputs, first.macs, first.acs
        ('image', 12.0, 3.0)
    """

    def __init__(self, network: SpikingNetwork, *, timesteps: int | None = None, variants: int = 1) -> None:
        super().__init__(network.layers)
        self.network, self.timesteps = network, network.timesteps if timesteps is None else timesteps
        self._window, self._classes = Window(self.timesteps, 0), 0
        if not 1 <= variants <= self.timesteps:
            raise UsageError(f"variants is {variants}; an image can change 1 to {self.timesteps} times in T steps.")
        self._neurons, self._activity, self._images = network.neurons, SpikingActivity(), 0
        self._counters = {node: SynapseCounter(use, variants) for node, use in synapses(network).items()}

    @torch.no_grad()
    def update(self, images: Float[Tensor, "batch channel height width"]) -> None:
        """Run a batch in [0, 1] and count. The network stays as it is. Raises UsageError for an empty batch."""
        if not len(images):
            raise UsageError("energy: the batch has no images.")
        self._window = Window(self.timesteps, len(images))
        with frozen(self.network), record(self.network) as spikes:
            self._classes = self.run(images.clone(), self._window).shape[1]  # a layer may write into its input
        self._activity.update(spikes)
        self._images += len(images)

    def run_node(self, n: fx.Node) -> Any:
        """Evaluate one node of the network's graph and count the operations of a weighted layer."""
        result = super().run_node(n)
        if n in self._counters:
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            self._counters[n].update(args[0] if args else kwargs["input"], result, self._window)
        return result

    def compute(self) -> EnergyReport:
        """Return the means over all images so far. Raises UsageError before the first update."""
        if not self._images:
            raise UsageError("energy: no images were added; call update with a batch first.")
        activity, layers = self._activity.compute(), []
        for node in self.network.layers.graph.nodes:
            if node in self._counters:
                layers.append(self._counters[node].compute(self._images))
            elif node.op == "call_module" and (name := str(node.target)) in activity:
                layers.append(lif_operations(name, self._neurons[name], activity[name]))
        return EnergyReport((*layers, readout_operations(self._classes, self.timesteps)), self.timesteps)


def energy_counter(network: SpikingNetwork | Unrolled) -> Energy | ForeignEnergy:
    """Return what counts the operations of a network of this package, or of another library in its adapter."""
    return ForeignEnergy(network) if isinstance(network, Unrolled) else Energy(network)


def count_operations(
    network: SpikingNetwork | Unrolled, images: Float[Tensor, "image channel height width"], *, batch_size: int = 200
) -> EnergyReport:
    """Return the operations per image, the mean over `images` in [0, 1]; the report prices them.

    Args:
        network: of this package, or of another library in its adapter (`hiresnn.foreign`).
        images: [N, C, H, W], at least one, on the device of the network.

    Raises:
        UsageError: no images, or a layer whose operations cannot be counted.
    """
    energy = energy_counter(network)
    for batch in torch.split(images, batch_size):
        energy.update(batch)
    return energy.compute()
