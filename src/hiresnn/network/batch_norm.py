"""Batch norm without batches: folded into the layer before it, or kept as a fixed affine map of its channels."""

from collections.abc import Iterator
from typing import no_type_check

import torch
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.nn.utils.parametrize import is_parametrized

from hiresnn.errors import UsageError
from hiresnn.network.report import BATCH_NORMS, WEIGHTED, Change


class ChannelAffine(nn.Module):
    """A batch norm in eval mode: weight * x + bias per channel, the same for every row and timestep.

    The statistics of the ANN's training are part of weight and bias, which are trained further as other weights are.

    Args:
        norm: a batch norm with running statistics.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm) -> None:
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        with torch.no_grad():
            scale = torch.rsqrt(norm.running_var + norm.eps)
            scale = scale if norm.weight is None else scale * norm.weight
            shift = -norm.running_mean * scale
            self.weight = nn.Parameter(scale)
            self.bias = nn.Parameter(shift if norm.bias is None else shift + norm.bias)

    @no_type_check
    def forward(self, input: Tensor) -> Tensor:
        shape = (1, -1, *(1,) * (input.dim() - 2))
        return input * self.weight.view(shape) + self.bias.view(shape)

    def extra_repr(self) -> str:
        return f"channels={len(self.weight)}"


def remove_batch_norms(traced: fx.GraphModule) -> Iterator[tuple[fx.Node, Change]]:
    """Fold or replace each batch norm; yields where it was and what became of it.

    A batch norm is folded into a convolution or linear layer whose output nothing else uses. Any other one, as in
    pre-activation networks and DenseNets, becomes a `ChannelAffine`.

    Raises:
        UsageError: a batch norm has no running statistics, or the layer before it has parametrized weights.
    """
    done: set[fx.Node] = set()
    for node in list(traced.graph.nodes):
        norm = traced.get_submodule(node.target) if node.op == "call_module" else None
        if node in done or not isinstance(norm, BATCH_NORMS):  # an earlier call may have replaced it
            continue
        if norm.running_mean is None:
            raise UsageError(
                f"batch norm {node.target!r} has no running statistics, so it cannot be folded; train it with "
                "track_running_stats=True."
            )
        source = node.all_input_nodes[0]  # also where it is called by keyword
        layer = traced.get_submodule(source.target) if source.op == "call_module" else None
        calls = [call for call in traced.graph.nodes if call.op == "call_module" and call.target == source.target]
        norms = {user for call in calls for user in call.users}
        if isinstance(layer, WEIGHTED) and all(user.target == node.target for user in norms):
            if is_parametrized(layer):
                raise UsageError(
                    f"batch norm {node.target!r} cannot be folded into {source.target!r}, whose weights are "
                    "parametrized; remove that first (torch.nn.utils.parametrize.remove_parametrizations)."
                )
            if isinstance(layer, nn.Linear):
                merged: nn.Module = fuse_linear_bn_eval(layer, norm)
            else:
                merged = fuse_conv_bn_eval(layer, norm)
            traced.add_submodule(str(source.target), merged)
            for user in norms:
                user.replace_all_uses_with(user.all_input_nodes[0])
                traced.graph.erase_node(user)
            done |= norms
            yield node, Change(str(node.target), "BatchNorm", f"part of {source.target}")
        else:
            traced.add_submodule(node.target, ChannelAffine(norm))
            yield node, Change(str(node.target), "BatchNorm", "ChannelAffine, a fixed scale and shift per channel")
    traced.delete_all_unused_submodules()
    traced.recompile()
