"""Neurons with the dropout and the pooling behind them, in one pass over memory.

The spikes in between are never written: at the paper's sizes they are the largest tensors of a training step. A hook
on one of the layers, or state that a window carries, has the layers called one by one instead.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.autograd.function import once_differentiable

from hiresnn.network.dropout import SharedDropout
from hiresnn.network.pooling import AveragePool, spread
from hiresnn.neurons import LIF, Window
from hiresnn.neurons.layout import flat, folded, layout_of
from hiresnn.neurons.rules.layer import LayerRule
from hiresnn.neurons.scan import Scan, fused_kernel, kernels, scan_backward, spike_steps
from hiresnn.neurons.surrogate import Surrogate


class Merged(nn.Module):
    """A LIF layer and what follows it: dropout, 2x2 average pooling, or one behind the other.

    The layers stay what they are, and are called one after the other wherever one pass cannot stand for them.
    """

    def __init__(self, lif: LIF, dropout: SharedDropout | None, pool: AveragePool | None) -> None:
        super().__init__()
        self.lif, self.dropout, self.pool = lif, dropout, pool

    def forward(self, current: Tensor, window: Window) -> Tensor:
        """What the last of the layers gives: rows [T*B, ...] in the dtype of `current`, which may have no time yet."""
        if self._one_pass_can(current, window):
            mask = None if self.dropout is None else self.dropout.mask(current[: window.batch], window)
            if mask is not None or self.pool is not None:
                lif = self.lif
                scan = Scan(window.timesteps, window.is_timed(current), lif.reset)
                return _one_pass(current, lif.threshold, lif.leak, mask, scan, lif.surrogate, self.pool is not None)
        rows: Tensor = self.lif(current, window)
        if self.dropout is not None:
            rows = self.dropout(rows, window)
        return rows if self.pool is None else self.pool(rows)

    def _one_pass_can(self, current: Tensor, window: Window) -> bool:
        if not self.lif.fused or window.carried or isinstance(self.lif.surrogate, LayerRule):
            return False
        if self.pool is not None and not AveragePool.fits(current):
            return False
        return not any(_hooked(layer) for layer in self.children())


def merged(graph: fx.GraphModule) -> fx.GraphModule:
    """The same layers, with one call for each LIF layer and what follows it."""
    found = fx.GraphModule(graph, copy.deepcopy(graph.graph))
    modules = dict(found.named_modules())

    def follower(node: fx.Node, kind: type[nn.Module]) -> fx.Node | None:
        users = list(node.users)
        if len(users) == 1 and users[0].op == "call_module" and isinstance(modules[str(users[0].target)], kind):
            return users[0]
        return None

    for node in list(found.graph.nodes):
        if node.op != "call_module" or not isinstance(modules[str(node.target)], LIF):
            continue
        dropout = follower(node, SharedDropout)
        pool = follower(dropout or node, AveragePool)
        behind = [call for call in (dropout, pool) if call is not None]
        if not behind:
            continue
        layers = [None if call is None else modules[str(call.target)] for call in (node, dropout, pool)]
        name = f"{node.name}_merged"
        found.add_submodule(name, Merged(*cast("list[Any]", layers)))
        with found.graph.inserting_after(behind[-1]):
            behind[-1].replace_all_uses_with(found.graph.call_module(name, node.args))
        for call in reversed([node, *behind]):
            found.graph.erase_node(call)
    found.delete_all_unused_submodules()
    found.recompile()
    return found


def _hooked(layer: nn.Module) -> bool:
    """Whether somebody listens to what this layer takes or gives."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks)


def one_pass_forward(
    current: Tensor, threshold: Tensor, leak: Tensor, mask: Tensor | None, scan: Scan, pooled: bool
) -> Tensor:
    """Spikes of a scan from rest, times `mask`, and where `pooled` the mean over cells of 2x2.

    Args:
        current: [T, n], or [n] at every step; where `pooled`, n is [rows, 2, columns, 2, channels].
        threshold, leak: scalars.
        mask: [n], the same at every step, or None.
        scan: what is fixed.

    Returns:
        [T, n], or [T, rows, columns, channels] where `pooled`, in the dtype of the current.
    """
    wide = torch.promote_types(current.dtype, torch.float32)
    places: list[Any] = [...]
    if pooled:
        places = [(..., i, slice(None), j, slice(None)) for i in (0, 1) for j in (0, 1)]
    scans = [spike_steps(current[place], threshold, leak, None, scan) for place in places]
    masks = [None if mask is None else mask[place] for place in places]
    rows = []
    for at_a_step in zip(*scans, strict=True):
        kept = [spikes if mask is None else spikes * mask for (spikes, _), mask in zip(at_a_step, masks, strict=True)]
        rows.append((sum(spikes.to(wide) for spikes in kept) / 4).to(current.dtype) if pooled else kept[0])
    return torch.stack(rows)


def masked_backward(
    current: Tensor, threshold: Tensor, leak: Tensor, mask: Tensor, grad: Tensor, *rest: Any
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """`scan_backward` from rest, where `grad` [T, n] is that of the spikes times `mask` [n]."""
    return scan_backward(current, threshold, leak, None, grad * mask, *rest)


@functools.cache
def _compiled() -> tuple[Callable[..., Tensor], Callable[..., tuple[Tensor, Tensor | None, Tensor | None]]]:
    return fused_kernel(one_pass_forward), fused_kernel(masked_backward)


class _OnePass(torch.autograd.Function):
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
        a_step = (-1, 2, current.shape[3] // 2, 2, current.shape[1]) if pooled else (-1,)
        seen = flat(current, layout, (scan.timesteps, *a_step) if scan.timed else a_step)
        if mask is not None:
            mask = flat(mask, layout, a_step)
        given = _compiled()[0](seen, threshold, leak, mask, scan, pooled)
        ctx.save_for_backward(seen, threshold, leak, mask)
        ctx.scan, ctx.surrogate, ctx.pooled, ctx.layout, ctx.shape = scan, surrogate, pooled, layout, current.shape
        rows = current.shape[0] if scan.timed else scan.timesteps * current.shape[0]
        sizes = [size // 2 for size in current.shape[2:]] if pooled else current.shape[2:]
        return folded(given, layout, torch.Size((rows, current.shape[1], *sizes)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        seen, threshold, leak, mask = ctx.saved_tensors
        if ctx.pooled:
            # A pass of its own: the compiler makes one loop only of tensors that are all laid out alike.
            grad = spread(grad.contiguous(memory_format=ctx.layout))
        steps = (ctx.scan.timesteps, -1)
        seen, grad = seen.reshape(steps if ctx.scan.timed else -1), flat(grad, ctx.layout, steps)
        rest = (ctx.scan, ctx.surrogate, ctx.needs_input_grad[1] or ctx.needs_input_grad[2])
        if mask is None:
            gradients = kernels(True).backward(seen, threshold, leak, None, grad, *rest)
        else:
            gradients = _compiled()[1](seen, threshold, leak, mask.flatten(), grad, *rest)
        to_current, *to_parameters = gradients
        return folded(to_current, ctx.layout, ctx.shape), *to_parameters, None, None, None, None


_one_pass = cast("Callable[..., Tensor]", _OnePass.apply)
