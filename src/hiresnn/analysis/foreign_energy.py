"""Energy of a network of another library, counted while it runs, by the same rules as that of our own networks.

A layer whose input is the image, the same at every step, counts once, also if the library computes it at every step. A
batch norm right behind a weighted layer counts as folded into it, and any other one as a depthwise 1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hiresnn.analysis.activity import SpikingActivity
from hiresnn.analysis.connectivity import COUNTED, Synapses, fan_out
from hiresnn.analysis.energy_report import EnergyReport
from hiresnn.analysis.operations import (
    Inputs,
    LayerOperations,
    neuron_operations,
    readout_operations,
    synapse_operations,
)
from hiresnn.attacks import frozen
from hiresnn.errors import UsageError
from hiresnn.foreign import Unrolled, record
from hiresnn.foreign.cost import neuron_cost
from hiresnn.foreign.flow import Flow, Signal
from hiresnn.foreign.record import in_steps, require_steps
from hiresnn.foreign.unrolled import picked
from hiresnn.network import ChannelAffine
from hiresnn.network.kinds import BATCH_NORMS


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
        with frozen(self.network), record(self.network) as spikes, self._watched(flow, len(images)), flow:
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
