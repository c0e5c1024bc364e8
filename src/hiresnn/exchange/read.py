"""A NIR file, or a network of snnTorch or SpikingJelly, as a `SpikingNetwork`: it can be trained, attacked and audited.

No spiking library is imported: a neuron is recognised by the attributes that its library gives it.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import fx, nn

from hiresnn.errors import UsageError, user_code
from hiresnn.exchange.compare import optional
from hiresnn.exchange.nir_run import in_order, tensor, whole
from hiresnn.exchange.nir_write import IDEAL_LEAK, pair
from hiresnn.exchange.step_graph import free_identifier
from hiresnn.network import SpikingNetwork, spiking_graph
from hiresnn.neurons import Condition, Reset


class Values(NamedTuple):
    """Threshold and leak of a layer of neurons."""

    threshold: float
    leak: float


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
    graph = _read(Path(source)) if isinstance(source, (str, Path)) else source
    metadata = getattr(graph, "metadata", None) or {}
    if timesteps is None:
        if "timesteps" not in metadata:
            raise UsageError("the NIR file does not say for how many timesteps it was trained; give timesteps.")
        timesteps = int(metadata["timesteps"])
    builder = _Ann(graph, float(metadata.get("dt", 1e-4)) if dt is None else dt)
    network = spiking_graph(builder.network(), timesteps, reset=reset, max_pool="spikes").eval()
    set_neurons(network, builder.neurons)
    return network


def _read(path: Path) -> Any:
    nir = optional("nir", "nir")
    if not path.is_file():
        raise UsageError(f"there is no file {path}; check the path.")
    with user_code(f"{path} is not a NIR file: nir.read", "; check how it was written."):
        return nir.read(path)


def set_neurons(network: SpikingNetwork, values: Mapping[str, Values]) -> None:
    """Set threshold and leak of every layer of neurons."""
    for name, neuron in network.neurons.items():
        neuron.threshold.data.fill_(values[name].threshold)
        neuron.leak.data.fill_(values[name].leak)


@dataclass
class _Ann:
    """Builds an ANN with the structure of a NIR graph, whose ReLUs become the neurons with these values.

    `pixels` has those of the sum that a node passes on, where the next weights take up the factor.
    """

    nir: Any
    dt: float
    root: nn.Module = field(default_factory=nn.Module)
    neurons: dict[str, Values] = field(default_factory=dict)
    pixels: dict[str, int] = field(default_factory=dict)

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
            if node_type == "SumPool2d" and not self._is_taken_up(name):
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

    def _is_taken_up(self, name: str) -> bool:
        """Tell whether all that follows a sum are weighted layers with this one input."""
        users = [user for user, sources in self.sources.items() if name in sources]
        node_types = {user: type(self.nir.nodes[user]).__name__ for user in users}
        return all(
            len(self.sources[user]) == 1
            and (self._is_taken_up(user) if node_type == "Flatten" else node_type in ("Affine", "Linear", "Conv2d"))
            for user, node_type in node_types.items()
        )

    def _values(self, name: str, node: Any, leaky: bool) -> Values:
        """Return threshold and leak in units of Eq. 1; see `nir_write`."""
        numbers = {}
        for key in ("r", "v_threshold", *(("tau", "v_leak") if leaky else ()), "v_reset"):
            array = getattr(node, key, None)
            values = np.unique(np.zeros(1) if array is None else array)
            if len(values) != 1:
                raise UsageError(
                    f"node {name!r} of the NIR file has {len(values)} values of {key}, so it cannot be imported; a "
                    "layer of hiresnn has one threshold and one leak."
                )
            numbers[key] = float(values[0])
        for key in ("v_leak", "v_reset"):
            if numbers.get(key):
                raise UsageError(f"node {name!r} of the NIR file has {key} = {numbers[key]:g}; only 0 can be imported.")
        rest = float(tensor(np.float32(self.dt)) / numbers["tau"]) if leaky else 1.0
        threshold = numbers["v_threshold"] / (numbers["r"] * rest) if numbers["r"] * rest else 0.0
        leak = 1 - rest if leaky else 1.0
        if not (0 < threshold < math.inf and 0 <= leak <= 1):
            raise UsageError(
                f"node {name!r} of the NIR file has threshold {threshold:.4g} and leak {leak:.4g} with dt = "
                f"{self.dt:g}; a threshold is above 0 and a leak in [0, 1]. Give the dt of the file."
            )
        return Values(threshold, 1.0 if leak > IDEAL_LEAK - 1e-7 else leak)


_RESETS: dict[tuple[str, bool], Reset] = {
    ("subtract", False): "subtract",
    ("subtract", True): "subtract-unleaked",  # one step later, so after the leak
    ("zero", False): "zero",
}
"""reset_mechanism and reset_delay of a Leaky -> the same reset of ours."""


def from_snntorch(network: nn.Module, timesteps: int) -> SpikingNetwork:
    """Return a snnTorch network as a network of hiresnn with the same spikes, in eval mode.

    One case differs: with reset_delay=False and a reset by subtraction, snnTorch resets a membrane above twice the
    threshold once more in the next step.

    Args:
        network: one timestep of the network: images [B, C, H, W] -> spikes or logits, with `Leaky` neurons that keep
            their state (init_hidden=True), such as an nn.Sequential. It does not change.
        timesteps: T, for which the same images are presented. The logits are summed over it.

    Raises:
        UsageError: there is no Leaky, or one that cannot be imported; the message names it.
    """
    return _imported(network, timesteps, "snnTorch", "reset_mechanism", _leaky, ">")


def from_spikingjelly(network: nn.Module, timesteps: int) -> SpikingNetwork:
    """Return a SpikingJelly network as a network of hiresnn with the same spikes, in eval mode.

    Args:
        network: one timestep of the network: images [B, C, H, W] -> spikes or logits, with `IFNode` and `LIFNode`
            neurons in step mode s. It does not change.
        timesteps: T, for which the same images are presented. The logits are summed over it.

    Raises:
        UsageError: there is no IFNode or LIFNode, or one that cannot be imported; the message names it.
    """
    return _imported(network, timesteps, "SpikingJelly", "surrogate_function", _node, ">=")


def _imported(
    network: nn.Module,
    timesteps: int,
    library: str,
    mark: str,
    read: Callable[[str, Any], tuple[Values, Reset]],
    condition: Condition,
) -> SpikingNetwork:
    """Replace every module with the attribute `mark` by a ReLU, convert, and set the values of the neurons."""
    root = copy.deepcopy(network)
    neurons: dict[str, Values] = {}
    resets: set[Reset] = set()
    for name, neuron in list(root.named_modules()):
        if hasattr(neuron, mark):
            neurons[name], reset = read(name, neuron)
            resets.add(reset)
            root.set_submodule(name, nn.ReLU())
    if len(resets) != 1:
        problem = f"neurons with the resets {', '.join(sorted(resets))}" if resets else f"no neuron of {library}"
        raise UsageError(f"{type(network).__name__} has {problem}; only a network with one kind can be imported.")
    imported = spiking_graph(root, timesteps, reset=resets.pop(), condition=condition, max_pool="spikes").eval()
    if imported.neurons.keys() != neurons.keys():
        other = min(imported.neurons.keys() ^ neurons.keys())
        raise UsageError(
            f"layer {other!r} is called several times or not at all, or is a ReLU, so {type(network).__name__} cannot "
            "be imported; call every neuron once per timestep."
        )
    set_neurons(imported, neurons)
    return imported


def _leaky(name: str, neuron: Any) -> tuple[Values, Reset]:
    problem = ""
    if type(neuron).__name__ != "Leaky":
        problem = "only Leaky can"
    elif not neuron.init_hidden or getattr(neuron, "output", False):
        problem = "it must keep its state (init_hidden=True) and return spikes alone (output=False)"
    elif getattr(neuron, "inhibition", False) or float(getattr(neuron, "graded_spikes_factor", 1.0)) != 1:
        problem = "inhibition and graded spikes have no counterpart"
    elif (reset := (neuron.reset_mechanism, bool(getattr(neuron, "reset_delay", True)))) not in _RESETS:
        problem = f"its reset {reset[0]!r} with reset_delay={reset[1]} has no counterpart"
    elif neuron.threshold.numel() != 1 or neuron.beta.numel() != 1:
        problem = "it has several values of threshold or beta; a layer of hiresnn has one"
    if problem:
        raise UsageError(f"layer {name!r} ({type(neuron).__name__} of snnTorch) cannot be imported: {problem}.")
    return Values(float(neuron.threshold), min(max(float(neuron.beta), 0.0), 1.0)), _RESETS[reset]


def _node(name: str, neuron: Any) -> tuple[Values, Reset]:
    class_name, problem = type(neuron).__name__, ""
    if class_name not in ("IFNode", "LIFNode"):
        problem = "only IFNode and LIFNode can"
    elif getattr(neuron, "step_mode", "s") != "s":
        problem = "it takes all timesteps at once; call functional.set_step_mode(network, 's')"
    elif neuron.v_reset not in (None, 0):
        problem = f"v_reset is {neuron.v_reset}; only None and 0 can be imported"
    if problem:
        raise UsageError(f"layer {name!r} ({class_name} of SpikingJelly) cannot be imported: {problem}.")
    reset: Reset = "subtract" if neuron.v_reset is None else "zero"
    threshold = float(neuron.v_threshold)
    if class_name == "IFNode":
        return Values(threshold, 1.0), reset
    # v' = (1 - 1 / tau) v + x, or + x / tau with decay_input, where u = tau v.
    tau = float(neuron.tau)
    return Values(threshold * (tau if neuron.decay_input else 1), 1 - 1 / tau), reset
