"""Operations that one image causes in a spiking network, layer by layer, counted on its real spikes."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn

from hiresnn.analysis.connectivity import Synapses, fan_out, synapses
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import LIF, Window

Kind = Literal["conv", "linear", "neurons", "readout"]
Inputs = Literal["image", "spikes", "fractional", "current"]

STATE_BYTES = 4
"""Size of a membrane or an accumulated logit, 32 bits."""


@dataclass(frozen=True)
class LayerOperations:
    """One layer and one image; counts are over all T steps, and means over the images.

    Attributes:
        name, kind: a weighted layer ("conv", "linear"), a layer of "neurons", or the "readout".
        inputs: the kind of its input. "image": without time, computed once. "spikes": whole numbers, so an AC each.
            "fractional": spikes that an average pool turned into fractions, a MAC each. "current": not spikes.
        sources: input values per step.
        units: output values per step; the neurons of a layer of neurons.
        dense: Table 6, k^2 H_o W_o C_o C_i per step, padding counted as input; 0 without weights.
        connections: the same without those that only see padding.
        activity: zeta, spikes per input over all steps (1 for an image); 0 without weights.
        events: input values over all steps that are not zero.
        macs, acs, multiplications: effective operations; an AC is any addition.
        parameters: trained parameters of the layer.
        state_bytes: size of what it stores from step to step.
    """

    name: str
    kind: Kind
    inputs: Inputs
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


class SynapseCounter:
    """Accumulates the inputs of one weighted layer."""

    def __init__(self, use: Synapses, variants: int) -> None:
        self.use, self.variants = use, variants
        self.fractional = False
        self._fan_out = torch.empty(0)
        self._magnitude = self._events = self._through = self._accumulated = 0.0
        self._units = self._steps = 0

    def update(self, rows: Tensor, outputs: Tensor, window: Window) -> None:
        """Add a batch: the input rows [T*B, ...] or [B, ...] of the layer, and its output rows."""
        if not self._fan_out.numel():
            self._fan_out = fan_out(self.use.layer, rows)
            self._units = outputs[0].numel()
        self.fractional |= not bool((rows == rows.round()).all())
        events = (rows != 0).sum(0).double()
        self._events += float(events.sum())
        self._through += float((events * self._fan_out).sum())
        magnitude = rows.abs().sum(0, dtype=torch.float64)
        self._magnitude += float(magnitude.sum())
        self._accumulated += float((magnitude * self._fan_out).sum())
        self._steps = window.timesteps

    def compute(self, images: int) -> LayerOperations:
        """Return the layer's operations, a mean over `images`."""
        layer, use = self.use.layer, self.use
        weight = layer.weight
        assert isinstance(weight, Tensor)
        sources, bias = self._fan_out.numel(), getattr(layer, "bias", None) is not None
        times = self._steps if use.timed else self.variants
        inputs: Inputs = "image" if not use.timed else "fractional" if self.fractional else "spikes"
        activity = float(times)
        if use.timed and use.analog:
            inputs = "current"
        elif use.timed:
            activity = self._magnitude / (sources * images)
        # An image is the same at all steps, so it is multiplied once per variant.
        repeats = 1 if use.timed else self.variants
        accumulates = inputs == "spikes"
        return LayerOperations(
            name=use.name,
            kind="linear" if isinstance(layer, nn.Linear) else "conv",
            inputs=inputs,
            sources=sources,
            units=self._units,
            dense=weight.numel() * (self._units // weight.shape[0]),
            connections=int(self._fan_out.sum()),
            activity=activity,
            events=repeats * self._events / images,
            macs=0.0 if accumulates else repeats * self._through / images,
            acs=(self._accumulated / images if accumulates else 0.0) + bias * self._units * times,
            parameters=sum(p.numel() for p in layer.parameters()) if use.first_use else 0,
        )


class NeuronCounter:
    """Accumulates the spikes of one layer of LIF neurons."""

    def __init__(self, name: str, lif: LIF) -> None:
        self.name, self.lif = name, lif
        self._neurons = self._steps = 0
        self._spikes = 0.0

    def update(self, spikes: Tensor, window: Window) -> None:
        """Add a batch: the spikes [T*B, ...]."""
        self._neurons, self._steps = spikes[0].numel(), window.timesteps
        self._spikes += float(spikes.sum(dtype=torch.float64))

    def compute(self, images: int) -> LayerOperations:
        """Return the layer's operations: per neuron and step an addition and, unless the leak is 1, a multiplication.

        Every spike subtracts the threshold, which is another addition.
        """
        updates, spikes = self._neurons * self._steps, self._spikes / images
        return LayerOperations(
            name=self.name,
            kind="neurons",
            inputs="current",
            sources=self._neurons,
            units=self._neurons,
            events=spikes,
            acs=updates + spikes,
            multiplications=0.0 if self.lif.leak.item() == 1 else float(updates),
            parameters=sum(p.numel() for p in self.lif.parameters()),
            state_bytes=STATE_BYTES * self._neurons,
        )


class OperationCounter(fx.Interpreter):
    """Runs the graph of a spiking network and passes what every weighted layer and neuron layer sees to its counter."""

    def __init__(self, network: SpikingNetwork, variants: int) -> None:
        super().__init__(network.graph)
        self.counters: dict[fx.Node, SynapseCounter | NeuronCounter] = {}
        uses = synapses(network)
        for node in network.graph.graph.nodes:
            if node in uses:
                self.counters[node] = SynapseCounter(uses[node], variants)
            elif node.op == "call_module" and isinstance(lif := self.fetch_attr(str(node.target)), LIF):
                self.counters[node] = NeuronCounter(str(node.target), lif)
        self._window: Window | None = None

    def count(self, images: Tensor, window: Window) -> Tensor:
        """Run one batch and return the output rows of the last layer."""
        self._window = window
        rows: Tensor = self.run(images, window)
        return rows

    def run_node(self, n: fx.Node) -> Any:
        """Evaluate one node of the graph and count its operations."""
        result = super().run_node(n)
        counter, window = self.counters.get(n), self._window
        if counter is not None and window is not None:
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            if isinstance(counter, NeuronCounter):
                counter.update(result, window)
            else:
                counter.update(args[0] if args else kwargs["input"], result, window)
        return result
