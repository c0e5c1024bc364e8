"""Which layers have weights, what kind of input they get, and how many connections leave each value of it."""

from collections import Counter
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor, fx, nn
from torch.func import functional_call

from hiresnn.errors import UsageError
from hiresnn.foreign.flow import PRODUCTS
from hiresnn.network import ChannelAffine, Encoder, SpikingNetwork
from hiresnn.network.kinds import WEIGHTED
from hiresnn.neurons import LIF

COUNTED = (*WEIGHTED, ChannelAffine)


class Synapses(NamedTuple):
    """One use of a convolution or linear layer in a spiking network.

    Attributes:
        name: of the module; a later use of the same module has its number appended.
        layer: the module.
        timed: its input changes from step to step. False: the image's side of the network, computed once.
        analog: its input comes from no neuron, but from the image or directly from another weighted layer.
        first_use: False if an earlier use of the same module already counted its parameters.
    """

    name: str
    layer: nn.Module
    timed: bool
    analog: bool
    first_use: bool


def synapses(network: SpikingNetwork) -> dict[fx.Node, Synapses]:
    """Return node of `network.layers` -> the weighted layer called there, first layer first.

    Raises:
        UsageError: a weighted operation whose connections cannot be counted.
    """
    modules = dict(network.layers.named_modules())
    signals: dict[fx.Node, tuple[bool, bool]] = {}  # the output of a node: (timed, analog)
    uses: Counter[str] = Counter()
    found: dict[fx.Node, Synapses] = {}
    for node in network.layers.graph.nodes:
        layer = modules[str(node.target)] if node.op == "call_module" else None
        _refuse_uncounted(node, layer)
        inputs = [signals[source] for source in node.all_input_nodes if source in signals]
        timed, analog = any(each[0] for each in inputs), any(each[1] for each in inputs)
        poisson = isinstance(layer, Encoder) and layer.encoding == "poisson"
        if isinstance(layer, LIF) or poisson:
            signals[node] = True, False
        elif isinstance(layer, COUNTED):
            name = str(node.target)
            uses[name] += 1
            numbered = name if uses[name] == 1 else f"{name}_{uses[name]}"
            found[node] = Synapses(numbered, layer, timed, analog, uses[name] == 1)
            signals[node] = timed, True
        elif node.op == "placeholder" and not signals:
            signals[node] = False, True
        elif inputs:
            signals[node] = timed, analog
    return found


def _refuse_uncounted(node: fx.Node, layer: nn.Module | None) -> None:
    called = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    if node.op in ("call_function", "call_method") and called in PRODUCTS:
        raise UsageError(f"{node.name} is called as a function and cannot be counted; use an nn.Linear or nn.Conv.")
    if layer is not None and not isinstance(layer, (LIF, *COUNTED)) and any(True for _ in layer.parameters()):
        kind = type(layer).__name__
        raise UsageError(f"layer {node.target!r} is a {kind}; energy counts only convolutions and linear layers.")


def fan_out(layer: nn.Module, inputs: Tensor) -> Float64[Tensor, " ..."]:
    """Return the connections that leave each value of one input row, [...] as the row; fewer at the borders.

    This is the gradient of the layer's summed output with respect to its input, with all weights 1. It covers every
    stride, dilation, group and padding mode, because the layer itself computes it.
    """
    ones = {name: torch.ones_like(value, dtype=torch.float64) for name, value in layer.named_parameters()}
    if "bias" in ones:
        ones["bias"].zero_()
    probe = torch.zeros_like(inputs[:1], dtype=torch.float64).requires_grad_()
    with torch.enable_grad():
        (connections,) = torch.autograd.grad(functional_call(layer, ones, (probe,)).sum(), probe)
    return connections[0].round()
