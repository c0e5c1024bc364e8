"""A network as a NIR graph (Pedersen et al. 2024), written so that other libraries read it alike.

NIR's neuron is a differential equation, tau v' = v_leak - v + r I, with a spike at v > v_threshold and a reset to
v_reset. A reader takes steps of dt: v += dt / tau (v_leak - v + r I). With u the membrane of Eq. 1, v = (1 - leak) u:

    r = 1,  tau = dt / (1 - leak),  v_threshold = (1 - leak) threshold,  v_leak = v_reset = 0

This is the only encoding that the readers of snnTorch, SpikingJelly and norse understand alike. For the same reason a
leak of 1 is written as 1 - 1e-6, average pooling as a sum whose factor is in the weights behind it, and every weighted
layer has a bias. NIR has only a reset to a value; what else a file cannot say is listed by `unsupported`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hiresnn.errors import UsageError, closest
from hiresnn.exchange.compare import optional
from hiresnn.exchange.step_graph import INPUT, StepGraph, StepNode
from hiresnn.files import write_atomically
from hiresnn.models import Normalise
from hiresnn.neurons import LIF

IDEAL_LEAK = 1 - 1e-6
"""What stands for a leak of 1: an infinite tau has no number."""
OUTPUT = "output"
DIALECTS = {"portable": 1e-4, "snntorch": 1e-4, "spikingjelly": 1e-4, "norse": 1e-3}
"""Reader -> seconds per timestep that it assumes by default; norse reads the portable file with dt=1e-4."""


def unsupported(graph: StepGraph, reader: str) -> list[str]:
    """Return what a NIR file or its reader cannot express of a network, as sentences without a full stop."""
    neurons = [node.layer for node in graph.nodes if isinstance(node.layer, LIF)]
    changes = [
        f'reset = "{reset}" becomes a reset to zero; train with snn.reset = "zero" to keep it'
        for reset in sorted({lif.reset for lif in neurons} - {"zero"})
    ]
    if any(lif.v_init for lif in neurons):
        changes.append("membranes start at 0 and not at a fraction of the threshold (conversion.start)")
    if any(lif.fires_at_threshold for lif in neurons):
        changes.append('condition = ">=" becomes >')
    if reader in ("portable", "norse") and not norse_reads(graph):
        changes.append("norse 1.1 cannot read this network: it computes sums of two layers in the wrong order")
    return changes


def norse_reads(graph: StepGraph) -> bool:
    """Tell whether no node sums the outputs of two weighted layers."""
    weighted = {node.name for node in graph.nodes if isinstance(node.layer, (nn.Conv2d, nn.Linear))}
    return all(len(weighted & set(node.sources)) < 2 for node in graph.nodes)


def write_nir(graph: StepGraph, path: Path, reader: str = "portable") -> None:
    """Write a network as a NIR file for one of `DIALECTS`. Raises UsageError if NIR cannot express a layer."""
    nir = optional("nir", "nir")
    content = io.BytesIO()
    nir.write(content, to_nir(graph, reader))
    write_atomically(path, content.getvalue())


def is_exported_nir(path: Path) -> bool:
    """Tell whether `write_nir` wrote a file."""
    nir = optional("nir", "nir")
    try:
        return "logits" in (nir.read(path).metadata or {})
    except Exception:  # of h5py or nir, for whatever else is in the file
        return False


def to_nir(graph: StepGraph, reader: str = "portable") -> Any:
    """Return a network as a nir.NIRGraph; see `write_nir`."""
    if reader not in DIALECTS:
        raise UsageError(f"reader is {reader!r}; {closest(reader, DIALECTS)}.")
    nir, dt = optional("nir", "nir"), DIALECTS[reader]
    writer = _Writer(nir, graph, dt)
    nodes: dict[str, Any] = {INPUT: nir.Input(input_type={"input": np.array(graph.image)})}
    nodes |= {node.name: writer.write(node) for node in graph.nodes}
    logits = graph.shape_of(graph.outputs[0])
    nodes[OUTPUT] = nir.Output(output_type={"output": np.array(logits)})
    edges = [(source, node.name) for node in graph.nodes for source in node.sources]
    edges += [(source, OUTPUT) for source in graph.outputs]
    metadata = {"timesteps": graph.timesteps, "dt": dt, "logits": "sum of the output over the timesteps"}
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata)


def _foldable(graph: StepGraph, pool: StepNode) -> bool:
    """Tell whether all that follows a pooling are weighted layers of this one input, which can take up its factor."""
    users = [node for node in graph.nodes if pool.name in node.sources]
    if pool.name in graph.outputs or any(len(user.sources) > 1 for user in users):
        return False
    return all(
        _foldable(graph, user) if isinstance(user.layer, nn.Flatten) else isinstance(user.layer, (nn.Conv2d, nn.Linear))
        for user in users
    )


@dataclass
class _Writer:
    """Makes the NIR node of a layer; `pixels` has those of every pooling that is written as a sum."""

    nir: Any
    graph: StepGraph
    dt: float

    def __post_init__(self) -> None:
        self.pixels: dict[str, int] = {}
        for node in self.graph.nodes:
            if isinstance(node.layer, nn.AvgPool2d) and _foldable(self.graph, node):
                self.pixels[node.name] = math.prod(pair(node.layer.kernel_size))
            elif isinstance(node.layer, nn.Flatten) and node.sources[0] in self.pixels:
                self.pixels[node.name] = self.pixels[node.sources[0]]

    def write(self, node: StepNode) -> Any:
        layer, source = node.layer, node.sources[0]
        factor = 1 / self.pixels.get(source, 1)
        match layer:
            case LIF():
                return self._neurons(layer, node.shape)
            case nn.Flatten():
                shape = np.array(self.graph.shape_of(source))
                return self.nir.Flatten(input_type={"input": shape}, start_dim=0, end_dim=-1)
            case nn.Linear():
                return self.nir.Affine(_array(layer.weight * factor), _bias(layer))
            case nn.Conv2d():
                weight = _ungrouped(layer) * factor
                options = layer.stride, layer.padding, layer.dilation
                return self._convolution(source, weight, _bias(layer), *options)
            case nn.AvgPool2d():
                return self._pool(node, layer)
        assert isinstance(layer, Normalise)  # (image - mean) / std as a dense convolution of one pixel
        mean, std = layer.mean.flatten().double(), layer.std.flatten().double()
        return self._convolution(source, torch.diag(1 / std)[:, :, None, None], _array(-mean / std), 1, 0, 1)

    def _convolution(
        self, source: str, weight: Tensor, bias: NDArray[Any], stride: Any, padding: Any, dilation: Any
    ) -> Any:
        if weight.shape[2] != weight.shape[3]:
            window = f"a convolution or pooling behind {source!r} has windows of {weight.shape[2]} x {weight.shape[3]}"
            raise UsageError(f"{window} pixels, but nir handles only square ones; export to onnx, or use square ones.")
        return self.nir.Conv2d(
            input_shape=tuple(self.graph.shape_of(source)[1:]), weight=_array(weight), bias=bias,
            stride=pair(stride), padding=pair(padding), dilation=pair(dilation), groups=1,
        )  # fmt: skip

    def _pool(self, node: StepNode, layer: nn.AvgPool2d) -> Any:
        """Return a sum, or a dense convolution where nothing behind the pooling can take up the factor."""
        size, stride, padding = pair(layer.kernel_size), pair(layer.stride), pair(layer.padding)
        if node.name in self.pixels:
            return self.nir.SumPool2d(np.array(size), np.array(stride), np.array(padding))
        channels = node.shape[0]
        weight = torch.eye(channels)[:, :, None, None] * torch.full(size, 1 / math.prod(size))
        return self._convolution(node.sources[0], weight, np.zeros(channels, np.float32), stride, padding, 1)

    def _neurons(self, lif: LIF, shape: Sequence[int]) -> Any:
        rest = 1 - min(lif.leak.item(), IDEAL_LEAK)
        values = {
            "tau": float(np.float32(self.dt)) / rest, "r": 1.0, "v_leak": 0.0,
            "v_threshold": rest * lif.threshold.item(), "v_reset": 0.0,
        }  # fmt: skip
        return self.nir.LIF(**{name: np.full(shape, value, np.float32) for name, value in values.items()})


def _ungrouped(layer: nn.Conv2d) -> Tensor:
    """Return the weights of a convolution over all channels: some readers refuse groups."""
    if layer.groups == 1:
        return layer.weight
    parts = layer.weight.detach().chunk(layer.groups)
    channels = parts[0].shape[1]
    weight = layer.weight.new_zeros(layer.out_channels, layer.in_channels, *layer.weight.shape[2:])
    for group, part in enumerate(parts):
        rows = slice(group * len(part), (group + 1) * len(part))
        weight[rows, group * channels : (group + 1) * channels] = part
    return weight


def _array(values: Tensor) -> NDArray[Any]:
    array: NDArray[Any] = values.detach().cpu().float().contiguous().numpy()
    return array


def _bias(layer: nn.Conv2d | nn.Linear) -> NDArray[Any]:
    """Return the bias, zeros where there is none: the readers fail without one."""
    return np.zeros(layer.weight.shape[0], np.float32) if layer.bias is None else _array(layer.bias)


def pair(value: Any) -> tuple[int, int]:
    """Return a whole number, or two of them, as two."""
    first, second = np.broadcast_to(value, 2)
    return int(first), int(second)
