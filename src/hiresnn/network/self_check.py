"""The self-check of a conversion: the graph of a network, with activations instead of spikes, against its ANN.

Stateless layers get all timesteps of a batch as one larger batch. That is right only if they compute each row of it by
itself: a layer that moves the batch out of the first dimension, or averages over it, would mix timesteps. So several
timesteps at once are compared with single ones, and one of these with the ANN.
"""

import operator
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from hiresnn.errors import UsageError, user_code
from hiresnn.models import QCFS, MeanOverBins
from hiresnn.modes import cleared, evaluating
from hiresnn.network.graph import over_time
from hiresnn.network.layers import Encoder, SharedDropout
from hiresnn.network.report import MAX_POOLS, kind_of, name_of
from hiresnn.network.spiking import SpikingNetwork
from hiresnn.network.timing import MaxPool
from hiresnn.neurons import LIF, Window

_IMAGES, _TOLERANCE = 4, 0.02
_mean_over_bins = MeanOverBins()
_FACTORS = (1.0, 1.25, 0.75)
"""Factor on the activations of each timestep, which tells timesteps apart."""


class NotRescalableError(UsageError):
    """The structure of a network does not allow `rescale`."""


@dataclass(eq=False)
class _Check(Window):
    """A window in which every neuron computes relu(current) / threshold, times the factor of the timestep.

    Where `halves`, half of the neurons, drawn at random, emit twice that of the mean current at the first of two
    timesteps, and the others at the second: the mean over time then stays that of the ANN behind affine layers alone.
    """

    factors: tuple[float, ...] = (1.0,)
    halves: bool = False

    def scaled(self, rows: Tensor) -> Tensor:
        if self.halves:
            once = self.by_step(rows)[0]
            first = torch.rand(once.shape, generator=torch.Generator().manual_seed(0)).to(once.device) < 0.5
            return torch.cat([2 * once * first, 2 * once * ~first])
        return torch.cat([factor * step for factor, step in zip(self.factors, self.by_step(rows), strict=True)])

    def at_first_step(self, rows: Tensor) -> Tensor:
        return rows  # each timestep is looked at by itself


class _Analogue(LIF):
    """Stands where the network has neurons, and computes the ANN's activation instead."""

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activate = activation.forward  # no submodule, which fx would take for unused

    def forward(self, current: Tensor, window: Window, timed: bool = True) -> Tensor:
        if not isinstance(window, _Check):  # one timestep
            activation: Tensor = self.activate(current)
            return activation
        if window.halves and timed:
            current, timed = window.by_step(current).mean(0), False
        rows = current.relu() / self.threshold  # continuous, as QCFS is not
        return window.scaled(rows if timed else window.with_time(rows))


class _Images(Encoder):
    """Stands where the network has its encoder, and passes the images, or the mean of event grids, on."""

    def forward(self, images: Tensor, window: Window) -> Tensor:
        images = _mean_over_bins(images)
        if self.encoding == "direct":
            return images
        rows = window.with_time(images)
        return window.scaled(rows) if isinstance(window, _Check) else rows


def analogue(ann: nn.Module, network: SpikingNetwork) -> SpikingNetwork:
    """Return a copy of `ann` with the graph of `network`, which was made from it: `.neurons` are its activations.

    In the ANN, an activation that is a function or is called twice has no module of its own, and a max pool may stand
    behind it. The network has a layer of neurons for each call, behind the pool, and so has this copy of the ANN.
    """
    max_pool: MaxPool = "currents" if network.pools_currents else "spikes"
    return over_time(ann, 1, _Analogue, _Images(network.encoding.encoding), max_pool).fuse(False)


