"""Weights of few bits: a scale for each layer or channel, of which every weight is a whole multiple."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.exchange.step_graph import StepGraph, step_graph
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import LIF

ROUNDINGS = "intN with 2 to 16 bits, such as int4, or intN-channel, shared-scale or intN+shared-scale"
"""What `rounding` takes."""
_WEIGHTED = (nn.Conv2d, nn.Linear)


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
    def apply(self, graph: StepGraph) -> None:
        """Round weights, biases and thresholds in place."""
        for layers, neuron in _groups(graph):
            if self.channel:
                for layer in layers:
                    self._by_channel(layer)
            else:
                self._together(layers, neuron)

    def _together(self, layers: list[nn.Module], neuron: LIF | None) -> None:
        values = [value for layer in layers for value in _parameters(layer, biases=self.shared)]
        if neuron is not None and self.shared:
            values.append(neuron.threshold)
        scale = self._scale(torch.stack([value.abs().max() for value in values]).max())
        if not scale:
            return
        for value in (value for layer in layers for value in _parameters(layer, biases=True)):
            value.copy_((value / scale).round() * scale)
        if neuron is not None:
            neuron.threshold.copy_((neuron.threshold / scale).round().clamp(min=1) * scale)

    def _by_channel(self, layer: Any) -> None:
        scale = self._scale(layer.weight.flatten(1).abs().amax(1)).clamp(min=torch.finfo(torch.float32).tiny)
        shape = (-1, *(1,) * (layer.weight.dim() - 1))
        layer.weight.copy_((layer.weight / scale.view(shape)).round() * scale.view(shape))
        if layer.bias is not None:
            layer.bias.copy_((layer.bias / scale).round() * scale)

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


def rounding(network: SpikingNetwork, text: str, image: Tensor) -> Callable[[], None]:
    """Return a function that rounds a network in place, however its weights have changed by then.

    Args:
        text: such as "int4"; see `require_rounding`.
        image: any image of the data set, [1, C, H, W].

    Raises:
        UsageError: there is no such rounding, or the network has layers that cannot be rounded.
    """
    found, graph = require_rounding(text), step_graph(network, image)
    return lambda: found.apply(graph)


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
