"""Batch norm folded into the convolution or linear layer before it."""

from __future__ import annotations

from collections.abc import Iterator

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from hiresnn.errors import UsageError

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def fold_batch_norm(traced: fx.GraphModule) -> Iterator[tuple[str, str]]:
    """Fold each batch norm into the layer before it; yields the names of both.

    Raises:
        UsageError: a batch norm cannot be folded.
    """
    modules = dict(traced.named_modules())
    folded: set[fx.Node] = set()
    for node in list(traced.graph.nodes):
        norm = modules[str(node.target)] if node.op == "call_module" else None
        if node in folded or not isinstance(norm, _BATCH_NORMS):
            continue
        source = node.all_input_nodes[0]  # also where it is called by keyword
        layer = modules.get(str(source.target)) if source.op == "call_module" else None
        if norm.running_mean is None:
            raise UsageError(
                f"batch norm {node.target!r} has no running statistics, so it cannot be folded; train it with "
                "track_running_stats=True."
            )
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            merged: nn.Module = fuse_conv_bn_eval(layer, norm)
        elif isinstance(layer, nn.Linear):
            merged = fuse_linear_bn_eval(layer, norm)
        else:
            raise UsageError(
                f"batch norm {node.target!r} follows no convolution or linear layer and cannot be folded; "
                "put it right behind one."
            )
        calls = [call for call in traced.graph.nodes if call.op == "call_module" and call.target == source.target]
        norms = {user for call in calls for user in call.users}
        if any(user.target != node.target for user in norms):
            raise UsageError(
                f"the output of {source.target!r} is not always followed by batch norm {node.target!r}, "
                "which therefore cannot be folded; give each batch norm a layer of its own."
            )
        traced.add_submodule(str(source.target), merged)
        for user in norms:
            user.replace_all_uses_with(user.all_input_nodes[0])
            traced.graph.erase_node(user)
        folded |= norms
        yield str(node.target), str(source.target)
    traced.delete_all_unused_submodules()
    traced.recompile()
