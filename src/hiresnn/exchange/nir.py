"""A network as a NIR graph (Pedersen et al. 2024), written so that other libraries read it alike, and read again.

NIR's neuron is a differential equation, tau v' = v_leak - v + r I, with a spike at v > v_threshold and a reset to
v_reset. A reader takes steps of dt: v += dt / tau (v_leak - v + r I). With u the membrane of Eq. 1, v = (1 - leak) u:

    r = 1,  tau = dt / (1 - leak),  v_threshold = (1 - leak) threshold,  v_leak = v_reset = 0

This is the only encoding that the readers of snnTorch, SpikingJelly and norse understand alike. For the same reason a
leak of 1 is written as 1 - 1e-6, average pooling as a sum whose factor is in the weights behind it, and every weighted
layer has a bias. NIR has only a reset to a value; what else a file cannot say is listed by `unsupported`.

`run_nir` solves the differential equations as a given reader does. It knows nothing of the network that a file was
written from, so it is the independent check of `to_nir`.
"""

import importlib
import io
import math
import operator
from collections.abc import Collection, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, fx, nn

from hiresnn.errors import UsageError, closest, install_command, user_code
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
_READING = {
    "snntorch": "from snntorch.import_nir import import_from_nir\nnetwork = import_from_nir(nir.read({path!r}))",
    "spikingjelly": "from spikingjelly.activation_based.nir_exchange import import_from_nir\n"
    "network = import_from_nir({path!r}, dt={dt:g})",
    "norse": "from norse.torch import from_nir\nnetwork = from_nir(nir.read({path!r}), dt={dt:g})",
}
_RUNNING = """
image = torch.rand(1, {shape})  # one image at a time: a Flatten of these libraries includes the batch
for module in network.modules():
    getattr(module, "reset_mem", lambda: None)()  # snnTorch would go on from the image before
state, logits = None, torch.zeros(())
for _ in range({timesteps}):
    output, state = network(image, state)
    logits = logits + output.reshape(-1)
"""
Values = tuple[float, float]
"""Threshold and leak of a layer of neurons."""


