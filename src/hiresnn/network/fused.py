"""A LIF layer with the dropout and the 2x2 average pooling behind it, in one pass over memory.

The spikes in between are never written: at the paper's sizes they are the largest tensors of a training step. `convert`
writes every such group of layers as one call of `fused_block` into the graph; the layers themselves stay where they
were. They are called one after another if one of them has a hook, if the window carries state, or if kernels are not
compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.autograd.function import once_differentiable

from hiresnn.network.dropout import SharedDropout
from hiresnn.network.pooling import AveragePool, spread
from hiresnn.neurons import LIF, Surrogate, Window
from hiresnn.neurons.compiled import kernel
from hiresnn.neurons.layout import flat, folded, layout_of
from hiresnn.neurons.lif import Scan, lif_steps, scan_backward
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
            scan = Scan(window.timesteps, timed, lif.reset, lif.start)
            return _fused(current, lif.threshold, lif.leak, mask, scan, lif.surrogate, pool is not None)
    rows: Tensor = lif(current, window, timed)
    if dropout is not None:
        rows = dropout(rows, window)
    return rows if pool is None else pool(rows, window)


def _fits(lif: LIF, dropout: SharedDropout | None, pool: AveragePool | None, current: Tensor, window: Window) -> bool:
    """Tell whether one pass can replace the layers."""
    if not window.fused or window.carried or isinstance(lif.surrogate, LayerRule):
        return False
    if pool is not None and not AveragePool.fits(current):
        return False
    return not any(_hooked(layer) for layer in (lif, dropout, pool) if layer is not None)


def _hooked(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)


def fuse_blocks(traced: fx.GraphModule) -> None:
    """Replace each call of a LIF layer and of the dropout and pooling behind it by one call of `fused_block`."""
    graph, modules = traced.graph, dict(traced.named_modules())

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
            layers = [call and graph.get_attr(str(call.target)) for call in (node, dropout, pool)]
        with graph.inserting_after(group[-1]):
            block = graph.create_node("call_function", fused_block, (*layers, *node.args), name=f"{node.name}_block")
        group[-1].replace_all_uses_with(block)
        for call in reversed(group):
            graph.erase_node(call)


def block_forward(current: Tensor, v_t: Tensor, leak: Tensor, mask: Tensor | None, scan: Scan, pooled: bool) -> Tensor:
    """Compute the spikes of a scan from rest, times `mask`, and where `pooled` their mean over cells of 2x2.

    Args:
        current: [T, n], or [n] where `scan.timed` is False; where `pooled`, n is [rows, 2, columns, 2, channels].
        v_t, leak: scalars.
        mask: [n], the same at every step, or None.

    Returns:
        [T, n], or [T, rows, columns, channels] where `pooled`, in the dtype of the current.
    """
    wide = torch.promote_types(current.dtype, torch.float32)
    places: list[Any] = [...]
    if pooled:
        places = [(..., i, slice(None), j, slice(None)) for i in (0, 1) for j in (0, 1)]
    scans = [lif_steps(current[place], None, v_t, leak, scan) for place in places]
    masks = [None if mask is None else mask[place] for place in places]
    rows = []
    for cell in zip(*scans, strict=True):
        spikes = [spike.to(current.dtype) for _, _, spike, _ in cell]
        spikes = [one if mask is None else one * mask for one, mask in zip(spikes, masks, strict=True)]
        rows.append((sum(one.to(wide) for one in spikes) / 4).to(current.dtype) if pooled else spikes[0])
    return torch.stack(rows)


def masked_backward(
    current: Tensor, v_t: Tensor, leak: Tensor, mask: Tensor, grad: Tensor, *options: Any
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Run `scan_backward` from rest, where `grad` [T, n] is the gradient of the spikes times `mask` [n]."""
    return scan_backward(current, None, v_t, leak, grad * mask, *options)


class _FusedBlock(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        threshold: Tensor,
        leak: Tensor,
        mask: Tensor | None,
        scan: Scan,
        surrogate: Surrogate,
        pooled: bool,
    ) -> Tensor:
        layout = layout_of(current)
        step_shape = (-1, 2, current.shape[3] // 2, 2, current.shape[1]) if pooled else (-1,)
        flat_current = flat(current, layout, (scan.timesteps, *step_shape) if scan.timed else step_shape)
        if mask is not None:
            mask = flat(mask, layout, step_shape)
        output = kernel(block_forward, True)(flat_current, threshold, leak, mask, scan, pooled)
        ctx.save_for_backward(flat_current, threshold, leak, mask)
        ctx.scan, ctx.surrogate, ctx.pooled, ctx.layout, ctx.shape = scan, surrogate, pooled, layout, current.shape
        rows = current.shape[0] if scan.timed else scan.timesteps * current.shape[0]
        sizes = [size // 2 for size in current.shape[2:]] if pooled else current.shape[2:]
        return folded(output, layout, torch.Size((rows, current.shape[1], *sizes)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        current, threshold, leak, mask = ctx.saved_tensors
        if ctx.pooled:
            # A pass of its own: the compiler makes one loop only of tensors that are all laid out alike.
            grad = spread(grad.contiguous(memory_format=ctx.layout))
        shape = (ctx.scan.timesteps, -1)
        current, grad = current.reshape(shape if ctx.scan.timed else -1), flat(grad, ctx.layout, shape)
        options = (ctx.scan, ctx.surrogate, ctx.needs_input_grad[1] or ctx.needs_input_grad[2])
        if mask is None:
            gradients = kernel(scan_backward, True)(current, None, threshold, leak, grad, *options)
        else:
            gradients = kernel(masked_backward, True)(current, threshold, leak, mask.flatten(), grad, *options)
        to_current, *to_parameters = gradients
        return folded(to_current, ctx.layout, ctx.shape), *to_parameters, None, None, None, None


_fused = cast("Callable[..., Tensor]", _FusedBlock.apply)