def check_graph(ann: nn.Module, network: SpikingNetwork, images: Tensor) -> None:
    """Compare the graph that `network` was made from with `ann`, and T timesteps at once with single ones.

    What the ANN computes otherwise than a mean over time becomes a warning of `network.report`.

    Args:
        images: [B, C, H, W] in [0, 1], of which the first are used, or event grids.

    Raises:
        UsageError: the ANN fails on the images, its graph gives other logits, or a layer mixes timesteps.
    """
    with _analogue_of(ann, network, images) as (graph, images):
        count = len(images)
        shape = list(images.shape[1:])
        with user_code(
            f"the network itself, on images of shape {shape},", "; convert it with images of the size that it takes"
        ):
            logits, again = (ann(images.clone()).double() for _ in range(2))
        if not torch.equal(logits, again):
            _warn(network, "the ANN gives other logits at every call in eval mode, so the conversion was not checked.")
            return
        traced = graph(images.clone()).double() if logits.shape[0] == count else logits
        if not _close(traced, logits, rtol=0, atol=_TOLERANCE):
            raise UsageError(
                f"{type(ann).__name__} cannot be converted: traced by torch.fx it gives other logits, which differ by "
                f"{float((logits - traced).abs().max()):.3g}. Look for layers that write into tensors used elsewhere, "
                "or a BatchNorm1d behind a linear layer with more than two dimensions."
            )
        steps = [_values(graph, images, _Check(1, count, factors=(factor,))) for factor in _FACTORS]

        def expected(node: fx.Node, value: Tensor) -> Tensor:
            parts = [step[node.name] for step in steps]
            together = torch.cat(parts) if parts[0].dim() else parts[0]
            return together if together.shape == value.shape else parts[0]  # a value without time

        size = count * len(_FACTORS)
        with user_code(f"the network, called with {size} images,", "; a network must accept batches of any size"):
            difference = _difference(
                graph, images, _Check(len(_FACTORS), count, factors=_FACTORS), expected, rtol=1e-3, atol=1e-4
            )
        if difference is not None:
            node, neuron = difference
            raise UsageError(
                f"{name_of(node)!r} mixes the rows of a batch, so {name_of(neuron)!r} would mix timesteps; keep the "
                "batch in the first dimension from one neuron to the next."
            )
        _warn_of_not_affine(graph, network, images, steps[0])


def _warn(network: SpikingNetwork, warning: str) -> None:
    if warning not in network.report.warnings:
        network.report.warnings.append(warning)


def _warn_of_not_affine(graph: SpikingNetwork, network: SpikingNetwork, images: Tensor, ann: dict[str, Any]) -> None:
    """Warn of the first node whose mean over time is not its value in the ANN, unless the report names it already."""
    modules, listed = dict(graph.layers.named_modules()), " ".join(network.report.warnings)
    window = _Check(2, len(images), halves=True)

    def expected(node: fx.Node, value: Tensor) -> Tensor:
        once = ann[node.name]
        if not once.dim() or value.shape != (2 * len(once), *once.shape[1:]) or not value.is_floating_point():
            return value  # without time, or an index
        right = value + window.with_time(once - torch.stack(value.chunk(2)).mean(0))
        source = _returned_by(node)
        layer = modules.get(str(source.target)) if source.op == "call_module" else None
        if kind_of(source, layer) in MAX_POOLS or repr(name_of(source)) in listed:
            value.copy_(right)  # so that the nodes behind it are judged by themselves
        return right

    difference = _difference(graph, images, window, expected, rtol=0, atol=_TOLERANCE)
    if difference is not None:
        _warn(
            network,
            f"{name_of(_returned_by(difference[0]))!r} is not affine in the spikes, so its output over time differs "
            "from that of the ANN; use a mean or a convolution there, or train the spiking network.",
        )


def _returned_by(node: fx.Node) -> fx.Node:
    """Return the node whose tuple a node takes a part of, else the node itself."""
    return node.all_input_nodes[0] if node.target is operator.getitem and isinstance(node.args[1], int) else node


