"""Which layers have weights, what kind of input they get, and how many connections leave each value of it.

Operations that one image causes in a spiking network, layer by layer, counted on its real spikes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor, fx, nn
from torch.func import functional_call

from hiresnn.analysis.activity import LayerActivity
from hiresnn.errors import UsageError
from hiresnn.foreign.record import PRODUCTS
from hiresnn.network import ChannelAffine, Encoder, SpikingNetwork
from hiresnn.network.report import WEIGHTED
from hiresnn.neurons import LIF, Window

COUNTED = (*WEIGHTED, ChannelAffine)


class Synapses(NamedTuple):
    """One use of a convolution or linear layer in a spiking network.

    Attributes:
        name: of the module; a later use of the same module has its number appended.
        layer: the module.
        timed: its input changes from step to step. False: the image's side of the network, computed once.
        analog: its input comes from no neuron, but from the image or directly from another weighted layer.
        first_use: False if an earlier use of the same module already counted its parameters.
    """

    name: str
    layer: nn.Module
    timed: bool
    analog: bool
    first_use: bool


def synapses(network: SpikingNetwork) -> dict[fx.Node, Synapses]:
    """Return node of `network.layers` -> the weighted layer called there, first layer first.

    Raises:
        UsageError: a weighted operation whose connections cannot be counted.
    """
    modules = dict(network.layers.named_modules())
    signals: dict[fx.Node, tuple[bool, bool]] = {}  # the output of a node: (timed, analog)
    uses: Counter[str] = Counter()
    found: dict[fx.Node, Synapses] = {}
    for node in network.layers.graph.nodes:
        layer = modules[str(node.target)] if node.op == "call_module" else None
        _refuse_uncounted(node, layer)
        inputs = [signals[source] for source in node.all_input_nodes if source in signals]
        timed, analog = any(each[0] for each in inputs), any(each[1] for each in inputs)
        poisson = isinstance(layer, Encoder) and layer.encoding == "poisson"
        if isinstance(layer, LIF) or poisson:
            signals[node] = True, False
        elif isinstance(layer, COUNTED):
            name = str(node.target)
            uses[name] += 1
            numbered = name if uses[name] == 1 else f"{name}_{uses[name]}"
            found[node] = Synapses(numbered, layer, timed, analog, uses[name] == 1)
            signals[node] = timed, True
        elif node.op == "placeholder" and not signals:
            signals[node] = False, True
        elif inputs:
            signals[node] = timed, analog
    return found


def _refuse_uncounted(node: fx.Node, layer: nn.Module | None) -> None:
    called = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if node.op in ("call_function", "call_method") and called in PRODUCTS:
        raise UsageError(f"{node.name} is called as a function and cannot be counted; use an nn.Linear or nn.Conv.")
    if layer is not None and not isinstance(layer, (LIF, *COUNTED)) and any(True for _ in layer.parameters()):
        kind = type(layer).__name__
        raise UsageError(f"layer {node.target!r} is a {kind}; energy counts only convolutions and linear layers.")


def fan_out(layer: nn.Module, inputs: Tensor) -> Float64[Tensor, " ..."]:
    """Return the connections that leave each value of one input row, [...] as the row; fewer at the borders.

    This is the gradient of the layer's summed output with respect to its input, with all weights 1. It covers every
    stride, dilation, group and padding mode, because the layer itself computes it.
    """
    ones = {name: torch.ones_like(value, dtype=torch.float64) for name, value in layer.named_parameters()}
    if "bias" in ones:
        ones["bias"].zero_()
    probe = torch.zeros_like(inputs[:1], dtype=torch.float64).requires_grad_()
    with torch.enable_grad():
        (connections,) = torch.autograd.grad(functional_call(layer, ones, (probe,)).sum(), probe)
    return connections[0].round()


STATE_BYTES = 4
"""Size of a membrane or an accumulated logit, 32 bits."""


@dataclass(frozen=True)
class LayerOperations:
    """One layer and one image; counts are over all T steps, and means over the images.

    Attributes:
        name, kind: a weighted layer ("conv", "linear", or "affine", a batch norm that counts as a depthwise 1x1
            convolution), a layer of "neurons", or the "readout".
        inputs: the kind of its input. "image": without time, computed once. "spikes": whole numbers, so an AC each.
            "fractional": spikes that an average pool turned into fractions, a MAC each. "current": not spikes.
        sources: input values per step.
        units: output values per step; the neurons of a layer of neurons.
        dense: Table 6, k^2 H_o W_o C_o C_i per step, padding counted as input; 0 without weights.
        connections: the same without those that only see padding.
        activity: zeta, spikes per input over all steps; 0 without weights. An input that is no spikes counts once for
            each time that the layer computes: once for an image that does not change, T times for a current.
        events: input values over all steps that are not zero.
        macs, acs, multiplications: effective operations; an AC is any addition.
        parameters: trained parameters of the layer.
        state_bytes: size of what it stores from step to step.
    """

    name: str
    kind: Literal["conv", "linear", "affine", "neurons", "readout"]
    inputs: Literal["image", "spikes", "fractional", "current"]
    sources: int
    units: int
    dense: int = 0
    connections: int = 0
    activity: float = 0.0
    events: float = 0.0
    macs: float = 0.0
    acs: float = 0.0
    multiplications: float = 0.0
    parameters: int = 0
    state_bytes: int = 0

    @property
    def flops_snn(self) -> float:
        """FL_SNN of Table 6: dense FLOPs times the spiking activity of the input."""
        return self.dense * self.activity


@dataclass
class Inputs:
    """What entered a weighted layer so far, over images and steps.

    Attributes:
        events: how often each input value was not zero.
        magnitude: the sum of each input value's magnitudes.
        fractional: whether any was no whole number.
    """

    events: Tensor | float = 0.0
    magnitude: Tensor | float = 0.0
    fractional: bool = False

    def add(self, rows: Tensor) -> None:
        """Add rows [n, ...]."""
        self.events = self.events + (rows != 0).sum(0).double()
        self.magnitude = self.magnitude + rows.abs().sum(0, dtype=torch.float64)
        self.fractional |= not bool((rows == rows.round()).all())

    def __add__(self, other: Inputs) -> Inputs:
        return Inputs(self.events + other.events, self.magnitude + other.magnitude, self.fractional or other.fractional)


class SynapseCounter:
    """Accumulates the inputs of one weighted layer."""

    def __init__(self, use: Synapses, variants: int) -> None:
        self.use, self.variants = use, variants
        self.inputs, self.fan_out = Inputs(), torch.empty(0)
        self.units, self.timesteps, self.rows_per_image = 0, 0, 1

    def update(self, rows: Tensor, outputs: Tensor, window: Window) -> None:
        """Add a batch: the input rows [T*B, ...] or [B, ...] of the layer, and its output rows."""
        if not self.fan_out.numel():
            self.fan_out = fan_out(self.use.layer, rows)
        self.rows_per_image = window.rows_per_step(rows, self.use.timed) // window.batch
        self.units, self.timesteps = self.rows_per_image * outputs[0].numel(), window.timesteps
        self.inputs.add(rows)

    def compute(self, images: int) -> LayerOperations:
        """Return the layer's operations, a mean over `images`."""
        layer = self.use.layer
        return synapse_operations(
            self.use, self.inputs, self.fan_out, images, units=self.units, timesteps=self.timesteps,
            rows_per_image=self.rows_per_image, variants=self.variants,
            bias=getattr(layer, "bias", None) is not None, parameters=sum(p.numel() for p in layer.parameters()),
        )  # fmt: skip


