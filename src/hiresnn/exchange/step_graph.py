"""A spiking network as a graph of one timestep, from which exports to NIR and to other libraries are written."""

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
from hiresnn.modes import evaluating
from hiresnn.network import Encoder, SharedDropout, SpikingNetwork
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
        return (node for node in self.nodes if isinstance(node.layer, LIF))

    def shape_of(self, source: str) -> tuple[int, ...]:
        return next((node.shape for node in self.nodes if node.name == source), self.image)


def step_graph(network: SpikingNetwork, image: Tensor) -> StepGraph:
    """Return the graph of a network with direct encoding, in eval mode; an image [1, C, H, W] gives the shapes.

    Raises UsageError for Poisson spikes, and for a layer of a kind that `StepNode` does not list.
    """
    require_direct(network)
    tracer = _StepTracer(network)
    with torch.no_grad(), evaluating(network):
        tracer.run(image[:1].to(next(network.parameters())), Window(1, 1))
    return StepGraph(tuple(image.shape[1:]), network.timesteps, tuple(tracer.nodes), tracer.outputs)


def require_direct(network: SpikingNetwork) -> None:
    """Raise UsageError for a network whose images become random spikes, and for one of event grids."""
    if network.encoding.encoding == "frames":
        raise UsageError(
            "every export shows one image at all timesteps, so a network of event grids, which sees another bin at "
            "each, cannot be exported."
        )
    if network.encoding.encoding != "direct":
        reason = f"the images are encoded as random spikes ({network.encoding.encoding})"
        raise UsageError(f'{reason}; only a network with encoding = "direct" can be exported.')


class _StepTracer(fx.Interpreter):
    """Runs the network on one image for one timestep and notes every layer."""

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__(network.layers, garbage_collect_values=False)
        self.extra_traceback = False  # it would be appended to the sentence of a UsageError
        self.nodes: list[StepNode] = []
        self.sources: dict[fx.Node, tuple[str, ...]] = {}  # names of the layers whose sum is its value; () if no tensor
        self.outputs: tuple[str, ...] = ()
        # Names that a Python file takes: `check` is that of the tensors of its comparison.
        self.names = {INPUT, "output", "images", "self", "check", *dir(nn.Module)}

    def run_node(self, n: fx.Node) -> Any:
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
        names = [name for source in terms or node.all_input_nodes for name in self.sources[source]]
        if len(set(names)) != len(names):
            raise UsageError(f"{name_of(node)!r} adds a tensor to itself, which cannot be exported; use a factor of 2.")
        return tuple(names)

    def _of_module(self, node: fx.Node, layer: nn.Module, value: Tensor) -> tuple[str, ...]:
        if isinstance(layer, _PASSED_ON):
            return self._entering(node)
        if isinstance(layer, AveragePool):
            layer = nn.AvgPool2d(2)
        elif isinstance(layer, nn.AdaptiveAvgPool2d) and value.shape[2:] == (1, 1):
            layer = nn.AvgPool2d(tuple(self.env[node.all_input_nodes[0]].shape[2:]))
        if isinstance(layer, LIF) and layer.wait and node.args[2]:
            reason = "waits for the layer before it (wait), which no step-by-step format can express"
            raise UsageError(f"{name_of(node)!r} {reason}; export to onnx, or convert without wait.")
        if reason := _inexpressible(layer, value):
            raise UsageError(
                f"layer {name_of(node)!r} {reason}, which this format cannot express; export to onnx, or use Conv2d "
                "with a number of zeros as padding, Linear, AvgPool2d, Flatten, ReLU and sums."
            )
        return self._add(str(node.target), layer, self._entering(node), value.shape[1:])

    def _of_call(self, node: fx.Node, value: Tensor) -> tuple[str, ...]:
        if node.target == "with_time":
            return self._entering(node)
        if node.target in _SUMS and len(node.args) == 2 and not node.kwargs:
            if all(isinstance(term, fx.Node) and self.sources[term] for term in node.args):
                return self._entering(node, node.args)
        elif node.target in _RESHAPES and value.dim() == 2:
            source = node.all_input_nodes[0]
            if self.env[source].shape == value.shape:
                return self.sources[source]
            return self._add(node.name, nn.Flatten(), self.sources[source], value.shape[1:])
        raise UsageError(
            f"{name_of(node)!r} cannot be exported; the layers between neurons must be Conv2d, Linear, AvgPool2d, "
            "Flatten and sums of two of them."
        )

    def _add(self, name: str, layer: nn.Module, sources: tuple[str, ...], shape: torch.Size) -> tuple[str, ...]:
        name = free_identifier(name, self.names)
        self.names.add(name)
        self.nodes.append(StepNode(name, layer, sources, tuple(shape)))
        return (name,)


def _inexpressible(layer: nn.Module, value: Tensor) -> str:
    """Return why other formats cannot express a layer with the output `value`; "" if they can."""
    match layer:
        case nn.Conv2d() if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            return f"pads with {layer.padding_mode!r}, {layer.padding!r}"
        case nn.AvgPool2d() if layer.ceil_mode or layer.divisor_override:
            return "uses ceil_mode or divisor_override"
        case nn.AvgPool2d() if not layer.count_include_pad and layer.padding not in (0, (0, 0)):
            return "does not count its padding"
        case nn.Flatten() if value.dim() != 2:
            return "does not flatten all but the batch"
        case nn.Linear() if value.dim() != 2:
            return "gets more than one vector per image"
        case Normalise() | nn.Conv2d() | nn.Linear() | nn.AvgPool2d() | nn.Flatten() | LIF():
            return ""
    name = type(layer).__name__
    return f"is {'an' if name[0] in 'AEIOU' else 'a'} {name}"


def free_identifier(name: str, taken: Container[str]) -> str:
    """Return the name of a layer as an identifier of Python, with a number behind it if that is taken.

    >>> free_identifier("block1.conv1", ()), free_identifier("0", ()), free_identifier("a.b", {"a_b"})
    ('block1_conv1', 'layer_0', 'a_b_2')
    """
    name = "".join(letter if f"_{letter}".isidentifier() else "_" for letter in name)
    name = name if name.isidentifier() and not keyword.iskeyword(name) else f"layer_{name}"
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(free for free in itertools.chain([name], numbered) if free not in taken)