def check_rescaled(
    ann: nn.Module, network: SpikingNetwork, images: Tensor, amplitudes: Mapping[fx.Node, float]
) -> None:
    """Compare every value of a rescaled network with that of `ann`; `amplitudes` has what 1 stands for in it.

    Raises:
        NotRescalableError: a layer does not grow in proportion to the spikes that it gets.
    """
    units = {node.name: amplitude for node, amplitude in amplitudes.items()}
    with _analogue_of(ann, network, images) as (graph, images):
        window = _Check(1, len(images))
        original = _values(graph, images, window)
        graph.load_state_dict(network.state_dict())

        def expected(node: fx.Node, value: Tensor) -> Tensor:
            return original[node.name] / units[node.name] if node.name in units else value

        difference = _difference(graph, images, window, expected, rtol=0, atol=0.01)
    if difference is not None:
        raise NotRescalableError(
            f"{name_of(difference[0])!r} does not grow in proportion to the spikes that it gets, so the network cannot "
            "be rescaled; put a convolution or linear layer behind each layer of neurons, remove parametrizations of "
            "weights, or convert without rescale (conversion.rescale = false in a recipe)."
        )


@contextmanager
def _analogue_of(ann: nn.Module, network: SpikingNetwork, images: Tensor) -> Iterator[tuple[SpikingNetwork, Tensor]]:
    """Yield the ANN with the graph of `network`, in eval mode, and a few images; random numbers stay as they are.

    No activation quantises meanwhile: folding a batch norm rounds otherwise, and could move an activation by a level.
    """
    devices = [images.device] if images.is_cuda else []
    with cleared("quantises", (layer for layer in ann.modules() if isinstance(layer, QCFS))):
        graph = analogue(ann, network)
        with torch.no_grad(), torch.random.fork_rng(devices), evaluating(ann), evaluating(graph):
            yield graph, _mean_over_bins(images[:_IMAGES])


def _computed(graph: SpikingNetwork, images: Tensor, window: Window) -> Iterator[tuple[fx.Node, Any]]:
    """Yield every node of a graph with its value, as soon as it is computed: later nodes may write into it."""
    interpreter, inputs = fx.Interpreter(graph.layers), iter((images.clone(), window))
    for node in graph.layers.graph.nodes:
        value = next(inputs) if node.op == "placeholder" else interpreter.run_node(node)
        interpreter.env[node] = value
        yield node, value
        for used in interpreter.user_to_last_uses.get(node, ()):
            del interpreter.env[used]


def _values(graph: SpikingNetwork, images: Tensor, window: Window) -> dict[str, Any]:
    """Return copies of the values of all nodes of a graph, by name."""
    computed = _computed(graph, images, window)
    return {node.name: value.clone() if isinstance(value, Tensor) else value for node, value in computed}


def _difference(
    graph: SpikingNetwork,
    images: Tensor,
    window: Window,
    expected: Callable[[fx.Node, Tensor], Tensor],
    **tolerances: float,
) -> tuple[fx.Node, fx.Node] | None:
    """Return the node whose value is not the expected one, and the neurons or the output that it reaches; else None."""
    modules, origins = dict(graph.layers.named_modules()), dict[fx.Node, fx.Node]()
    for node, value in _computed(graph, images, window):
        if isinstance(value, Tensor) and not _close(value, expected(node, value), **tolerances):
            origins[node] = next((origins[source] for source in node.all_input_nodes if source in origins), node)
            for user in node.users:
                if user.op == "output" or isinstance(modules.get(str(user.target)), LIF | SharedDropout):
                    return origins[node], user
    return None


def _close(value: Tensor, expected: Tensor, *, rtol: float, atol: float) -> bool:
    """Tell whether two tensors agree; `atol` is a share of the largest expected number."""
    if value.shape != expected.shape:
        return False
    scale = float(expected.abs().nan_to_num().max()) if expected.numel() and expected.is_floating_point() else 0.0
    return torch.allclose(value, expected, rtol=rtol, atol=atol * scale, equal_nan=True)
