"""A LIF layer with the dropout and the 2x2 average pooling behind it, in one pass over memory.

The spikes in between are never written: at the paper's sizes they are the largest tensors of a training step. A network
with compiled kernels runs a copy of its graph, in which every such group of layers is one call of `fused_block`. The
layers are called one after another if one of them has a hook, or if the window carries state.
"""

from __future__ import annotations

from torch import Tensor, fx, nn

from hiresnn.network.dropout import SharedDropout
from hiresnn.network.pooling import AveragePool
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
    """Tell whether one pass can replace the layers."""
    if window.carried or isinstance(lif.surrogate, LayerRule):
        return False
    if pool is not None and not AveragePool.fits(current):
        return False
    return not any(_hooked(layer) for layer in (lif, dropout, pool) if layer is not None)


def _hooked(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)


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
