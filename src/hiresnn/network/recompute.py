"""Activations computed anew in the backward pass instead of kept (Chen et al. 2016), layer by layer.

A segment is a convolution or linear layer with all that follows up to the next one: neurons, pooling, dropout. Only
its input is kept, which for most layers is pooled spikes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, fx, nn
from torch.fx.passes.split_module import split_module
from torch.utils.checkpoint import checkpoint

from hiresnn.network.merged import Merged
from hiresnn.neurons import LIF, Window

_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def in_segments(graph: fx.GraphModule) -> fx.GraphModule:
    """The same layers, called segment by segment. What draws the input, and the readout, are not segments."""
    modules = dict(graph.named_modules())
    number, spiked, begun = 0, False, False
    numbers: dict[fx.Node, int] = {}
    for node in graph.graph.nodes:
        layer = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, _WEIGHTED) and (spiked or not begun):
            number, spiked, begun = number + 1, False, True
        spiked = spiked or isinstance(layer, LIF | Merged)
        numbers[node] = number
    split = split_module(graph, nn.Module(), lambda node: numbers[node])
    for name, segment in list(split.named_children()):
        if name != "submod_0" and any(isinstance(layer, LIF) for layer in segment.modules()):
            setattr(split, name, _Recomputed(segment))
    return split


class _Recomputed(nn.Module):
    def __init__(self, segment: nn.Module) -> None:
        super().__init__()
        self.segment = segment

    def forward(self, *given: Any) -> Any:
        place = next(n for n, value in enumerate(given) if isinstance(value, Window))
        window: Window = given[place]
        # What the window carried before this call: the recomputation must not start from what the call leaves there.
        before = replace(window, residues=dict(window.residues), masks=dict(window.masks))
        calls = 0

        def run(*tensors: Tensor) -> Any:
            nonlocal calls
            calls += 1
            again = replace(before, residues=dict(before.residues), masks=dict(before.masks))
            shown = window if calls == 1 else again
            return self.segment(*tensors[:place], shown, *tensors[place:])

        return checkpoint(run, *given[:place], *given[place + 1 :], use_reentrant=False)
