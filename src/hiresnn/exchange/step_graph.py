"""A spiking network as a graph of what happens in one timestep, the form that all exports start from."""

from __future__ import annotations

import itertools
import keyword
import operator
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from hiresnn.errors import UsageError
from hiresnn.models import Normalise
from hiresnn.network import Encoder, SharedDropout, SpikingNetwork, evaluating
from hiresnn.network.layers import AveragePool
from hiresnn.network.report import name_of
from hiresnn.neurons import LIF, Window

INPUT = "input"
"""Name of the images as a source."""
_SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")
_RESHAPES = (torch.flatten, torch.reshape, "flatten", "view", "reshape")
_PASSED_ON = (Encoder, SharedDropout, nn.Dropout, nn.Identity)


@dataclass(frozen=True, eq=False)
class StepNode:
    """One layer: a `Normalise`, nn.Conv2d, nn.Linear, nn.AvgPool2d, nn.Flatten or `LIF`.

    Attributes:
        name: of the layer in the network as an identifier: _ for every dot, and layer_0 for 0.
        layer: the module of the network itself, not a copy.
        sources: names of the nodes whose outputs, summed, enter the layer; INPUT for the images.
        shape: of the output for one image, without the batch.
    """

    name: str
    layer: nn.Module
    sources: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class StepGraph:
    """A network in one timestep; its logits are the sum over the timesteps of what leaves `outputs`, summed.

    Attributes:
        image: [C, H, W] of one image.
        timesteps: T.
        nodes: in an order in which each follows its sources.
        outputs: names of the nodes whose outputs are summed to the logits of one timestep.
    """

    image: tuple[int, ...]
    timesteps: int
    nodes: tuple[StepNode, ...]
    outputs: tuple[str, ...]

    @property
    def neurons(self) -> Iterator[StepNode]:
        """The layers of neurons."""
        return (node for node in self.nodes if isinstance(node.layer, LIF))

    def shape_of(self, source: str) -> tuple[int, ...]:
        """Return the shape of what a node, or INPUT, puts out for one image."""
        return next((node.shape for node in self.nodes if node.name == source), self.image)


def step_graph(network: SpikingNetwork, image: Tensor) -> StepGraph:
    """Return the graph of a network with direct encoding, in eval mode: dropout is left out.

    Args:
        network: does not change.
        image: any image of the data set, [1, C, H, W], for its shape.

    Raises:
        UsageError: the images are encoded as Poisson spikes, or a layer is of no kind that `StepNode` lists; the
            message names it.
    """
    require_direct(network)
    builder = _Builder(network)
    with torch.no_grad(), evaluating(network):
        builder.run(image[:1].to(next(network.parameters())), Window(1, 1))
    return StepGraph(tuple(image.shape[1:]), network.timesteps, tuple(builder.nodes), builder.outputs)


def require_direct(network: SpikingNetwork) -> None:
    """Refuse a network whose images become random spikes."""
    if network.encoding.encoding != "direct":
        raise UsageError(
            f"the images are encoded as {network.encoding.encoding} spikes, which are random; only a network with "
            'encoding = "direct" can be exported.'
        )


