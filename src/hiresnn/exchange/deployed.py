"""A network as hardware or another library would compute it: rounded weights, other leaks and resets."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.exchange.step_graph import StepGraph, step_graph
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import CONDITIONS, LIF, RESETS

_WEIGHTED = (nn.Conv2d, nn.Linear)
VIEWS = {
    "intN": "weights of N bits (2 to 16), one scale per layer; biases and thresholds are whole multiples of it",
    "intN-channel": "weights of N bits, one scale per output channel, of which biases are multiples; float thresholds",
    "shared-scale": "weights, bias and threshold of a layer in 8 bits (or N, with intN) with one scale, as on Speck",
    "leak=X": "every leak is X; leak=1 is a chip with integrate-and-fire neurons",
    "reset=X": "every reset is X: subtract, subtract-unleaked or zero",
    "condition=X": "a neuron spikes at u > threshold or at u >= threshold",
}
"""What a view may consist of -> its meaning; a view joins them by +, as in int8+leak=1."""


def deployed(network: SpikingNetwork, view: str, image: Tensor) -> SpikingNetwork:
    """Return a copy of a network as it would run on a device.

    Attacks on the copy follow the gradient of the rounded weights, which is that of straight-through rounding.

    Args:
        network: does not change.
        view: one of `VIEWS`, or several joined by +, such as "int8+reset=zero".
        image: any image of the data set, [1, C, H, W].

    Raises:
        UsageError: the view is unknown, or the network has layers that cannot be rounded.

    Example:
        >>> int4 = deployed(network, "int4", images[:1])  # doctest: +SKIP
    """
    subject = copy.deepcopy(network)
    bits, shared, channel = None, False, False
    for part in view.split("+"):
        key, equals, value = part.partition("=")
        if found := re.fullmatch(r"int(\d{1,2})(-channel)?", part):
            bits, channel = int(found[1]), bool(found[2])
            if not 2 <= bits <= 16:
                raise UsageError(f"view {view!r}: {part} has {bits} bits; choose 2 to 16.")
        elif part == "shared-scale":
            shared = True
        elif equals and key in _SETTERS:
            _SETTERS[key](subject, value, f"view {view!r}: {part}")
        else:
            raise UsageError(f"view {view!r}: {part!r} is unknown; choose of {', '.join(VIEWS)}, joined by +.")
    if shared and channel:
        raise UsageError(f"view {view!r}: one scale per layer and one per channel exclude each other; choose one.")
    if bits or shared:
        with torch.no_grad():
            _round(step_graph(subject, image), bits or 8, shared, channel)
    return subject


def _round(graph: StepGraph, bits: int, shared: bool, channel: bool) -> None:
    """Round weights, biases and thresholds in place."""
    top = 2 ** (bits - 1) - 1
    for layers, neuron in _groups(graph):
        if channel:
            for layer in layers:
                _round_channels(layer, top)
            continue
        values = [value for layer in layers for value in _parameters(layer, biases=shared)]
        if neuron is not None and shared:
            values.append(neuron.threshold)
        scale = max(float(value.abs().max()) for value in values) / top
        if not scale:
            continue
        for value in (value for layer in layers for value in _parameters(layer, biases=True)):
            value.copy_((value / scale).round() * scale)
        if neuron is not None:
            neuron.threshold.copy_((neuron.threshold / scale).round().clamp(min=1) * scale)


def _groups(graph: StepGraph) -> Iterator[tuple[list[nn.Module], LIF | None]]:
    """Yield weighted layers that share a scale with the neurons that they enter, and those that enter none."""
    grouped: set[str] = set()
    for neuron in graph.neurons:
        entering = [node for node in graph.nodes if node.name in neuron.sources and isinstance(node.layer, _WEIGHTED)]
        grouped |= {node.name for node in entering}
        if entering:
            yield [node.layer for node in entering], neuron.layer  # type: ignore[misc]  # a LIF
    for node in graph.nodes:
        if isinstance(node.layer, _WEIGHTED) and node.name not in grouped:
            yield [node.layer], None


def _parameters(layer: Any, *, biases: bool) -> list[Tensor]:
    return [layer.weight, *([layer.bias] if biases and layer.bias is not None else [])]


def _round_channels(layer: Any, top: int) -> None:
    scale = (layer.weight.flatten(1).abs().amax(1) / top).clamp(min=torch.finfo(torch.float32).tiny)
    shape = (-1, *(1,) * (layer.weight.dim() - 1))
    layer.weight.copy_((layer.weight / scale.view(shape)).round() * scale.view(shape))
    if layer.bias is not None:
        layer.bias.copy_((layer.bias / scale).round() * scale)


def _set_leak(network: SpikingNetwork, value: str, where: str) -> None:
    try:
        leak = float(value)
    except ValueError:
        leak = -1.0
    if not 0 <= leak <= 1:
        raise UsageError(f"{where} is no leak; give a number in [0, 1].")
    for neuron in network.neurons.values():
        neuron.leak.data.fill_(leak)


def _choice(name: str, allowed: tuple[str, ...]) -> Callable[[SpikingNetwork, str, str], None]:
    def set_each(network: SpikingNetwork, value: str, where: str) -> None:
        if value not in allowed:
            raise UsageError(f"{where} is unknown; choose one of {', '.join(allowed)}.")
        for neuron in network.neurons.values():
            setattr(neuron, name, value)

    return set_each


_SETTERS: dict[str, Callable[[SpikingNetwork, str, str], None]] = {
    "leak": _set_leak,
    "reset": _choice("reset", RESETS),
    "condition": _choice("condition", CONDITIONS),
}
