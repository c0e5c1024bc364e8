"""A network as hardware or another library would compute it: weights of few bits, other leaks and resets.

Weights of few bits are whole multiples of a scale, one for each layer or channel.
"""

import copy
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from hiresnn.calls import read_call
from hiresnn.errors import UsageError
from hiresnn.network import ChannelAffine, SharedDropout, SpikingNetwork
from hiresnn.network.report import WEIGHTED
from hiresnn.neurons import LIF, Neuron

VIEWS = {
    "intN": "weights of N bits (2 to 16), one scale per layer; biases and thresholds are whole multiples of it, "
    "except a threshold behind an average pooling",
    "channel=True": "one scale per output channel, of which biases are multiples; float thresholds",
    "shared=True": "weights, bias and threshold of a layer have one scale and as few bits, as on Speck",
    "leak=X": "every leak is X; leak=1 is a chip with integrate-and-fire neurons",
    "reset=X": "every reset is X: subtract, subtract-unleaked or zero",
    "condition=X": "a neuron spikes at u > threshold or at u >= threshold",
}
"""Part of a view -> its meaning. A view is int8(channel=True, leak=1), or float(leak=1) where no weight is rounded."""
ROUNDINGS = "intN with 2 to 16 bits, such as int4, int4(channel=True) or int4(shared=True)"
"""What `rounding` takes."""
_COUNTED = (*WEIGHTED, ChannelAffine)
_SCALE_KEPT = (
    *(nn.Identity, nn.Dropout, SharedDropout, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, F.max_pool1d, F.max_pool2d),
    *(operator.add, operator.iadd, torch.add, "add", "add_", "with_time"),
)
"""Operations that keep whole multiples of the scale: layers, functions and methods."""
_EXACT = 2**24
"""Up to here, float32 holds every whole number."""
Group = tuple[list[Any], list[LIF]]
"""Layers with weights that share a scale, and the neurons that they enter directly, often none or one layer of them."""


@dataclass(frozen=True)
class Rounding:
    """How the numbers of a network are rounded. Rounding a second time changes nothing."""

    bits: int = 8  # of a weight, 2 to 16
    shared: bool = False  # bias and threshold count for the scale of a layer, so that they have as few bits
    channel: bool = False  # each output channel has a scale of its own; thresholds then stay as they are

    @torch.no_grad()
    def apply(self, groups: Sequence[Group]) -> None:
        for layers, neurons in groups:
            if self.channel:
                for layer in layers:
                    scale = self._scale(layer.weight.reshape(len(layer.weight), -1).abs().amax(1))
                    layer.weight.copy_(_multiple(layer.weight, scale.view(-1, *(1,) * (layer.weight.dim() - 1))))
                    if layer.bias is not None:
                        layer.bias.copy_(_multiple(layer.bias, scale))
                continue
            weights = [layer.weight for layer in layers]
            biases = [layer.bias for layer in layers if layer.bias is not None]
            thresholds = [neuron.threshold for neuron in neurons]
            largest = [*weights, *(biases + thresholds if self.shared else [])]
            scale = self._scale(torch.stack([value.abs().max() for value in largest]).max())
            for value in weights + biases:
                value.copy_(_multiple(value, scale))
            for value in thresholds:
                rounded = _multiple(value, scale)
                value.copy_(rounded.clamp(min=scale.item()) if scale else rounded)

    def _scale(self, largest: Tensor) -> Tensor:
        """Return the scale at which `largest` is the largest weight, in floats that a second rounding finds again."""
        top = 2 ** (self.bits - 1) - 1
        scale: Tensor = largest / top * top / top
        return scale