class _Builder(fx.Interpreter):
    """Runs the network on one image for one timestep and notes every layer.

    Attributes:
        sources: node of the traced network -> names of the nodes whose sum is its value; () if that is no tensor.
    """

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__(network.layers, garbage_collect_values=False)
        self.extra_traceback = False  # it would be appended to the sentence of a UsageError
        self.nodes: list[StepNode] = []
        self.sources: dict[fx.Node, tuple[str, ...]] = {}
        self.outputs: tuple[str, ...] = ()
        # Names that a Python file takes: `check` is that of the tensors of its comparison.
        self.names = {INPUT, "output", "images", "self", "check", *dir(nn.Module)}

    def run_node(self, n: fx.Node) -> Any:
        """Compute a node, and note its layer."""
        value = super().run_node(n)
        if n.op == "output":
            self.outputs = self._entering(n)
        elif n.op == "placeholder":
            self.sources[n] = (INPUT,) if isinstance(value, Tensor) else ()
        elif n.op == "get_attr" or not isinstance(value, Tensor):
            self.sources[n] = ()
        elif value.shape[0] != 1:
            raise UsageError(f"{name_of(n)!r} moves the batch out of the first dimension, so it cannot be exported.")
        elif n.op == "call_module":
            self.sources[n] = self._of_module(n, self.fetch_attr(str(n.target)), value)
        else:
            self.sources[n] = self._of_call(n, value)
        return value

    def _entering(self, node: fx.Node, terms: Sequence[Any] | None = None) -> tuple[str, ...]:
        """Return the sources of the one tensor that enters `node`, or of the sum of `terms`."""
        names = [name for source in terms or node.all_input_nodes for name in self.sources[source]]
        if len(set(names)) != len(names):
            raise UsageError(f"{name_of(node)!r} adds a tensor to itself, which cannot be exported; use a factor of 2.")
        return tuple(names)

    def _of_module(self, node: fx.Node, layer: nn.Module, value: Tensor) -> tuple[str, ...]:
        if isinstance(layer, _PASSED_ON):
            return self._entering(node)
        before = self.env[node.all_input_nodes[0]].shape[1:]
        if isinstance(layer, AveragePool):
            layer = nn.AvgPool2d(2)
        elif isinstance(layer, nn.AdaptiveAvgPool2d) and tuple(value.shape[2:]) == (1, 1):
            layer = nn.AvgPool2d(tuple(before[1:]))
        self._require(node, layer, value)
        if isinstance(layer, LIF):
            _refuse_wait(node, layer, node.args[2])
        return self._add(str(node.target), layer, self._entering(node), value.shape[1:])

    def _require(self, node: fx.Node, layer: nn.Module, value: Tensor) -> None:
        """Refuse a layer that other formats cannot express."""
        reason = ""
        if isinstance(layer, nn.Conv2d) and (layer.padding_mode != "zeros" or isinstance(layer.padding, str)):
            reason = f"pads with {layer.padding_mode!r}, {layer.padding!r}"
        elif isinstance(layer, nn.AvgPool2d) and (layer.ceil_mode or layer.divisor_override):
            reason = "uses ceil_mode or divisor_override"
        elif isinstance(layer, nn.AvgPool2d) and not layer.count_include_pad and layer.padding not in (0, (0, 0)):
            reason = "does not count its padding"
        elif isinstance(layer, nn.Flatten) and value.dim() != 2:
            reason = "does not flatten all but the batch"
        elif isinstance(layer, nn.Linear) and value.dim() != 2:
            reason = "gets more than one vector per image"
        elif not isinstance(layer, (Normalise, nn.Conv2d, nn.Linear, nn.AvgPool2d, nn.Flatten, LIF)):
            reason = f"is a {type(layer).__name__}"
        if reason:
            raise UsageError(
                f"layer {name_of(node)!r} {reason}, which this format cannot express; export to onnx, or use Conv2d "
                "with a number of zeros as padding, Linear, AvgPool2d, Flatten, ReLU and sums."
            )

    def _of_call(self, node: fx.Node, value: Tensor) -> tuple[str, ...]:
        if node.target == "with_time":
            return self._entering(node)
        if (
            node.target in _SUMS
            and len(node.args) == 2
            and not node.kwargs
            and all(self._is_layer(source) for source in node.args)
        ):
            return self._entering(node, node.args)
        if node.target in _RESHAPES and value.dim() == 2:
            source = node.all_input_nodes[0]
            if self.env[source].shape == value.shape:
                return self.sources[source]
            return self._add(node.name, nn.Flatten(), self.sources[source], value.shape[1:])
        raise UsageError(
            f"{name_of(node)!r} cannot be exported; the layers between neurons must be Conv2d, Linear, AvgPool2d, "
            "Flatten and sums of two of them."
        )

    def _is_layer(self, source: Any) -> bool:
        return isinstance(source, fx.Node) and bool(self.sources[source])

    def _add(self, name: str, layer: nn.Module, sources: tuple[str, ...], shape: torch.Size) -> tuple[str, ...]:
        name = free_identifier(name, self.names)
        self.names.add(name)
        self.nodes.append(StepNode(name, layer, sources, tuple(shape)))
        return (name,)


def _refuse_wait(node: fx.Node, lif: Any, timed: Any) -> None:
    if lif.wait and timed:
        raise UsageError(
            f"{name_of(node)!r} waits for the layer before it (wait), which no step-by-step format can express; export "
            "to onnx, or convert without wait."
        )


def free_identifier(name: str, taken: Container[str]) -> str:
    """Return the name of a layer as an identifier of Python, with a number behind it if that is taken.

    >>> free_identifier("block1.conv1", ()), free_identifier("0", ()), free_identifier("a.b", {"a_b"})
    ('block1_conv1', 'layer_0', 'a_b_2')
    """
    name = "".join(letter if f"_{letter}".isidentifier() else "_" for letter in name)
    name = name if name.isidentifier() and not keyword.iskeyword(name) else f"layer_{name}"
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(free for free in itertools.chain([name], numbered) if free not in taken)