def synapse_operations(
    use: Synapses, inputs: Inputs, connections: Tensor, images: int, *, units: int, timesteps: int, bias: bool,
    parameters: int, rows_per_image: int = 1, variants: int = 1,
) -> LayerOperations:  # fmt: skip
    """Return the operations of a weighted layer, a mean over `images`.

    Args:
        inputs: what entered, over all images and, if it is timed, all steps.
        connections: how many leave each value of one input row.
        bias, parameters: of the layer, if a batch norm behind it were folded into it.
    """
    layer, sources = use.layer, rows_per_image * connections.numel()
    weight = layer.get_parameter("weight")
    # An image is the same at all steps, so it is multiplied once per variant.
    repeats, times = (1, timesteps) if use.timed else (variants, variants)
    spikes = use.timed and not use.analog and not inputs.fractional
    magnitude = float(torch.as_tensor(inputs.magnitude).sum())
    through = float((inputs.events * connections).sum())
    accumulated = float((inputs.magnitude * connections).sum())
    return LayerOperations(
        name=use.name,
        kind="linear" if isinstance(layer, nn.Linear) else "affine" if isinstance(layer, ChannelAffine) else "conv",
        inputs="image" if not use.timed else "current" if use.analog else "spikes" if spikes else "fractional",
        sources=sources,
        units=units,
        dense=weight.numel() * (units // weight.shape[0]),
        connections=rows_per_image * int(connections.sum()),
        activity=magnitude / (sources * images) if use.timed and not use.analog else float(times),
        events=repeats * float(torch.as_tensor(inputs.events).sum()) / images,
        macs=0.0 if spikes else repeats * through / images,
        acs=(accumulated / images if spikes else 0.0) + bias * units * times,
        parameters=parameters if use.first_use else 0,
    )


def neuron_operations(
    name: str, activity: LayerActivity, *, decays: int, states: int = 1, parameters: int = 0
) -> LayerOperations:
    """Return the operations of a layer of neurons.

    At each step a neuron needs an addition for each of its `states`, and a multiplication for those that decay by a
    factor that is not 1. A spike subtracts the threshold, which is another addition.
    """
    updates = activity.neurons * activity.timesteps
    return LayerOperations(
        name=name,
        kind="neurons",
        inputs="current",
        sources=activity.neurons,
        units=activity.neurons,
        events=activity.spikes,
        acs=states * updates + activity.spikes,
        multiplications=float(decays * updates),
        parameters=parameters,
        state_bytes=STATE_BYTES * states * activity.neurons,
    )


def lif_operations(name: str, lif: LIF, activity: LayerActivity) -> LayerOperations:
    """Return the operations of a layer of LIF neurons, whose membrane decays unless the leak is 1."""
    decays, parameters = int(lif.leak.item() != 1), sum(p.numel() for p in lif.parameters())
    return neuron_operations(name, activity, decays=decays, parameters=parameters)


def readout_operations(classes: int, timesteps: int) -> LayerOperations:
    """Return the sum of the logits over time: an addition per class and step, into an accumulator that is stored."""
    acs, state = float(classes * timesteps), STATE_BYTES * classes
    return LayerOperations("readout", "readout", "current", classes, classes, acs=acs, state_bytes=state)
