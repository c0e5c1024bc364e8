"""Ways to run the graph of a spiking network: layers in one pass over memory, and activations computed again.

A LIF layer runs in one pass with the dropout and 2x2 average pooling behind it: the spikes in between, the largest
tensors of a training step at the paper's sizes, are never written. A network with compiled kernels runs a copy of its
graph, in which every such group of layers is one call of `fused_block`. The layers are called one after another if one
of them has a hook, or if the window carries state.

With `recompute`, activations are computed again in the backward pass instead of stored (Chen et al. 2016), segment by
segment: a convolution or linear layer with everything up to the next one. Only its input is stored, which for most
layers is pooled spikes.
"""

from collections.abc import Callable, Iterator, Mapping
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, fx, nn
from torch.utils.checkpoint import checkpoint

from hiresnn.network.layers import AveragePool, SharedDropout
from hiresnn.network.report import WEIGHTED
from hiresnn.neurons import LIF, Window
from hiresnn.neurons.layer import lif_scan
from hiresnn.neurons.rules import LayerRule


def fused_block(
    lif: LIF, dropout: SharedDropout | None, pool: AveragePool | None, current: Tensor, window: Window, timed: bool
) -> Tensor:
    """Return the output of the last of the layers, rows [T * rows per step, ...] in the dtype of `current`.

    Args:
        current, window, timed: see `LIF`.
    """
    if _fits(lif, dropout, pool, current, window):
        per_step = window.rows_per_step(current, timed, lif.name)
        mask = None if dropout is None else dropout.mask(current[:per_step], window)
        if mask is not None or pool is not None:
            current, scan = lif.arriving(current, window, timed)
            block = lif_scan(current, None, lif.threshold, lif.leak, scan, lif.surrogate, True, mask, pool is not None)
            return block[0]
    rows: Tensor = lif(current, window, timed)
    if dropout is not None:
        rows = dropout(rows, window)
    return rows if pool is None else pool(rows, window)


def _fits(lif: LIF, dropout: SharedDropout | None, pool: AveragePool | None, current: Tensor, window: Window) -> bool:
    if window.carried or isinstance(lif.surrogate, LayerRule):
        return False
    if pool is not None and not AveragePool.fits(current):
        return False
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return not any(getattr(layer, name, None) for layer in (lif, dropout, pool) for name in hooks)


def in_blocks(layers: fx.GraphModule) -> fx.GraphModule:
    """Return `layers` with each call of a LIF layer, and of dropout and pooling behind it, as one of `fused_block`."""
    graph, modules = fx.Graph(), dict(layers.named_modules())
    graph.output(graph.graph_copy(layers.graph, {}))

    def follower(node: fx.Node, kind: type[nn.Module]) -> fx.Node | None:
        users = list(node.users)
        if len(users) == 1 and users[0].op == "call_module" and isinstance(modules[str(users[0].target)], kind):
            return users[0]
        return None

    for node in list(graph.nodes):
        if node.op != "call_module" or not isinstance(modules[str(node.target)], LIF):
            continue
        dropout = follower(node, SharedDropout)
        pool = follower(dropout or node, AveragePool)
        group = [call for call in (node, dropout, pool) if call is not None]
        if len(group) == 1:
            continue
        with graph.inserting_before(node):
            parts = [call and graph.get_attr(str(call.target)) for call in (node, dropout, pool)]
        with graph.inserting_after(group[-1]):
            block = graph.create_node("call_function", fused_block, (*parts, *node.args), name=f"{node.name}_block")
        group[-1].replace_all_uses_with(block)
        for call in reversed(group):
            graph.erase_node(call)
    return fx.GraphModule(layers, graph)


def run_in_segments(layers: fx.GraphModule, graph: fx.Graph, images: Tensor, window: Window) -> Tensor:
    """Compute `graph` on the modules of `layers`, storing for the backward pass only what enters each segment.

    What precedes the first weighted layer, and the readout, are not segments.
    """
    interpreter = fx.Interpreter(layers, graph=graph)
    values: dict[fx.Node, Any] = dict(
        zip((node for node in graph.nodes if node.op == "placeholder"), (images, window), strict=True)
    )
    (result,) = (node for node in graph.nodes if node.op == "output")
    for nodes, spikes in _segments(graph, dict(layers.named_modules())):
        needed = dict.fromkeys(source for node in nodes for source in node.all_input_nodes if source in values)
        inputs = [node for node in needed if isinstance(values[node], Tensor)]
        rest = {node: values[node] for node in needed if node not in inputs}
        outputs = [node for node in nodes if any(user not in nodes for user in node.users)]
        run = _segment(interpreter, nodes, inputs, rest, outputs)
        tensors = [values[node] for node in inputs]
        in_context = partial(copy_context().run, run)  # a backward pass on another thread needs the rules of this one
        results = checkpoint(in_context, *tensors, use_reentrant=False) if spikes else run(*tensors)
        values.update(zip(outputs, results, strict=True))
    logits: Tensor = fx.node.map_arg(result.args[0], values.__getitem__)
    return logits


def _segment(
    interpreter: fx.Interpreter,
    nodes: list[fx.Node],
    inputs: list[fx.Node],
    rest: dict[fx.Node, Any],
    outputs: list[fx.Node],
) -> Callable[..., tuple[Any, ...]]:
    """Return a function from the tensors of `inputs` to those of `outputs`.

    Its first call leaves state in the window. Later calls, which compute again, start from the state before it.
    """
    at_start, first = {node: _copied(value) for node, value in rest.items()}, True

    def run(*tensors: Tensor) -> tuple[Any, ...]:
        nonlocal first
        values, first = (rest if first else {node: _copied(value) for node, value in at_start.items()}), False
        interpreter.env = values | dict(zip(inputs, tensors, strict=True))
        for node in nodes:
            interpreter.env[node] = interpreter.run_node(node)
        return tuple(interpreter.env[node] for node in outputs)

    return run


def _copied(value: Any) -> Any:
    """Return a window with state of its own; any other value is shared."""
    if not isinstance(value, Window):
        return value
    return replace(value, membranes=dict(value.membranes), masks=dict(value.masks))


def _segments(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> Iterator[tuple[list[fx.Node], bool]]:
    """Yield the nodes of each segment, and whether it has neurons after a weighted layer."""
    nodes: list[fx.Node] = []
    weighted = spikes = False
    for node in graph.nodes:
        if node.op in ("placeholder", "output"):
            continue
        layer = modules.get(str(node.target)) if node.op in ("call_module", "get_attr") else None
        if isinstance(layer, WEIGHTED) and (spikes or not weighted):
            yield nodes, weighted and spikes
            nodes, weighted, spikes = [], True, False
        spikes = spikes or isinstance(layer, LIF)
        nodes.append(node)
    yield nodes, weighted and spikes