def read_view(text: str) -> tuple[Rounding | None, dict[str, Any]]:
    """Read a view, as `VIEWS` explains or of 0.2 ("int4+leak=1"): its rounding, if any, and options as of `Neuron`."""
    call, opening, scheme = read_call(text, "view"), f"view {text!r}", None
    options = dict(call.options)
    call.require((*(("channel", "shared") if call.name != "float" else ()), "leak", "reset", "condition"), opening)
    if call.name != "float":
        bits = int(number[1]) if (number := re.fullmatch(r"int(\d{1,2})", call.name)) else 0
        channel, shared = options.pop("channel", False), options.pop("shared", False)
        if not 2 <= bits <= 16:
            raise UsageError(f"{opening}: {call.name!r} is unknown; choose intN with 2 to 16 bits, or float.")
        if not isinstance(channel, bool) or not isinstance(shared, bool):
            raise UsageError(f"{opening}: channel and shared are True or False.")
        if shared and channel:
            raise UsageError(f"{opening}: one scale per layer and one per channel exclude each other; choose one.")
        scheme = Rounding(bits, shared, channel)
    elif not options:
        raise UsageError(f"{opening} changes nothing; give it an option, such as float(leak=1).")
    if not isinstance(options.get("leak", 1), int | float):
        raise UsageError(f"{opening}: leak is {options['leak']!r}; give a number in [0, 1].")
    try:
        Neuron().changed(**options)
    except UsageError as error:
        shell = ", in quotes for the shell: \"float(condition='>=')\"" if "condition" in str(error) else ""
        raise UsageError(f"{opening}: {str(error).rstrip('.')}{shell}.") from None
    return scheme, options


def require_rounding(text: str) -> Rounding:
    """Return the rounding that `text` names; UsageError if it names none, or also something else."""
    scheme, options = read_view(text)
    if scheme is None or options:
        raise UsageError(f"rounding is {text!r}; write {ROUNDINGS}.")
    return scheme


def rounding(network: SpikingNetwork, text: str) -> Callable[[], None]:
    """Return a function that rounds a network in place as `text`, such as "int4", says, at any later time.

    Raises UsageError if there is no such rounding, or the network has layers that cannot be rounded.
    """
    scheme, groups = require_rounding(text), rounded_together(network)
    return lambda: scheme.apply(groups)


def rounded_together(network: SpikingNetwork) -> list[Group]:
    """Return the layers that share a scale, because their sum enters the same neurons, also through max pooling."""
    modules = dict(network.layers.named_modules())
    groups: list[Group] = []
    for node in network.layers.graph.nodes:
        layer = modules[str(node.target)] if node.op == "call_module" else None
        if isinstance(layer, LIF) and (entering := list(dict.fromkeys(_entering(node.args[0], modules)))):
            shared = [group for group in groups if not set(group[0]).isdisjoint(entering)]
            groups = [group for group in groups if group not in shared]
            layers = dict.fromkeys([member for group in shared for member in group[0]] + entering)
            groups.append(([*layers], [*(neuron for group in shared for neuron in group[1]), layer]))
    grouped = {layer for layers, _ in groups for layer in layers}
    groups += [([layer], []) for layer in modules.values() if isinstance(layer, _COUNTED) and layer not in grouped]
    for name, _ in network.layers.named_parameters():
        if not isinstance(modules[name.rpartition(".")[0]], (*_COUNTED, LIF)):
            raise UsageError(
                f"{name!r} cannot be rounded; weights must be those of convolutions, linear layers and batch norms."
            )
    return groups


def _entering(node: fx.Node, modules: Mapping[str, nn.Module]) -> Iterator[nn.Module]:
    """Yield the layers with weights whose outputs, summed, are the value of a node."""
    layer = modules[str(node.target)] if node.op == "call_module" else None
    if isinstance(layer, _COUNTED):
        yield layer
    elif (node.target in _SCALE_KEPT or type(layer) in _SCALE_KEPT) and "alpha" not in node.kwargs:
        for source in node.all_input_nodes:
            yield from _entering(source, modules)


def _multiple(values: Tensor, scale: Tensor) -> Tensor:
    """Return the nearest whole multiples of a scale; values stay where it is 0, or so small that it changes nothing."""
    quotient = values / scale
    return torch.where(quotient.abs() < _EXACT, quotient.round() * scale, values)


def deployed(network: SpikingNetwork, view: str) -> SpikingNetwork:
    """Return a copy of a network as it would run on a device.

    Attacks on the copy follow the gradient of the rounded weights, which is that of straight-through rounding.

    Args:
        network: does not change.
        view: such as "int8", "int8(channel=True, leak=1)" or "float(reset=zero)"; see `VIEWS`.

    Raises:
        UsageError: the view is unknown, or the network has layers that cannot be rounded.
    """
    (scheme, options), device = read_view(view), copy.deepcopy(network)
    for neuron in device.neurons.values():
        if "leak" in options:
            neuron.leak.data.fill_(options["leak"])
        changed = neuron.neuron.changed(**options)
        neuron.reset, neuron.fires_at_threshold = changed.reset, changed.fires_at_threshold
    if scheme is not None:
        scheme.apply(rounded_together(device))
    return device
