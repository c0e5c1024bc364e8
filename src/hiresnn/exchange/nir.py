"""A network as a NIR graph (Pedersen et al. 2024), written so that other libraries read it alike, and read again.

NIR's neuron is a differential equation, tau v' = v_leak - v + r I, with a spike at v > v_threshold and a reset to
v_reset. A reader takes steps of dt: v += dt / tau (v_leak - v + r I). With u the membrane of Eq. 1, v = (1 - leak) u:

    r = 1,  tau = dt / (1 - leak),  v_threshold = (1 - leak) threshold,  v_leak = v_reset = 0

This is the only encoding that the readers of snnTorch, SpikingJelly and norse understand alike. For the same reason a
leak of 1 is written as 1 - 1e-6, average pooling as a sum whose factor is in the weights behind it, and every weighted
layer has a bias. NIR has only a reset to a value; what else a file cannot say is listed by `unsupported`.
"""

import io
import math
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from hiresnn.errors import UsageError, closest, user_code
from hiresnn.exchange.compare import optional
from hiresnn.exchange.nir_run import in_order, tensor, whole
from hiresnn.exchange.step_graph import INPUT, StepGraph, StepNode, free_identifier
from hiresnn.files import write_atomically
from hiresnn.models import Normalise
from hiresnn.network import SpikingNetwork, spiking_graph
from hiresnn.neurons import LIF, Reset

IDEAL_LEAK = 1 - 1e-6
"""What stands for a leak of 1: an infinite tau has no number."""
OUTPUT = "output"
DIALECTS = {"portable": 1e-4, "snntorch": 1e-4, "spikingjelly": 1e-4, "norse": 1e-3}
"""Reader -> seconds per timestep that it assumes by default; norse reads the portable file with dt=1e-4."""
Values = tuple[float, float]
"""Threshold and leak of a layer of neurons."""


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
    return all(len(_weighted(graph) & set(node.sources)) < 2 for node in graph.nodes)


def _weighted(graph: StepGraph) -> set[str]:
    return {node.name for node in graph.nodes if isinstance(node.layer, (nn.Conv2d, nn.Linear))}


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
        _require_own_content(path)
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


