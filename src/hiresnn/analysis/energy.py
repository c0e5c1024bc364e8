"""Inference energy, counted in two ways: as the paper prints it (Table 6, Eq. 7, 8), and by every operation.

    FL_ANN = k^2 H_o W_o C_o C_i,   FL_SNN = FL_ANN * zeta                                   (Table 6)
    E_rate = (sum_l FL_SNN) E_AC                                                             (Eq. 7)
    E_direct = FL_SNN[1] E_MAC + (sum_{l>1} FL_SNN[l]) E_AC                                  (Eq. 8)

zeta is the spiking activity of the layer's *input*; a direct-coded image is dense and computed once, so its zeta is 1.
Linear layers count as 1x1 convolutions of one pixel. All results are an estimated arithmetic energy, 45 nm.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, fx

from hiresnn.analysis.activity import SpikingActivity
from hiresnn.analysis.connectivity import synapses
from hiresnn.analysis.operations import STATE_BYTES, LayerOperations, SynapseCounter, neuron_operations
from hiresnn.analysis.prices import DRAM_WORD_PJ, SRAM_WORD_PJ, Prices, equivalent_bits
from hiresnn.attacks import frozen
from hiresnn.errors import UsageError
from hiresnn.network import SpikingNetwork, fused_block, record
from hiresnn.neurons import Window


class Traffic(NamedTuple):
    """32-bit words moved per image, estimated for SNN and ANN under the same assumptions.

    No weight is reused: every MAC and AC reads its weight from a small SRAM. An activation that is not zero is written
    to the same SRAM once and read once; those of an ANN are dense. Every membrane is read and written at every step.
    """

    weight_reads: float
    activations: float
    membranes: float
    weights: int

    @property
    def on_chip_pj(self) -> float:
        """Picojoules if all weights are in the SRAM next to the arithmetic."""
        return SRAM_WORD_PJ * (self.weight_reads + self.activations + self.membranes)

    @property
    def off_chip_pj(self) -> float:
        """Picojoules if each weight is also read from DRAM once per image, so a layer runs all its steps at once."""
        return self.on_chip_pj + DRAM_WORD_PJ * self.weights


@dataclass(frozen=True)
class EnergyReport:
    """Operations per image, layer by layer, and what they cost. Energies are picojoules per image."""

    layers: tuple[LayerOperations, ...]
    timesteps: int

    @property
    def parameters(self) -> int:
        """Number of trained parameters: weights, biases, thresholds and leaks."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def state_bytes(self) -> int:
        """Bytes stored from step to step."""
        return sum(layer.state_bytes for layer in self.layers)

    @property
    def bits(self) -> int:
        """Bits of an activation in the quantised ANN of the comparison."""
        return equivalent_bits(self.timesteps)

    def layer_energy(self, layer: LayerOperations, prices: Prices) -> float:
        """Return the energy of one layer's effective operations."""
        return layer.macs * prices.mac + layer.acs * prices.ac + layer.multiplications * prices.multiplication

    def snn(self, prices: Prices) -> float:
        """Return the energy of every effective operation, including those of neurons, leak and readout."""
        return sum(self.layer_energy(layer, prices) for layer in self.layers)

    def snn_printed(self, prices: Prices) -> float:
        """Return Eq. 8: MACs in layers that see the image, ACs in the others. If none sees an image, it is Eq. 7."""
        return sum(layer.flops_snn * (prices.mac if layer.inputs == "image" else prices.ac) for layer in self.layers)

    def ann(self, prices: Prices) -> float:
        """Return the energy of the ANN of the same structure: one MAC per connection, zeros included, no biases."""
        return sum(layer.connections for layer in self.layers) * prices.mac

    def ann_printed(self, prices: Prices) -> float:
        """Return the energy of FL_ANN of every layer, all of them MACs."""
        return sum(layer.dense for layer in self.layers) * prices.mac

    def quantised_ann(self, prices: Prices) -> float:
        """Return the energy of the ANN with activations of `bits` bits; MACs on the image cost the full price."""
        return sum(
            layer.connections * (prices.mac if layer.inputs == "image" else prices.quantised_mac(self.bits))
            for layer in self.layers
        )

    def snn_traffic(self) -> Traffic:
        """Return the words that the spiking network moves over all T steps."""
        weighted = [layer for layer in self.layers if layer.dense]
        return Traffic(
            weight_reads=sum(layer.macs + layer.acs for layer in weighted),
            activations=2 * sum(layer.events for layer in weighted),
            membranes=2 * self.timesteps * (self.state_bytes // STATE_BYTES),
            weights=sum(layer.parameters for layer in weighted),
        )

    def ann_traffic(self) -> Traffic:
        """Return the words that the ANN of the same structure moves; every activation counts as not zero."""
        return Traffic(
            weight_reads=float(sum(layer.connections for layer in self.layers)),
            activations=2.0 * sum(layer.sources for layer in self.layers if layer.dense),
            membranes=0.0,
            weights=sum(layer.parameters for layer in self.layers if layer.dense),
        )


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
        """Run a batch in [0, 1] and count. Parameters, mode and gradients of the network stay as they are."""
        self._window = Window(self.timesteps, len(images))
        with frozen(self.network), record(self.network) as spikes:
            self._classes = self.run(images, self._window).shape[1]
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
            name = str(node.args[0].target if node.target is fused_block else node.target)
            if node in self._counters:
                layers.append(self._counters[node].compute(self._images))
            elif node.op.startswith("call") and name in activity:
                layers.append(neuron_operations(name, self._neurons[name], activity[name]))
        # The logits are summed over time: an addition per class and step, into an accumulator that is stored.
        classes, acs = self._classes, float(self._classes * self.timesteps)
        state = STATE_BYTES * classes
        readout = LayerOperations("readout", "readout", "current", classes, classes, acs=acs, state_bytes=state)
        return EnergyReport((*layers, readout), self.timesteps)


def count_operations(
    network: SpikingNetwork, images: Float[Tensor, "image channel height width"], *, batch_size: int = 200
) -> EnergyReport:
    """Return the operations per image, the mean over `images` in [0, 1]; the report prices them.

    Raises:
        UsageError: a layer whose operations cannot be counted.
    """
    energy = Energy(network)
    for batch in torch.split(images, batch_size):
        energy.update(batch)
    return energy.compute()
