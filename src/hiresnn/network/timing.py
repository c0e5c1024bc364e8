"""Time in a traced network: encoder, neurons and shared dropout, and which tensor has a time axis.

Before the first neuron a directly coded image is the same at every step; behind a neuron every tensor has time. This is
decided here, once for every node of the graph, and written into the calls.

Max pooling moves in front of the neurons. A ReLU (or QCFS) never decreases, so max(relu(x)) = relu(max(x)): the ANN may
pool before it activates. For neurons the order matters. The maximum over the spikes of a timestep is 1 if any of them
spikes, so four neurons that spike in turn give a rate four times as high as each. The maximum over their input currents
is exact where these are the same at every step, and closer elsewhere. It also leaves fewer neurons.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import fx, nn

from hiresnn.errors import UsageError
from hiresnn.models import QCFS, MeanOverBins, Normalise
from hiresnn.network.layers import AveragePool, Encoder, SharedDropout
from hiresnn.network.report import MAX_POOLS, Change, kind_of, name_of
from hiresnn.neurons import LIF

MaxPool = Literal["currents", "spikes"]
UNCAPPED = "LIF, without the cap at 6"
RELUS = (nn.ReLU, nn.ReLU6, QCFS)
RELU_CALLS = (F.relu, F.relu_, F.relu6, torch.relu, torch.relu_, "relu", "relu_")


def is_relu(node: fx.Node, layer: nn.Module | None) -> bool:
    """Tell whether a node becomes a layer of neurons; `layer` is the module that it calls."""
    called = node.target if layer is None and node.op.startswith("call") else None
    return isinstance(layer, RELUS) or called in RELU_CALLS


def pool_currents(traced: fx.GraphModule) -> Iterator[tuple[fx.Node, Change]]:
    """Exchange each ReLU with the max pool that alone uses it; yields the pool and what became of it."""
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        layer = modules.get(str(node.target)) if node.op == "call_module" else None
        if not is_relu(node, layer) or len(node.users) != 1:
            continue
        (pool,) = node.users
        pooling = modules.get(str(pool.target)) if pool.op == "call_module" else None
        kind = kind_of(pool, pooling)
        if kind not in MAX_POOLS or pool.kwargs.get("return_indices") or getattr(pooling, "return_indices", False):
            continue
        source = node.all_input_nodes[0]
        pool.replace_all_uses_with(node)
        pool.replace_input_with(node, source)
        node.replace_input_with(source, pool)
        pool.append(node)
        yield pool, Change(name_of(pool), kind, "in front of the neurons: the maximum of their currents")
    traced.recompile()


_CHANNEL_DROPOUTS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_DROPOUTS = (nn.Dropout, *_CHANNEL_DROPOUTS)
_CHANNEL_DROPOUT_CALLS = (F.dropout1d, F.dropout2d, F.dropout3d)
_DROPOUT_CALLS = (F.dropout, *_CHANNEL_DROPOUT_CALLS)


def insert_time(
    traced: fx.GraphModule, neuron: Callable[[nn.Module], LIF], encoder: Encoder
) -> list[tuple[fx.Node, Change]]:
    """Change `traced` in place to a network over time, called with images and a `Window`.

    Args:
        neuron: gets an activation of the ANN as a module and makes the layer of neurons that replaces it.

    Returns:
        The nodes of the ANN whose layer became another, and what it became.

    Raises:
        UsageError: the network has no ReLU, several inputs, or state.
    """
    builder = _Builder(traced, neuron)
    builder.encode(encoder)
    for node in list(traced.graph.nodes):
        builder.visit(node)
    if not any(isinstance(layer, LIF) for layer in traced.modules()):
        raise UsageError(
            "the network has no ReLU (nn.ReLU or torch.relu), so there is nothing to make spike; replace its "
            "activations, such as SiLU or GELU, by nn.ReLU, and train the ANN again."
        )
    traced.delete_all_unused_submodules()
    traced.graph.lint()
    traced.recompile()
    return builder.changes


class _Builder:
    """Visits the nodes of a graph in order.

    Attributes:
        timed: nodes that have time. from_images: nodes that depend on the images; parameters are the same for all.
        changes: nodes of the ANN whose layer became another, and what it became.
    """

    def __init__(self, traced: fx.GraphModule, neuron: Callable[[nn.Module], LIF]) -> None:
        self.traced, self.neuron = traced, neuron
        self.changes: list[tuple[fx.Node, Change]] = []
        self.graph, self.modules = traced.graph, dict(traced.named_modules())
        self.names = {name for name, layer in self.modules.items() if not isinstance(layer, (*RELUS, *_DROPOUTS))}
        self.timed: set[fx.Node] = set()
        self.from_images: set[fx.Node] = set()

    def encode(self, encoder: Encoder) -> None:
        """Add the window as a second input, and the encoder behind the images or their normalisation."""
        inputs = [node for node in self.graph.nodes if node.op == "placeholder"]
        if len(inputs) != 1:
            raise UsageError(f"the network takes {len(inputs)} inputs; a spiking network takes images alone.")
        start = inputs[0]
        with self.graph.inserting_after(start):
            self.window = self.graph.placeholder("window")
        for node in list(start.users):
            layer = self.modules[str(node.target)] if node.op == "call_module" else None
            if isinstance(layer, MeanOverBins):  # the encoder takes its place
                node.replace_all_uses_with(start)
                self.graph.erase_node(node)
            elif isinstance(layer, Normalise) and encoder.encoding != "frames":
                start = node
        name = self._free_name("encoder")
        self.traced.add_submodule(name, encoder)
        self.modules[name] = encoder
        users = list(start.users)
        with self.graph.inserting_after(self.window if start is inputs[0] else start):
            encoded = self.graph.call_module(name, (start, self.window))
        for user in users:
            user.replace_input_with(start, encoded)

    def visit(self, node: fx.Node) -> None:
        """Replace a node by its counterpart over time, and decide whether its value has time."""
        inputs = [source for source in node.all_input_nodes if source is not self.window]
        from_images = node.op == "placeholder" or not self.from_images.isdisjoint(inputs)
        timed = not self.timed.isdisjoint(inputs)
        layer = self.modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, (nn.RNNBase, nn.RNNCellBase)):
            raise UsageError(f"layer {node.target!r} keeps state over time; only stateless layers can be converted.")
        if isinstance(layer, Encoder):
            timed = layer.encoding != "direct"
        elif (timed and len(inputs) > 1) or (node.op == "output" and not timed):
            self._add_time(node, inputs)
        if (new := self._over_time(node, layer)) is not None:
            node = self._replace(node, layer, new, timed)
            timed = timed or isinstance(new, LIF)
        elif timed and (kind := kind_of(node, layer)) in MAX_POOLS:
            became = "unchanged: the maximum over the spikes of each timestep"
            self.changes.append((node, Change(name_of(node), kind, became)))
        if from_images:
            self.from_images.add(node)
        if timed:
            self.timed.add(node)

    def _over_time(self, node: fx.Node, layer: nn.Module | None) -> LIF | SharedDropout | AveragePool | None:
        """Return the layer that replaces a node of the ANN; None if it stays as it is."""
        called = node.target if layer is None and node.op.startswith("call") else None
        if is_relu(node, layer):
            return self.neuron(layer or (nn.ReLU6() if called is F.relu6 else nn.ReLU()))
        if isinstance(layer, _DROPOUTS):
            return SharedDropout(layer.p, channels=isinstance(layer, _CHANNEL_DROPOUTS))
        if called in _DROPOUT_CALLS and (p := _probability(node)) is not None:
            return SharedDropout(p, channels=called in _CHANNEL_DROPOUT_CALLS)
        return AveragePool() if AveragePool.replaces(layer) else None

    def _replace(
        self, node: fx.Node, layer: nn.Module | None, new: LIF | SharedDropout | AveragePool, timed: bool
    ) -> fx.Node:
        name = was = name_of(node)
        arguments: tuple[Any, ...] = (node.all_input_nodes[0], self.window)
        if not isinstance(new, AveragePool):
            name, arguments = self._free_name(name), (*arguments, timed)
            new.name = f"layer {name!r}"
        kind = was if layer is None else type(layer).__name__
        capped = isinstance(layer, nn.ReLU6) or node.target is F.relu6
        became = UNCAPPED if capped else type(new).__name__
        self.changes.append((node, Change(name, kind, became)))
        self.traced.add_submodule(name, new)
        if isinstance(new, LIF) and new.wait and timed:
            self._pool_sums(node.all_input_nodes[0])
        with self.graph.inserting_after(node):
            call = self.graph.call_module(name, arguments)
        node.replace_all_uses_with(call)
        self.graph.erase_node(node)
        return call

    def _pool_sums(self, pool: fx.Node) -> None:
        """Let a max pool in front of neurons that wait see the currents of all steps at once, as the neurons do."""
        layer = self.modules.get(str(pool.target)) if pool.op == "call_module" else None
        if kind_of(pool, layer) in MAX_POOLS:
            source = pool.all_input_nodes[0]
            with self.graph.inserting_before(pool):
                pool.replace_input_with(source, self.graph.call_method("at_first_step", (self.window, source)))

    def _add_time(self, node: fx.Node, inputs: list[fx.Node]) -> None:
        """Repeat over time what reaches `node` from the images without a neuron in between, such as a shortcut."""
        for source in inputs:
            if source in self.timed or (source not in self.from_images and node.op != "output"):
                continue
            if _is_size(source):
                continue
            with self.graph.inserting_before(node):
                node.replace_input_with(source, self.graph.call_method("with_time", (self.window, source)))

    def _free_name(self, name: str) -> str:
        """Return `name`, or `name_2` and so on if it is taken: each call of one module has its own state."""
        free, count = name, 1
        while free in self.names:
            count += 1
            free = f"{name}_{count}"
        self.names.add(free)
        return free


def _probability(node: fx.Node) -> float | None:
    """Return p of a call of F.dropout; None if it also drops in eval mode, in which the network was traced."""
    options: dict[str, Any] = {**dict(zip(("p", "training"), node.args[1:3], strict=False)), **node.kwargs}
    return None if options.get("training", True) else float(options.get("p", 0.5))


def _is_size(node: fx.Node) -> bool:
    """Tell whether a value is a number or shape read from a tensor, or computed from such."""
    if node.op == "call_method":
        return node.target in ("size", "dim")
    if node.target is getattr:
        return node.args[1] in ("shape", "ndim")
    return node.op == "call_function" and bool(node.all_input_nodes) and all(map(_is_size, node.all_input_nodes))