def _taken_up(
    name: str, sources: Mapping[str, Sequence[str]], weighted: Collection[str], flat: Collection[str]
) -> bool:
    """Tell whether all that follows a pooling are weighted layers of this one input, which can take up its factor."""
    users = [user for user, entering in sources.items() if name in entering]
    return all(
        len(sources[user]) == 1 and (user in weighted or (user in flat and _taken_up(user, sources, weighted, flat)))
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
        nodes = self.graph.nodes
        sources = {**{node.name: node.sources for node in nodes}, OUTPUT: self.graph.outputs}
        flat = {node.name for node in nodes if isinstance(node.layer, nn.Flatten)}
        for node in nodes:
            if isinstance(node.layer, nn.AvgPool2d) and _taken_up(node.name, sources, _weighted(self.graph), flat):
                self.pixels[node.name] = math.prod(pair(node.layer.kernel_size))
            elif isinstance(node.layer, nn.Flatten) and node.sources[0] in self.pixels:
                self.pixels[node.name] = self.pixels[node.sources[0]]

    def write(self, node: StepNode) -> Any:
        layer, source = node.layer, node.sources[0]
        factor = 1 / self.pixels.get(source, 1)
        match layer:
            case LIF():
                rest = 1 - min(layer.leak.item(), IDEAL_LEAK)
                values = {"tau": float(np.float32(self.dt)) / rest, "r": 1.0, "v_leak": 0.0, "v_reset": 0.0}
                values["v_threshold"] = rest * layer.threshold.item()
                return self.nir.LIF(**{name: np.full(node.shape, value, np.float32) for name, value in values.items()})
            case nn.Flatten():
                shape = np.array(self.graph.shape_of(source))
                return self.nir.Flatten(input_type={"input": shape}, start_dim=0, end_dim=-1)
            case nn.Linear():
                return self.nir.Affine(_array(layer.weight * factor), _bias(layer))
            case nn.Conv2d():
                weight = _ungrouped(layer) * factor
                return self._convolution(source, weight, _bias(layer), layer.stride, layer.padding, layer.dilation)
            case nn.AvgPool2d():
                size, stride, padding = pair(layer.kernel_size), pair(layer.stride), pair(layer.padding)
                if node.name in self.pixels:
                    return self.nir.SumPool2d(np.array(size), np.array(stride), np.array(padding))
                channels = node.shape[0]  # nothing behind it can take up the factor, so it becomes a dense convolution
                weight = torch.eye(channels)[:, :, None, None] * torch.full(size, 1 / math.prod(size))
                return self._convolution(source, weight, np.zeros(channels, np.float32), stride, padding, 1)
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


def _ungrouped(layer: nn.Conv2d) -> Tensor:
    """Return the weights of a convolution over all channels: some readers refuse groups."""
    if layer.groups == 1:
        return layer.weight
    group = torch.ones(layer.out_channels // layer.groups, layer.in_channels // layer.groups)
    dense: Tensor = torch.block_diag(*[group] * layer.groups).to(layer.weight)  # type: ignore[no-untyped-call]
    return layer.weight.repeat(1, layer.groups, 1, 1).where(dense[:, :, None, None] > 0, 0)


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


def from_nir(
    source: str | Path | Any, timesteps: int | None = None, *, dt: float | None = None, reset: Reset = "zero"
) -> SpikingNetwork:
    """Return the network in a NIR file, in eval mode.

    The same input is presented at every timestep, and the logits are the output summed over the timesteps. Images are
    not normalised unless the graph does it.

    Args:
        source: path of a NIR file, or a nir.NIRGraph.
        timesteps: T; None takes that in the metadata of a file that hiresnn wrote.
        dt: seconds per timestep; None takes that in the metadata, or else 1e-4.
        reset: of all neurons. The file says "zero"; "subtract" restores a network that was trained with it.

    Raises:
        UsageError: the package nir is missing, the file cannot be read or is no NIR file, T is not known, or a node
            cannot be imported; the message names it.
    """
    graph = source
    if isinstance(source, (str, Path)):
        nir, path = optional("nir", "nir"), Path(source)
        if not path.is_file():
            raise UsageError(f"there is no file {path}; check the path.")
        with user_code(f"{path} is not a NIR file: nir.read", "; check how it was written."):
            _require_own_content(path)
            graph = nir.read(path)
    metadata = getattr(graph, "metadata", None) or {}
    if timesteps is None:
        if "timesteps" not in metadata:
            raise UsageError("the NIR file does not say for how many timesteps it was trained; give timesteps.")
        timesteps = int(metadata["timesteps"])
    builder = _Reader(graph, float(metadata.get("dt", 1e-4)) if dt is None else dt)
    network = spiking_graph(builder.network(), timesteps, reset=reset, max_pool="spikes").eval()
    set_neurons(network, builder.neurons)
    return network


MOST_UNPACKED, MOST_TIMES = 2**28, 20
"""Bytes that the arrays of a file may take in memory, and how many times those of the file, if that is more."""


def _require_own_content(path: Path) -> None:
    """Refuse an HDF5 file that takes content from other files, or needs far more memory than its size explains."""
    unpacked = 0

    def look(group: Any) -> None:
        nonlocal unpacked
        for name in group:
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise UsageError(f"{path}: {group.name}/{name} is a link, which is not followed; write the file again.")
            entry = group[name]
            if isinstance(entry, h5py.Group):
                look(entry)
            elif entry.external or entry.is_virtual:
                raise UsageError(f"{path}: {entry.name} is stored in another file, which is not read.")
            else:
                unpacked += entry.nbytes

    h5py = optional("h5py", "nir")
    with h5py.File(path, "r") as file:
        look(file)
    if unpacked > max(MOST_UNPACKED, MOST_TIMES * path.stat().st_size):
        raise UsageError(f"{path} would take {unpacked / 1e9:.1f} GB of memory, too much for a file of its size.")


def set_neurons(network: SpikingNetwork, values: Mapping[str, Values]) -> None:
    """Set threshold and leak of every layer of neurons."""
    for name, neuron in network.neurons.items():
        threshold, leak = values[name]
        neuron.threshold.data.fill_(threshold)
        neuron.leak.data.fill_(leak)


@dataclass
class _Reader:
    """Builds an ANN with the structure of a NIR graph, whose ReLUs become the neurons with these values."""

    nir: Any
    dt: float
    root: nn.Module = field(default_factory=nn.Module)
    neurons: dict[str, Values] = field(default_factory=dict)
    pixels: dict[str, int] = field(default_factory=dict)  # of the sums whose factor the next weights take up

    def network(self) -> nn.Module:
        order, self.sources = in_order(self.nir)
        graph = fx.Graph()
        values: dict[str, fx.Node] = {}
        for name in order:
            node = self.nir.nodes[name]
            node_type = type(node).__name__
            if node_type == "Input":
                values[name] = graph.placeholder("images")
                continue
            value, *terms = (values[source] for source in self.sources[name])
            for term in terms:
                value = graph.call_function(operator.add, (value, term))
            if node_type == "Output":
                graph.output(value)
                continue
            layer_name = free_identifier(name, dir(self.root))  # also of what every module has, such as training
            self.root.add_module(layer_name, self._layer(name, node_type, node))
            if node_type in ("LIF", "IF"):
                self.neurons[layer_name] = self._values(name, node, leaky=node_type == "LIF")
            values[name] = graph.call_module(layer_name, (value,))
        return fx.GraphModule(self.root, graph, "NirNetwork")

    def _layer(self, name: str, node_type: str, node: Any) -> nn.Module:
        if node_type in ("LIF", "IF"):
            return nn.ReLU()
        if node_type in ("Affine", "Linear"):
            outputs, inputs = node.weight.shape
            return self._weighted(name, node, nn.Linear(inputs, outputs, bias=False))
        if node_type == "Conv2d":
            outputs, inputs, *size = node.weight.shape
            stride, padding, dilation, groups = map(whole, (node.stride, node.padding, node.dilation, node.groups))
            layer = nn.Conv2d(inputs * groups, outputs, tuple(size), stride, padding, dilation, groups, bias=False)
            return self._weighted(name, node, layer)
        if node_type in ("AvgPool2d", "SumPool2d"):
            size, stride, padding = (pair(value) for value in (node.kernel_size, node.stride, node.padding))
            types = {name: type(node).__name__ for name, node in self.nir.nodes.items()}
            weighted = [name for name, node_type in types.items() if node_type in ("Affine", "Linear", "Conv2d")]
            flat = [name for name, node_type in types.items() if node_type == "Flatten"]
            if node_type == "SumPool2d" and not _taken_up(name, self.sources, weighted, flat):
                return nn.AvgPool2d(size, stride, padding, divisor_override=1)
            self.pixels[name] = size[0] * size[1] if node_type == "SumPool2d" else 1
            return nn.AvgPool2d(size, stride, padding)
        if node_type == "Flatten" and int(node.start_dim) == 0 and int(node.end_dim) in (-1, 2):
            self.pixels[name] = self.pixels.get(self.sources[name][0], 1)
            return nn.Flatten()
        raise UsageError(
            f"node {name!r} of the NIR file is a {node_type}, which cannot be imported; a network of LIF, IF, Affine, "
            "Linear, Conv2d, SumPool2d, AvgPool2d and Flatten can."
        )

    def _weighted(self, name: str, node: Any, layer: nn.Linear | nn.Conv2d) -> nn.Module:
        """Give a layer the weights of a node, times the pixels of a sum that enters it, and its bias unless it is 0."""
        weight = torch.as_tensor(node.weight, dtype=torch.float32) * self.pixels.get(self.sources[name][0], 1)
        layer.weight = nn.Parameter(weight)
        bias = getattr(node, "bias", None)
        if not (weight.isfinite().all() and np.isfinite(0.0 if bias is None else bias).all()):
            raise UsageError(f"node {name!r} of the NIR file has weights that are not finite; write the file again.")
        if bias is not None and np.any(bias):
            layer.bias = nn.Parameter(torch.as_tensor(bias, dtype=torch.float32).clone())
        return layer

    def _values(self, name: str, node: Any, leaky: bool) -> Values:
        """Return threshold and leak in units of Eq. 1; see the module."""
        numbers = {}
        for key in ("r", "v_threshold", *(("tau", "v_leak") if leaky else ()), "v_reset"):
            array = getattr(node, key, None)
            values = np.unique(np.zeros(1) if array is None else array)
            if len(values) != 1:
                raise UsageError(f"node {name!r} of the NIR file has {len(values)} values of {key} instead of one.")
            numbers[key] = float(values[0])
        for key in ("v_leak", "v_reset"):
            if numbers.get(key):
                raise UsageError(f"node {name!r} of the NIR file has {key} = {numbers[key]:g}; only 0 can be imported.")
        rest = float(tensor(np.float32(self.dt)) / numbers["tau"]) if leaky else 1.0
        threshold = numbers["v_threshold"] / (numbers["r"] * rest) if numbers["r"] * rest else 0.0
        leak = 1 - rest if leaky else 1.0
        if not (0 < threshold < math.inf and 0 <= leak <= 1):
            neuron = f"threshold {threshold:.4g} and leak {leak:.4g} with dt = {self.dt:g}"
            raise UsageError(f"node {name!r} of the NIR file has {neuron}, outside their ranges; give the file's dt.")
        return threshold, 1.0 if leak > IDEAL_LEAK - 1e-7 else leak
