"""Activations that overwrite their input, as graphs without that side effect."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import fx

_CALLS = (F.relu_, torch.relu_, "relu_")
_WITH_OPTION = (F.relu, F.relu6)


def use_results(traced: fx.GraphModule) -> None:
    """Let later nodes that use the input of an in-place activation use its result, as they do in the ANN."""
    order = {node: position for position, node in enumerate(traced.graph.nodes)}
    modules = dict(traced.named_modules())
    for node in traced.graph.nodes:
        if not _in_place(node, modules):
            continue
        source = node.all_input_nodes[0]
        for user in list(source.users):
            if order[user] > order[node]:
                user.replace_input_with(source, node)
    traced.recompile()


def _in_place(node: fx.Node, modules: dict[str, torch.nn.Module]) -> bool:
    if node.op == "call_module":
        return bool(getattr(modules[str(node.target)], "inplace", False))
    return node.target in _CALLS or (
        node.target in _WITH_OPTION and bool(node.kwargs.get("inplace", len(node.args) > 1 and node.args[1]))
    )
