"""Run a NIR file: by an interpreter that solves the differential equations as a given reader does, or by the reader.

The interpreter knows nothing of the network that a file was written from, so it is the independent check of
`to_nir`. snnTorch and norse are imported only when a user exports to NIR and has them installed.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.exchange.compare import Answers, Runner, quiet
from hiresnn.exchange.step_graph import StepGraph


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
    order, sources = in_order(graph)
    images, logits = images.cpu().double(), torch.zeros(())
    membranes: dict[str, Tensor] = {}
    spikes: dict[str, list[Tensor]] = {}
    for _ in range(timesteps):
        values: dict[str, Tensor] = {}
        for name in order:
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
                    values[name] = _layer(name, node_type, node, x)
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


def _layer(name: str, node_type: str, node: Any, x: Tensor) -> Tensor:
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


def in_order(graph: Any) -> tuple[list[str], Mapping[str, list[str]]]:
    """Return the names of the nodes, each after its sources, and the sources of each; UsageError if that fails."""
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
        return list(TopologicalSorter(sources).static_order()), sources
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


def library_readers(path: Path, graph: StepGraph, dt: Mapping[str, float]) -> dict[str, Callable[[], Runner]]:
    """Return a call that reads the file, for each installed library of `dt`, which has their seconds per timestep."""

    def read(name: str) -> Runner:
        with quiet():
            nodes = import_module("nir").read(path)
            if name == "norse":
                return partial(_present, import_module("norse.torch").from_nir(nodes, dt=dt[name]), graph)
            return partial(_present, import_module("snntorch.import_nir").import_from_nir(nodes), graph)

    titles = {"snntorch": "snnTorch", "norse": "norse"}
    installed = [name for name in dt if find_spec("nirtorch") and find_spec(name)]
    return {f"{titles[name]} {version(name)}": partial(read, name) for name in installed}


@torch.no_grad()
def _present(network: nn.Module, graph: StepGraph, images: Tensor) -> Answers:
    """Present one image after the other: the libraries' Flatten would flatten a batch as well."""
    modules = dict(network.named_modules())
    steps: dict[str, list[Tensor]] = {node.name: [] for node in graph.neurons}

    def keep(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        steps[name].append((output[0] if isinstance(output, tuple) else output).reshape(-1))

    logits = []
    with ExitStack() as stack:
        for name in steps:
            stack.enter_context(modules[name].register_forward_hook(partial(keep, name)))
        for image in images.cpu().float():
            for module in modules.values():
                if callable(reset := getattr(module, "reset_mem", None)):  # snnTorch goes on from the image before
                    reset()
            state, total = None, torch.zeros(())
            for _ in range(graph.timesteps):
                output, state = network(image[None], state)
                total = total + output.reshape(-1)
            logits.append(total)
    shape = (len(images), graph.timesteps, -1)
    return torch.stack(logits), {
        name: torch.stack(trains).view(shape).transpose(0, 1) for name, trains in steps.items()
    }
