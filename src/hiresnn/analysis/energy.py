"""What an operation costs in picojoules: Table 7, a multiplication by few bits, and a memory access.

Everything priced with these is an *estimated arithmetic energy, 45 nm*, without wiring, control, clock and idle power.

Energy of counted operations, in two ways: as the paper prints it (Table 6, Eq. 7, 8), and by every operation.

    FL_ANN = k^2 H_o W_o C_o C_i,   FL_SNN = FL_ANN * zeta                                   (Table 6)
    E_rate = (sum_l FL_SNN) E_AC                                                             (Eq. 7)
    E_direct = FL_SNN[1] E_MAC + (sum_{l>1} FL_SNN[l]) E_AC                                  (Eq. 8)

zeta is the spiking activity of the layer's *input*; a direct-coded image is dense and computed once, so its zeta is 1.
Linear layers count as 1x1 convolutions of one pixel. All results are an estimated arithmetic energy, 45 nm.

Operations of a spiking network, counted on the spikes of real images.

Energy of a network of another library, counted while it runs, by the same rules as that of our own networks.

A layer whose input is the image, the same at every step, counts once, also if the library computes it at every step. A
batch norm right behind a weighted layer counts as folded into it, and any other one as a depthwise 1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from hiresnn.analysis.activity import SpikingActivity
from hiresnn.analysis.operations import (
    COUNTED,
    STATE_BYTES,
    Inputs,
    LayerOperations,
    SynapseCounter,
    Synapses,
    fan_out,
    lif_operations,
    neuron_operations,
    readout_operations,
    synapse_operations,
    synapses,
)
from hiresnn.attacks import frozen
from hiresnn.errors import UsageError
from hiresnn.foreign import Unrolled
from hiresnn.foreign import record as foreign_record
from hiresnn.foreign.record import Flow, Signal, in_steps, neuron_cost, require_steps
from hiresnn.foreign.unrolled import picked
from hiresnn.network import ChannelAffine, SpikingNetwork, record
from hiresnn.network.report import BATCH_NORMS
from hiresnn.neurons import Window

WORD_BITS = 32


class Prices(NamedTuple):
    """Picojoules of a 32-bit operation in 45 nm CMOS at 0.9 V (Table 7)."""

    multiplication: float
    addition: float

    @property
    def mac(self) -> float:
        """A multiplication and an addition."""
        return self.multiplication + self.addition

    @property
    def ac(self) -> float:
        """An accumulation, which is an addition."""
        return self.addition

    def quantised_mac(self, bits: int) -> float:
        """Return the price of a MAC whose activation has `bits` bits (1 to 32); weight and sum have 32.

        Assumption, not from the paper: an array multiplier adds one partial product per bit of the activation, so the
        price of the multiplication shrinks by bits / 32 and that of the addition stays.
        """
        return self.multiplication * bits / WORD_BITS + self.addition


PRICES = {"fp32": Prices(multiplication=3.7, addition=0.9), "int32": Prices(multiplication=3.1, addition=0.1)}
"""Table 7, after Horowitz (ISSCC 2014)."""

SRAM_WORD_PJ = 5.0
"""A 32-bit word from or to an 8 KiB SRAM: half of the 10 pJ of 64 bits (Horowitz 2014, 45 nm)."""

DRAM_WORD_PJ = 650.0
"""A 32-bit word from DRAM: half of the lower end of 1.3 to 2.6 nJ for 64 bits (Horowitz 2014)."""


def equivalent_bits(timesteps: int) -> int:
    """Return ceil(log2(T + 1)): bits of an activation with as many levels as a neuron has spike counts, 0 to T.

    >>> [equivalent_bits(timesteps) for timesteps in (1, 3, 4, 6, 7, 8)]
    [1, 2, 3, 3, 3, 4]
    """
    if timesteps < 1:
        raise UsageError(f"timesteps is {timesteps}; a spiking network needs at least 1.")
    return timesteps.bit_length()


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


@dataclass
class _Weighted:
    """One weighted layer, and what entered it.

    Attributes:
        first, later: what entered at the first step, and at all others.
        timed: something of its input changes over time.
        weighted: see `Signal`.
        normed: a batch norm follows directly.
        steps: timesteps seen in the present forward pass.
    """

    name: str
    layer: nn.Module
    first: Inputs = field(default_factory=Inputs)
    later: Inputs = field(default_factory=Inputs)
    timed: bool = False
    weighted: bool = False
    normed: bool = False
    units: int = 0
    steps: int = 0
    example: Tensor | None = None
    shown: Tensor | None = None

    def add(self, x: Tensor, steps: Tensor, signal: Signal, units: int) -> None:
        """Add the input x of one call, which is also [steps, B, ...]."""
        if self.example is None:
            leading = x.dim() - steps.dim() + 2
            self.example = steps[0, 0].reshape((1,) * leading + steps.shape[2:]).clone()
        for step in steps:
            if self.shown is None:
                self.shown = step
                self.first.add(step)
            else:
                self.later.add(step)
                self.timed |= not torch.equal(step, self.shown)
        self.timed |= signal.timed
        self.weighted |= signal.weighted
        self.steps, self.units = self.steps + len(steps), units

    def compute(self, images: int, timesteps: int) -> LayerOperations:
        """Return the layer's operations, a mean over `images`."""
        assert self.example is not None
        inputs = self.first + self.later if self.timed else self.first
        connections = fan_out(self.layer, self.example).reshape(torch.as_tensor(inputs.events).shape)
        use = Synapses(self.name, self.layer, self.timed, not self.timed or self.weighted, True)
        has_bias = getattr(self.layer, "bias", None) is not None
        added = self.layer.get_parameter("weight").shape[0] if self.normed and not has_bias else 0
        return synapse_operations(
            use, inputs, connections, images, units=self.units, timesteps=timesteps, bias=has_bias or self.normed,
            parameters=sum(p.numel() for p in self.layer.parameters()) + added,
        )  # fmt: skip


