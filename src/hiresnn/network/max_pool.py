"""Max pooling in front of the neurons instead of behind them.

A ReLU (or QCFS) never decreases, so max(relu(x)) = relu(max(x)): the ANN may pool before it activates. For neurons the
order matters. The maximum over the spikes of a timestep is 1 if any of them spikes, so four neurons that spike in turn
give a rate four times as high as each. The maximum over their input currents is exact where these are the same at every
step, and closer elsewhere. It also leaves fewer neurons.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import fx, nn

from hiresnn.models import QCFS
from hiresnn.network.report import MAX_POOLS, Change, kind_of, name_of

MaxPool = Literal["currents", "spikes"]
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