def optional(name: str, extra: str) -> Any:
    """Import a package; a UsageError names the `extra` of hiresnn that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(
            f"this needs {name}, which cannot be imported ({error}); run {install_command(extra)}."
        ) from None


def unsupported(graph: StepGraph, reader: str) -> list[str]:
    """Return what a NIR file or its reader cannot express of a network, as sentences without a full stop."""
    neurons = [node.layer for node in graph.nodes if isinstance(node.layer, LIF)]
    changes = [
        f'reset = "{reset}" becomes a reset to zero; train with snn.reset = "zero" to keep it'
        for reset in sorted({lif.reset for lif in neurons} - {"zero"})
    ]
    if any(lif.v_init for lif in neurons):
        changes.append(
            "membranes start at 0 and not at a fraction of the threshold; train with conversion.start = 0 to keep it"
        )
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


def reading_lines(path: Path, shape: Sequence[int], timesteps: int, reader: str = "portable") -> str:
    """Return Python code that reads a NIR file in the library `reader`, or in snnTorch, and runs it on one image."""
    library = _READING.get(reader, _READING["snntorch"]).format(path=str(path), dt=DIALECTS[reader])
    running = _RUNNING.format(shape=", ".join(map(str, shape)), timesteps=timesteps)
    return f"import nir\nimport torch\n{library}\n{running}"


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
    sources = {**{node.name: node.sources for node in graph.nodes}, OUTPUT: graph.outputs}
    windows, flat = {}, set()
    for node in graph.nodes:
        if isinstance(node.layer, nn.AvgPool2d):
            windows[node.name] = math.prod(pair(node.layer.kernel_size))
        elif isinstance(node.layer, nn.Flatten):
            flat.add(node.name)
    pixels = _written_as_sums(sources, windows, _weighted(graph), flat)
    nodes: dict[str, Any] = {INPUT: nir.Input(input_type={"input": np.array(graph.image)})}
    nodes |= {node.name: _nir_node(nir, graph, node, dt, pixels) for node in graph.nodes}
    nodes[OUTPUT] = nir.Output(output_type={"output": np.array(graph.shape_of(graph.outputs[0]))})
    edges = [(source, name) for name, entering in sources.items() for source in entering]
    metadata = {"timesteps": graph.timesteps, "dt": dt, "logits": "sum of the output over the timesteps"}
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata)


def _written_as_sums(
    sources: Mapping[str, Sequence[str]], windows: Mapping[str, int], weighted: Collection[str], flat: Collection[str]
) -> dict[str, int]:
    """Return the pixels of each pooling of `windows` that is a sum, and of the Flatten behind it.

    All that follows it are weighted layers of this one input, which can take up its factor.
    """

    def taken_up(name: str) -> bool:
        users = [user for user, entering in sources.items() if name in entering]
        return all(
            len(sources[user]) == 1 and (user in weighted or (user in flat and taken_up(user))) for user in users
        )

    pixels = {name: size for name, size in windows.items() if taken_up(name)}
    for name in sources:
        if name in flat and sources[name][0] in pixels:
            pixels[name] = pixels[sources[name][0]]
    return pixels


def _nir_node(nir: Any, graph: StepGraph, node: StepNode, dt: float, pixels: Mapping[str, int]) -> Any:
    """Return the NIR node of a layer; `pixels` are those of every pooling that is written as a sum."""
    layer, source = node.layer, node.sources[0]
    factor = 1 / pixels.get(source, 1)
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    match layer:
        case LIF():
            rest = 1 - min(layer.leak.item(), IDEAL_LEAK)
            values = {"tau": float(np.float32(dt)) / rest, "r": 1.0, "v_leak": 0.0, "v_reset": 0.0}
            values["v_threshold"] = rest * layer.threshold.item()
            return nir.LIF(**{name: np.full(node.shape, value, np.float32) for name, value in values.items()})
        case nn.Flatten():
            return nir.Flatten(input_type={"input": np.array(graph.shape_of(source))}, start_dim=0, end_dim=-1)
        case nn.Linear():
            return nir.Affine(_array(layer.weight * factor), _bias(layer))
        case nn.AvgPool2d() if node.name in pixels:
            return nir.SumPool2d(*(np.array(pair(x)) for x in (layer.kernel_size, layer.stride, layer.padding)))
        case nn.AvgPool2d():  # nothing behind it can take up the factor, so it becomes a dense convolution
            channels, size = node.shape[0], pair(layer.kernel_size)
            weight = torch.eye(channels)[:, :, None, None] * torch.full(size, 1 / math.prod(size))
            bias, stride, padding = np.zeros(channels, np.float32), layer.stride, layer.padding
        case nn.Conv2d():
            weight, bias = _ungrouped(layer) * factor, _bias(layer)
            stride, padding, dilation = layer.stride, layer.padding, layer.dilation
        case _:
            assert isinstance(layer, Normalise)  # (image - mean) / std as a dense convolution of one pixel
            mean, std = layer.mean.flatten().double(), layer.std.flatten().double()
            weight, bias = torch.diag(1 / std)[:, :, None, None], _array(-mean / std)
    if weight.shape[2] != weight.shape[3]:
        window = f"a convolution or pooling behind {source!r} has windows of {weight.shape[2]} x {weight.shape[3]}"
        raise UsageError(f"{window} pixels, but nir handles only square ones; export to onnx, or use square ones.")
    return nir.Conv2d(
        input_shape=tuple(graph.shape_of(source)[1:]), weight=_array(weight), bias=bias,
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
    ann, neurons = _ann(graph, float(metadata.get("dt", 1e-4)) if dt is None else dt)
    network = spiking_graph(ann, timesteps, reset=reset, max_pool="spikes").eval()
    set_neurons(network, neurons)
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


def _ann(nir_graph: Any, dt: float) -> tuple[nn.Module, dict[str, Values]]:
    """Return an ANN with the structure of a NIR graph, and the values of the neurons that its ReLUs become."""
    sources = in_order(nir_graph)
    types = {name: type(nir_graph.nodes[name]).__name__ for name in sources}
    windows = {
        name: math.prod(pair(nir_graph.nodes[name].kernel_size))
        for name, node_type in types.items()
        if node_type == "SumPool2d"
    }
    weighted = {name for name, node_type in types.items() if node_type in ("Affine", "Linear", "Conv2d")}
    flat = {name for name, node_type in types.items() if node_type == "Flatten"}
    pixels = _written_as_sums(sources, windows, weighted, flat)
    root, graph = nn.Module(), fx.Graph()
    values: dict[str, fx.Node] = {}
    neurons: dict[str, Values] = {}
    for name, node_type in types.items():
        node = nir_graph.nodes[name]
        if node_type == "Input":
            values[name] = graph.placeholder("images")
            continue
        value, *terms = (values[source] for source in sources[name])
        for term in terms:
            value = graph.call_function(operator.add, (value, term))
        if node_type == "Output":
            graph.output(value)
            continue
        layer_name = free_identifier(name, dir(root))  # also of what every module has, such as training
        if node_type in ("LIF", "IF"):
            root.add_module(layer_name, nn.ReLU())
            neurons[layer_name] = _values(name, node, dt, leaky=node_type == "LIF")
        else:
            root.add_module(layer_name, _ann_layer(name, node_type, node, pixels, sources[name][0]))
        values[name] = graph.call_module(layer_name, (value,))
    return fx.GraphModule(root, graph, "NirNetwork"), neurons


def _ann_layer(name: str, node_type: str, node: Any, pixels: Mapping[str, int], source: str) -> nn.Module:
    """Return the layer of a node. Weights take up the pixels of a sum that enters them; a bias of 0 is left out."""
    layer: nn.Linear | nn.Conv2d
    match node_type:
        case "Affine" | "Linear":
            outputs, inputs = node.weight.shape
            layer = nn.Linear(inputs, outputs, bias=False)
        case "Conv2d":
            outputs, inputs, *window = node.weight.shape
            stride, padding, dilation, groups = map(whole, (node.stride, node.padding, node.dilation, node.groups))
            layer = nn.Conv2d(inputs * groups, outputs, tuple(window), stride, padding, dilation, groups, bias=False)
        case "AvgPool2d" | "SumPool2d":
            divisor = 1 if node_type == "SumPool2d" and name not in pixels else None
            size, stride, padding = map(pair, (node.kernel_size, node.stride, node.padding))
            return nn.AvgPool2d(size, stride, padding, divisor_override=divisor)
        case "Flatten" if int(node.start_dim) == 0 and int(node.end_dim) in (-1, 2):
            return nn.Flatten()
        case _:
            raise UsageError(
                f"node {name!r} of the NIR file is a {node_type}, which cannot be imported; a network of LIF, IF, "
                "Affine, Linear, Conv2d, SumPool2d, AvgPool2d and Flatten can."
            )
    weight, bias = (
        torch.as_tensor(node.weight, dtype=torch.float32) * pixels.get(source, 1),
        getattr(node, "bias", None),
    )
    if not (weight.isfinite().all() and np.isfinite(0.0 if bias is None else bias).all()):
        raise UsageError(f"node {name!r} of the NIR file has weights that are not finite; write the file again.")
    layer.weight = nn.Parameter(weight)
    if bias is not None and np.any(bias):
        layer.bias = nn.Parameter(torch.as_tensor(bias, dtype=torch.float32).clone())
    return layer


def _values(name: str, node: Any, dt: float, *, leaky: bool) -> Values:
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
    rest = float(tensor(np.float32(dt)) / numbers["tau"]) if leaky else 1.0
    threshold = numbers["v_threshold"] / (numbers["r"] * rest) if numbers["r"] * rest else 0.0
    leak = 1 - rest if leaky else 1.0
    if not (0 < threshold < math.inf and 0 <= leak <= 1):
        neuron = f"threshold {threshold:.4g} and leak {leak:.4g} with dt = {dt:g}"
        raise UsageError(f"node {name!r} of the NIR file has {neuron}, outside their ranges; give the file's dt.")
    return threshold, 1.0 if leak > IDEAL_LEAK - 1e-7 else leak


class Reader(NamedTuple):
    """What a library makes of the neurons in a NIR file."""

    dt: float = 1e-4  # seconds per timestep
    inclusive: bool = False  # a membrane that equals the threshold spikes


READERS = {"NIR": Reader(), "snnTorch": Reader(), "norse": Reader(), "SpikingJelly": Reader(inclusive=True)}
"""Library -> its semantics (docs/deploy.md); NIR itself is a strict threshold."""


class NirRun(NamedTuple):
    """Logits [B, K], the sum of the output over the timesteps, and layer of neurons -> spikes [T, B, ...]."""

    logits: Tensor
    spikes: dict[str, Tensor]


def run_nir(graph: Any, images: Tensor, timesteps: int, reader: Reader = READERS["NIR"]) -> NirRun:
    """Present images [B, C, H, W] at every timestep to a nir.NIRGraph, in float64 on the CPU.

    Raises UsageError if a node is of a kind that is not supported, or `in_order` refuses the graph.
    """
    sources = in_order(graph)
    images, logits = images.cpu().double(), torch.zeros(())
    membranes: dict[str, Tensor] = {}
    spikes: dict[str, list[Tensor]] = {}
    for _ in range(timesteps):
        values: dict[str, Tensor] = {}
        for name in sources:
            node = graph.nodes[name]
            x = sum((values[source] for source in sources[name]), torch.zeros((), dtype=torch.float64))
            match type(node).__name__:
                case "Input":
                    values[name] = images
                case "Output":
                    logits = logits + x
                case "LIF" | "IF":
                    v = membranes.get(name, torch.zeros_like(x))
                    values[name], membranes[name] = _neurons(node, v, x, reader)
                    spikes.setdefault(name, []).append(values[name].float())
                case node_type:
                    values[name] = _computed(name, node_type, node, x)
    return NirRun(logits, {name: torch.stack(steps) for name, steps in spikes.items()})


def _neurons(node: Any, v: Tensor, x: Tensor, reader: Reader) -> tuple[Tensor, Tensor]:
    """Advance tau v' = v_leak - v + r I, or v' = r I per timestep, by one step; return spikes and v."""
    if type(node).__name__ == "LIF":
        step = tensor(np.float32(reader.dt)) / tensor(node.tau)
        v = v + step * (tensor(node.v_leak) - v + tensor(node.r) * x)
    else:
        v = v + tensor(node.r) * x
    threshold, reset = tensor(node.v_threshold), getattr(node, "v_reset", None)
    spikes = v >= threshold if reader.inclusive else v > threshold
    return spikes.double(), torch.where(spikes, 0.0 if reset is None else tensor(reset), v)


def _computed(name: str, node_type: str, node: Any, x: Tensor) -> Tensor:
    match node_type:
        case "Affine" | "Linear":
            return F.linear(x, tensor(node.weight), tensor(node.bias) if node_type == "Affine" else None)
        case "Conv2d":
            bias = None if node.bias is None else tensor(node.bias)
            options = map(whole, (node.stride, node.padding, node.dilation, node.groups))
            return F.conv2d(x, tensor(node.weight), bias, *options)
        case "SumPool2d" | "AvgPool2d":
            size, stride, padding = map(whole, (node.kernel_size, node.stride, node.padding))
            return F.avg_pool2d(x, size, stride, padding, divisor_override=1 if node_type == "SumPool2d" else None)
        case "Flatten":  # its dimensions do not count the batch
            return x.flatten(int(node.start_dim) + 1, int(node.end_dim) + (int(node.end_dim) >= 0))
        case "Scale":
            return x * tensor(node.scale)
    raise UsageError(f"node {name!r} of the NIR file is a {node_type}, which is not supported.")


def in_order(graph: Any) -> dict[str, list[str]]:
    """Return name of a node -> names of its sources, each after its sources; UsageError if that fails."""
    node_types = [type(node).__name__ for node in graph.nodes.values()]
    for node_type in ("Input", "Output"):
        if (count := node_types.count(node_type)) != 1:
            raise UsageError(f"the NIR file has {count} nodes {node_type} instead of one; check how it was written.")
    sources: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        if unknown := {source, target} - set(sources):
            raise UsageError(f"an edge of the NIR file names {min(unknown)!r}, which is no node; check its edges.")
        sources[target].append(source)
    for name, node in graph.nodes.items():
        if not sources[name] and type(node).__name__ != "Input":
            raise UsageError(f"node {name!r} of the NIR file has no input; check its edges.")
    try:
        return {name: sources[name] for name in TopologicalSorter(sources).static_order()}
    except CycleError as error:
        reason = f"node {error.args[1][0]!r} of the NIR file is part of a loop"
        raise UsageError(f"{reason}; recurrent networks are not supported.") from None


def tensor(values: Any) -> Tensor:
    """Return numbers of a NIR node in float64."""
    return torch.as_tensor(values, dtype=torch.float64)


def whole(value: Any) -> Any:
    """Return a whole number, numbers in a tuple, or a word ("same"), as torch takes them."""
    if isinstance(value, str):
        return value
    return tuple(int(one) for one in value) if hasattr(value, "__len__") else int(value)
