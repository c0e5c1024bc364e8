"""A network as a NIR graph (Pedersen et al. 2024), written so that other libraries read it alike.

NIR's neuron is a differential equation, tau v' = v_leak - v + r I, with a spike at v > v_threshold and a reset to
v_reset. A reader takes steps of dt: v += dt / tau (v_leak - v + r I). With u the membrane of Eq. 1, v = (1 - leak) u:

    r = 1,  tau = dt / (1 - leak),  v_threshold = (1 - leak) threshold,  v_leak = v_reset = 0

This is the only encoding that the readers of snnTorch, SpikingJelly and norse understand alike. For the same reason a
leak of 1 is written as 1 - 1e-6, average pooling as a sum whose factor is in the weights behind it, and every weighted
layer has a bias. NIR has only a reset to a value; what else a file cannot say is listed by `unsaid`.
"""

from __future__ import annotations

import io
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


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Attributes:
        dt: seconds per timestep that the reader assumes.
        integrators: write neurons as IF with a soft reset that the reader adds; only for a leak of 1.
    """

    dt: float = 1e-4
    integrators: bool = False


DIALECTS = {
    "portable": Dialect(),
    "snntorch": Dialect(),
    "spikingjelly": Dialect(),
    "norse": Dialect(dt=1e-3),  # its default; the portable file needs dt=1e-4 as an argument
    "sinabs": Dialect(integrators=True),
}
"""Reader -> the dialect that it reads with its default arguments."""


def unsaid(graph: StepGraph) -> list[str]:
    """Return what a NIR file cannot say of these neurons, each as one sentence without a full stop."""
    lifs = [node.layer for node in graph.neurons]
    found = []
    for reset in sorted({str(lif.reset) for lif in lifs} - {"zero"}):
        found.append(f'reset = "{reset}" becomes a reset to zero; train with snn.reset = "zero" to keep it')
    if any(lif.v_init for lif in lifs):
        found.append("membranes start at 0 and not at a fraction of the threshold (conversion.start)")
    if any(lif.fires_at_threshold for lif in lifs):
        found.append('condition = ">=" becomes >')
    return found


def unread(graph: StepGraph, reader: str) -> list[str]:
    """Return what a reader of the file gets wrong in this network, each as one sentence without a full stop."""
    weighted = {node.name for node in graph.nodes if isinstance(node.layer, (nn.Conv2d, nn.Linear))}
    title = {"portable": "norse 1.1", "norse": "norse 1.1", "sinabs": "sinabs 3.1"}.get(reader)
    if title and any(len(weighted & set(node.sources)) > 1 for node in graph.nodes):
        return [f"{title} cannot read this network: it computes sums of two layers in the wrong order"]
    return []


def write_nir(graph: StepGraph, path: Path, reader: str = "portable") -> None:
    """Write a network as a NIR file.

    Args:
        graph: see `step_graph`.
        path: of the file, HDF5.
        reader: one of `DIALECTS`.

    Raises:
        UsageError: the package nir is missing, the reader is unknown, or it cannot read such a network.
        RunError: the file cannot be written; what was there is kept.
    """
    nir = optional("nir", "nir")
    content = io.BytesIO()
    nir.write(content, to_nir(graph, reader))
    if DIALECTS[reader].integrators:
        _drop_resets(content)
    write_atomically(path, content.getvalue())


def is_exported_nir(path: Path) -> bool:
    """Tell whether a file is a NIR file that `write_nir` wrote.

    Raises:
        UsageError: the package nir is missing.
    """
    nir = optional("nir", "nir")
    try:
        return "logits" in (nir.read(path).metadata or {})
    except Exception:  # of h5py or nir, for whatever else is in the file
        return False


def to_nir(graph: StepGraph, reader: str = "portable") -> Any:
    """Return a network as a nir.NIRGraph; see `write_nir`."""
    if reader not in DIALECTS:
        raise UsageError(f"reader is {reader!r}; {closest(reader, DIALECTS)}.")
    nir, dialect = optional("nir", "nir"), DIALECTS[reader]
    pools = {node.name for node in graph.nodes if isinstance(node.layer, nn.AvgPool2d) and _foldable(graph, node)}
    writer = _Writer(nir, graph, dialect, pools)
    nodes: dict[str, Any] = {INPUT: nir.Input(input_type={"input": np.array(graph.image)})}
    nodes |= {node.name: writer.write(node) for node in graph.nodes}
    logits = graph.shape_of(graph.outputs[0])
    nodes[OUTPUT] = nir.Output(output_type={"output": np.array(logits)})
    edges = [(source, node.name) for node in graph.nodes for source in node.sources]
    edges += [(source, OUTPUT) for source in graph.outputs]
    metadata = {"timesteps": graph.timesteps, "dt": dialect.dt, "logits": "sum of the output over the timesteps"}
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


@dataclass(frozen=True)
class _Writer:
    nir: Any
    graph: StepGraph
    dialect: Dialect
    pools: set[str]  # those that become sums

    def write(self, node: StepNode) -> Any:
        """Return the NIR node of a layer."""
        layer = node.layer
        if isinstance(layer, LIF):
            return self._neurons(node.name, layer, node.shape)
        if isinstance(layer, Normalise):
            return self._normalise(layer)
        if isinstance(layer, nn.AvgPool2d):
            return self._pool(node, layer)
        if isinstance(layer, nn.Flatten):
            shape = np.array(self.graph.shape_of(node.sources[0]))
            return self.nir.Flatten(input_type={"input": shape}, start_dim=0, end_dim=-1)
        factor = self._factor(node.sources[0])
        if isinstance(layer, nn.Linear):
            return self.nir.Affine(_array(layer.weight * factor), _bias(layer))
        assert isinstance(layer, nn.Conv2d)
        weight = _ungrouped(layer) * factor
        return self._convolution(node.sources[0], weight, _bias(layer), layer.stride, layer.padding, layer.dilation)

    def _factor(self, source: str) -> float:
        """Return the factor of an average that its sum lacks: 1 / pixels behind a pooling, else 1."""
        node = next((node for node in self.graph.nodes if node.name == source), None)
        if node is not None and isinstance(node.layer, nn.Flatten):
            return self._factor(node.sources[0])
        if node is None or node.name not in self.pools:
            return 1.0
        height, width = pair(node.layer.kernel_size)
        return 1 / (height * width)

    def _convolution(
        self, source: str, weight: Tensor, bias: NDArray[Any], stride: Any, padding: Any, dilation: Any
    ) -> Any:
        if weight.shape[2] != weight.shape[3]:
            raise UsageError(
                f"a convolution or pooling behind {source!r} has windows of {weight.shape[2]} x {weight.shape[3]} "
                "pixels, but the package nir handles only square ones; export to onnx, or use square windows."
            )
        return self.nir.Conv2d(
            input_shape=tuple(self.graph.shape_of(source)[1:]), weight=_array(weight), bias=bias,
            stride=pair(stride), padding=pair(padding), dilation=pair(dilation), groups=1,
        )  # fmt: skip

    def _normalise(self, layer: Normalise) -> Any:
        """Return (image - mean) / std as a dense convolution of one pixel."""
        mean, std = layer.mean.flatten().double(), layer.std.flatten().double()
        weight = torch.diag(1 / std)[:, :, None, None]
        return self._convolution(INPUT, weight, _array(-mean / std), 1, 0, 1)

    def _pool(self, node: StepNode, layer: nn.AvgPool2d) -> Any:
        """Return a sum, or a dense convolution where nothing behind the pooling can take up the factor."""
        size, stride, padding = pair(layer.kernel_size), pair(layer.stride), pair(layer.padding)
        if node.name in self.pools:
            return self.nir.SumPool2d(np.array(size), np.array(stride), np.array(padding))
        channels = node.shape[0]
        weight = torch.eye(channels)[:, :, None, None] * torch.full(size, 1 / (size[0] * size[1]))
        return self._convolution(node.sources[0], weight, np.zeros(channels, np.float32), stride, padding, 1)

    def _neurons(self, name: str, lif: LIF, shape: tuple[int, ...]) -> Any:
        leak, threshold = lif.leak.item(), lif.threshold.item()

        def everywhere(value: float) -> NDArray[Any]:
            return np.full(shape, value, np.float32)

        if self.dialect.integrators:
            if leak != 1:
                raise UsageError(
                    f"layer {name!r} has leak {leak:.4g}, but sinabs reads LIF neurons with an error; train with "
                    "leak 1 (conversion.leak = 1 and snn.train_neurons = false), or export --to sinabs."
                )
            # nir 1.0.4 has no v_reset, and 1.0.6 insists on one.
            reset = {"v_reset": everywhere(0)} if "v_reset" in self.nir.IF.__dataclass_fields__ else {}
            return self.nir.IF(r=everywhere(1), v_threshold=everywhere(threshold), **reset)
        rest = 1 - min(leak, IDEAL_LEAK)
        return self.nir.LIF(
            tau=everywhere(float(np.float32(self.dialect.dt)) / rest), r=everywhere(1), v_leak=everywhere(0),
            v_threshold=everywhere(rest * threshold), v_reset=everywhere(0),
        )  # fmt: skip


def _drop_resets(content: io.BytesIO) -> None:
    """Remove v_reset, which nir before 1.0.6 cannot read, from a file."""
    with optional("h5py", "nir").File(content, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        for name in names:
            if name.endswith("/v_reset"):
                del file[name]


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
