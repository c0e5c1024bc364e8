"""Activations computed again in the backward pass instead of stored (Chen et al. 2016), segment by segment.

A segment is a convolution or linear layer with everything up to the next one: neurons, pooling, dropout. Only its input
is stored, which for most layers is pooled spikes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, fx, nn
from torch.utils.checkpoint import checkpoint

from hiresnn.network.kinds import WEIGHTED
from hiresnn.neurons import LIF, Window


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
        found = checkpoint(run, *tensors, use_reentrant=False) if spikes else run(*tensors)
        values.update(zip(outputs, found, strict=True))
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
    before, first = {node: _copied(value) for node, value in rest.items()}, True

    def run(*tensors: Tensor) -> tuple[Any, ...]:
        nonlocal first
        known, first = (rest if first else {node: _copied(value) for node, value in before.items()}), False
        interpreter.env = known | dict(zip(inputs, tensors, strict=True))
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