class ForeignEnergy:
    """Accumulates the operations of a network of another library on images; used like `Energy`.

    Args:
        network: of an adapter in `hiresnn.foreign`.

    Raises:
        UsageError: a layer whose operations cannot be counted; the message names it.
    """

    def __init__(self, network: Unrolled) -> None:
        self.network, self.timesteps = network, network.timesteps
        self._costs = {name: neuron_cost(name, neuron) for name, neuron in network.spiking.items()}
        self._modules = _counted(network)
        self._weighted: dict[str, _Weighted] = {}
        self._order: dict[str, None] = {}  # names in the order of their first call
        self._activity, self._images, self._classes = SpikingActivity(), 0, 0

    @torch.no_grad()
    def update(self, images: Float[Tensor, "batch channel height width"]) -> None:
        """Run a batch in [0, 1] and count. Parameters, mode and gradients of the network stay as they are."""
        flow = Flow()
        for each in self._weighted.values():
            each.steps = 0
        with frozen(self.network), foreign_record(self.network) as spikes, self._watched(flow, len(images)), flow:
            self._classes = self.network(images.clone()).shape[1]
        for each in self._weighted.values():
            if each.steps != 1 or each.timed:  # a network with a loop of its own may compute the image's side once
                require_steps(each.name, each.steps, self.timesteps)
            each.shown = None
        self._activity.update(spikes)
        self._images += len(images)

    def compute(self) -> EnergyReport:
        """Return the means over all images so far. Raises UsageError before the first update."""
        if not self._images:
            raise UsageError("energy: no images were added; call update with a batch first.")
        activity, layers = self._activity.compute(), []
        for name in self._order:
            if name in self._weighted:
                layers.append(self._weighted[name].compute(self._images, self.timesteps))
            else:
                states, decays = self._costs[name]
                trained = sum(p.numel() for p in self.network.spiking[name].parameters())
                layers.append(neuron_operations(name, activity[name], decays=decays, states=states, parameters=trained))
        return EnergyReport((*layers, readout_operations(self._classes, self.timesteps)), self.timesteps)

    @contextmanager
    def _watched(self, flow: Flow, batch: int) -> Iterator[None]:
        """Mark the image on its way in and what leaves each layer, and count what enters the weighted ones."""
        inner, neurons = self.network.network, self.network.spiking

        def enter(_: nn.Module, args: tuple[Any, ...]) -> None:
            flow.mark(args[:1], Signal(timed=self.network.encodes))

        def spike(name: str, _: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self._order.setdefault(name)
            flow.mark(output, Signal(timed=True, weighted=True))  # a membrane, beside the spikes
            flow.mark(picked(output, 0), Signal(timed=True))

        def weigh(name: str, layer: nn.Module, args: tuple[Any, ...], options: dict[str, Any], output: Tensor) -> None:
            x = args[0] if args else next(iter(options.values()))
            signal = flow.signal(x)
            if signal is None:
                raise UsageError(
                    f"hiresnn cannot tell where the input of layer {name!r} comes from, so its energy cannot be "
                    "counted; use functions of torch between the layers."
                )
            if isinstance(layer, BATCH_NORMS) and signal.source is not None:
                next(each for each in self._weighted.values() if each.layer is signal.source).normed = True
                flow.mark(output, Signal(signal.timed, True))
                return
            if isinstance(layer, BATCH_NORMS):
                layer = self._weighted[name].layer if name in self._weighted else ChannelAffine(layer)
            self._order.setdefault(name)
            entry = self._weighted.setdefault(name, _Weighted(name, layer))
            rows = in_steps(name, x, self.timesteps, batch, self.network.layout)
            entry.add(x, rows, signal, output.numel() // (rows.shape[0] * batch))
            flow.mark(output, Signal(signal.timed, True, layer))

        with ExitStack() as stack:
            stack.enter_context(flow.layers([*self._modules.values(), *neurons.values()]))
            stack.enter_context(inner.register_forward_pre_hook(enter))
            for name, neuron in neurons.items():
                stack.enter_context(neuron.register_forward_hook(partial(spike, name)))
            for name, layer in self._modules.items():
                stack.enter_context(layer.register_forward_hook(partial(weigh, name), with_kwargs=True))
            yield


def _counted(network: Unrolled) -> dict[str, nn.Module]:
    """Return name -> weighted layer or batch norm; refuse any other layer with weights, and weights in neurons."""
    found: dict[str, nn.Module] = {}
    inside = {id(part): name for name, neuron in network.spiking.items() for part in neuron.modules()}
    for name, module in network.network.named_modules():
        counted = isinstance(module, (*COUNTED, *BATCH_NORMS))
        if id(module) in inside:
            if counted:
                raise UsageError(f"layer {name!r} is part of the neurons {inside[id(module)]!r}, so it is not counted.")
        elif counted:
            found[name] = module
        elif any(True for _ in module.parameters(recurse=False)):
            kind = type(module).__name__
            raise UsageError(f"layer {name!r} is a {kind}; energy counts only convolutions and linear layers.")
    return found
