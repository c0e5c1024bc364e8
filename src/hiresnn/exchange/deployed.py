"""Weights of few bits: a scale for each layer or channel, of which every weight is a whole multiple.

A network as hardware or another library would compute it: rounded weights, other leaks and resets.
"""

from __future__ import annotations

import copy
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from hiresnn.errors import UsageError
from hiresnn.network import ChannelAffine, SharedDropout, SpikingNetwork
from hiresnn.network.report import WEIGHTED
from hiresnn.neurons import CONDITIONS, LIF, RESETS

ROUNDINGS = "intN with 2 to 16 bits, such as int4, or intN-channel, shared-scale or intN+shared-scale"
"""What `rounding` takes."""
_WEIGHTED = (*WEIGHTED, ChannelAffine)
_SCALE_KEPT = (
    *(nn.Identity, nn.Dropout, SharedDropout, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, F.max_pool1d, F.max_pool2d),
    *(operator.add, operator.iadd, torch.add, "add", "add_", "with_time"),
)
"""What whole multiples of a scale pass between a layer and its neurons and stay such: layers, functions and methods."""
_EXACT = 2**24
"""Up to here, float32 holds every whole number."""
Group = tuple[list[nn.Module], list[LIF]]
"""Layers with weights that share a scale, and the neurons that they enter directly, often none or one layer of them."""


@dataclass(frozen=True)
class Rounding:
    """How the numbers of a network are rounded. Rounding a second time changes nothing.

    Attributes:
        bits: of a weight, 2 to 16.
        shared: whether bias and threshold count for the scale of a layer, so that they have as few bits.
        channel: whether each output channel has a scale of its own; thresholds then stay as they are.
    """

    bits: int = 8
    shared: bool = False
    channel: bool = False

    @torch.no_grad()
    def apply(self, groups: Sequence[Group]) -> None:
        """Round weights, biases and thresholds in place."""
        for layers, neurons in groups:
            if self.channel:
                for layer in layers:
                    self._by_channel(layer)
            else:
                self._together(layers, neurons)

    def _together(self, layers: list[nn.Module], neurons: list[LIF]) -> None:
        values = [value for layer in layers for value in _parameters(layer, biases=self.shared)]
        values += [neuron.threshold for neuron in neurons if self.shared]
        scale = self._scale(torch.stack([value.abs().max() for value in values]).max())
        for value in (value for layer in layers for value in _parameters(layer, biases=True)):
            value.copy_(_multiple(value, scale))
        for neuron in neurons:
            threshold = _multiple(neuron.threshold, scale)
            neuron.threshold.copy_(threshold.clamp(min=scale.item()) if scale else threshold)

    def _by_channel(self, layer: Any) -> None:
        scale = self._scale(layer.weight.reshape(len(layer.weight), -1).abs().amax(1))
        layer.weight.copy_(_multiple(layer.weight, scale.view(-1, *(1,) * (layer.weight.dim() - 1))))
        if layer.bias is not None:
            layer.bias.copy_(_multiple(layer.bias, scale))

    def _scale(self, largest: Tensor) -> Tensor:
        """Return the scale at which `largest` is the largest weight, in floats that a second rounding finds again."""
        top = 2 ** (self.bits - 1) - 1
        scale: Tensor = largest / top * top / top
        return scale


def read_rounding(view: str) -> tuple[Rounding | None, list[str]]:
    """Return the rounding of a view such as "int4+reset=zero", None for none, and the other parts of the view.

    Raises:
        UsageError: the number of bits is out of range, or two parts exclude each other.
    """
    bits, shared, channel = None, False, False
    rest = []
    for part in view.split("+"):
        if found := re.fullmatch(r"int(\d{1,2})(-channel)?", part):
            if bits is not None:
                raise UsageError(f"view {view!r} has two numbers of bits; choose one.")
            bits, channel = int(found[1]), bool(found[2])
            if not 2 <= bits <= 16:
                raise UsageError(f"view {view!r}: {part} has {bits} bits; choose 2 to 16.")
        elif part == "shared-scale":
            shared = True
        else:
            rest.append(part)
    if shared and channel:
        raise UsageError(f"view {view!r}: one scale per layer and one per channel exclude each other; choose one.")
    return (Rounding(bits or 8, shared, channel) if bits or shared else None), rest


def require_rounding(text: str) -> Rounding:
    """Return the rounding that `text` names and nothing else.

    Raises:
        UsageError: it names no rounding, or also something else.
    """
    found, rest = read_rounding(text)
    if found is None or rest:
        raise UsageError(f"rounding is {text!r}; write {ROUNDINGS}.")
    return found


def rounding(network: SpikingNetwork, text: str) -> Callable[[], None]:
    """Return a function that rounds a network in place, however its weights have changed by then.

    Args:
        text: such as "int4"; see `require_rounding`.

    Raises:
        UsageError: there is no such rounding, or the network has layers that cannot be rounded.
    """
    found, groups = require_rounding(text), rounded_together(network)
    return lambda: found.apply(groups)


def rounded_together(network: SpikingNetwork) -> list[Group]:
    """Return the layers of a network that share a scale, each layer with weights in one of the groups at least.

    Layers share a scale if their sum enters the same neurons, also through max pooling.

    Raises:
        UsageError: a layer of another kind has weights; the message names it.
    """
    modules = dict(network.layers.named_modules())
    groups: list[Group] = []
    for node in network.layers.graph.nodes:
        layer = modules[str(node.target)] if node.op == "call_module" else None
        if isinstance(layer, LIF) and (entering := list(dict.fromkeys(_entering(node.args[0], modules)))):
            shared = [group for group in groups if not set(group[0]).isdisjoint(entering)]
            groups = [group for group in groups if group not in shared]
            layers = dict.fromkeys([each for group in shared for each in group[0]] + entering)
            groups.append(([*layers], [*(each for group in shared for each in group[1]), layer]))
    grouped = {layer for layers, _ in groups for layer in layers}
    groups += [([layer], []) for layer in modules.values() if isinstance(layer, _WEIGHTED) and layer not in grouped]
    known = {
        id(value) for layer in modules.values() if isinstance(layer, (*_WEIGHTED, LIF)) for value in layer.parameters()
    }
    for name, value in network.layers.named_parameters():
        if id(value) not in known:
            raise UsageError(
                f"{name!r} cannot be rounded; weights must be those of convolutions, linear layers and batch norms."
            )
    return groups


def _entering(node: fx.Node, modules: Mapping[str, nn.Module]) -> Iterator[nn.Module]:
    """Yield the layers with weights whose outputs, summed, are the value of a node."""
    layer = modules[str(node.target)] if node.op == "call_module" else None
    if isinstance(layer, _WEIGHTED):
        yield layer
    elif (node.target in _SCALE_KEPT or type(layer) in _SCALE_KEPT) and "alpha" not in node.kwargs:
        for source in node.all_input_nodes:
            yield from _entering(source, modules)


def _multiple(values: Tensor, scale: Tensor) -> Tensor:
    """Return the nearest whole multiples of a scale; values stay where it is 0, or so small that it changes nothing."""
    quotient = values / scale
    return torch.where(quotient.abs() < _EXACT, quotient.round() * scale, values)


def _parameters(layer: Any, *, biases: bool) -> list[Tensor]:
    return [layer.weight, *([layer.bias] if biases and layer.bias is not None else [])]


VIEWS = {
    "intN": "weights of N bits (2 to 16), one scale per layer; biases and thresholds are whole multiples of it, "
    "except a threshold behind an average pooling",
    "intN-channel": "weights of N bits, one scale per output channel, of which biases are multiples; float thresholds",
    "shared-scale": "weights, bias and threshold of a layer in 8 bits (or N, with intN) with one scale, as on Speck",
    "leak=X": "every leak is X; leak=1 is a chip with integrate-and-fire neurons",
    "reset=X": "every reset is X: subtract, subtract-unleaked or zero",
    "condition=X": "a neuron spikes at u > threshold or at u >= threshold",
}
"""What a view may consist of -> its meaning; a view joins them by +, as in int8+leak=1."""
_WORDS: dict[str, tuple[str, ...]] = {"reset": RESETS, "condition": CONDITIONS}
"""What a view sets to a word -> the words."""


def deployed(network: SpikingNetwork, view: str) -> SpikingNetwork:
    """Return a copy of a network as it would run on a device.

    Attacks on the copy follow the gradient of the rounded weights, which is that of straight-through rounding.

    Args:
        network: does not change.
        view: one of `VIEWS`, or several joined by +, such as "int8+reset=zero".

    Raises:
        UsageError: the view is unknown, or the network has layers that cannot be rounded.

    Example:
        >>> int4 = deployed(network, "int4")  # doctest: +SKIP
    """
    subject = copy.deepcopy(network)
    rounding, rest = read_rounding(view)
    keys = [part.partition("=")[0] for part in rest]
    if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
        raise UsageError(f"view {view!r} sets {twice[0]} twice; choose one value.")
    for part in rest:
        key, equals, value = part.partition("=")
        if not equals or key not in ("leak", *_WORDS):
            raise UsageError(f"view {view!r}: {part!r} is unknown; choose of {', '.join(VIEWS)}, joined by +.")
        where = f"view {view!r}: {part}"
        if key in _WORDS and value not in _WORDS[key]:
            quotes = f", in quotes for the shell: 'condition={CONDITIONS[-1]}'" if key == "condition" else ""
            raise UsageError(f"{where} is unknown; choose one of {', '.join(_WORDS[key])}{quotes}.")
        for neuron in subject.neurons.values():
            if key == "leak":
                neuron.leak.data.fill_(_leak(value, where))
            elif key == "condition":
                neuron.fires_at_threshold = value == ">="
            else:
                setattr(neuron, key, value)
    if rounding is not None:
        rounding.apply(rounded_together(subject))
    return subject


def _leak(text: str, where: str) -> float:
    try:
        leak = float(text)
    except ValueError:
        leak = -1.0
    if not 0 <= leak <= 1:
        raise UsageError(f"{where} is no leak; give a number in [0, 1].")
    return leak
