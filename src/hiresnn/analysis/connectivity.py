"""Which layers carry weights, what reaches them, and how many connections leave each of their inputs."""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float64
from torch import Tensor, fx, nn
from torch.func import functional_call

from hiresnn.errors import UsageError
from hiresnn.network import Encoder, SpikingNetwork
from hiresnn.neurons import LIF

WEIGHTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)

_PRODUCTS = (
    *(F.linear, F.bilinear, F.conv1d, F.conv2d, F.conv3d, F.scaled_dot_product_attention),
    *(F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
    *(torch.matmul, torch.mm, torch.mv, torch.bmm, torch.addmm, torch.addmv, torch.addbmm, torch.baddbmm),
    *(torch.dot, torch.einsum, torch.tensordot, operator.matmul),
    *("matmul", "mm", "mv", "bmm", "addmm", "addmv", "addbmm", "baddbmm", "dot"),
)


class Synapses(NamedTuple):
    """One use of a convolution or linear layer in a spiking network.

    Attributes:
        name: of the module; a later use of the same module has its number behind it.
        layer: the module.
        timed: its input changes from step to step. False: the image's side of the network, computed once.
        analog: its input comes from no neuron, but from the image or straight from another weighted layer.
        first_use: False where an earlier use of the same module already counted its parameters.
    """

    name: str
    layer: nn.Module
    timed: bool
    analog: bool
    first_use: bool


class _Signal(NamedTuple):
    timed: bool
    analog: bool


def synapses(network: SpikingNetwork) -> dict[fx.Node, Synapses]:
    """Node of `network.graph` -> the weighted layer called there, first layer first.

    Raises:
        UsageError: a weighted operation whose connections cannot be counted.
    """
    modules = dict(network.graph.named_modules())
    signals: dict[fx.Node, _Signal] = {}
    uses: Counter[str] = Counter()
    found: dict[fx.Node, Synapses] = {}
    for node in network.graph.graph.nodes:
        layer = modules[str(node.target)] if node.op == "call_module" else None
        _refuse_uncounted(node, layer)
        reaching = list(_reaching(node, signals))
        timed = any(signal.timed for signal in reaching)
        analog = any(signal.analog for signal in reaching)
        if isinstance(layer, LIF) or (isinstance(layer, Encoder) and layer.encoding == "poisson"):
            signals[node] = _Signal(timed=True, analog=False)
        elif isinstance(layer, WEIGHTED):
            name = str(node.target)
            uses[name] += 1
            shown = name if uses[name] == 1 else f"{name}_{uses[name]}"
            found[node] = Synapses(shown, layer, timed, analog, uses[name] == 1)
            signals[node] = _Signal(timed, analog=True)
        elif node.op == "placeholder" and not signals:
            signals[node] = _Signal(timed=False, analog=True)
        elif reaching:
            signals[node] = _Signal(timed, analog)
    return found


def _reaching(node: fx.Node, signals: dict[fx.Node, _Signal]) -> Iterator[_Signal]:
    return (signals[source] for source in node.all_input_nodes if source in signals)


def _refuse_uncounted(node: fx.Node, layer: nn.Module | None) -> None:
    if node.op in ("call_function", "call_method") and node.target in _PRODUCTS:
        raise UsageError(
            f"the network calls {node.name} as a function, and its connections are not counted; "
            "write it as an nn.Linear or nn.Conv module."
        )
    if layer is None or isinstance(layer, (LIF, *WEIGHTED)):
        return
    if any(True for _ in layer.parameters()):
        raise UsageError(
            f"layer {node.target!r} is a {type(layer).__name__}, whose operations are not counted; energy knows "
            "convolutions and linear layers."
        )


def fan_out(layer: nn.Module, inputs: Tensor) -> Float64[Tensor, " ..."]:
    """Connections that leave each value of one input row, [...] as the row; at the borders there are fewer.

    The gradient of the layer's summed output in its input, all weights being one: it follows every stride,
    dilation, group and padding mode, because the layer itself does.
    """
    ones = {name: torch.ones_like(value, dtype=torch.float64) for name, value in layer.named_parameters()}
    if "bias" in ones:
        ones["bias"].zero_()
    probe = torch.zeros_like(inputs[:1], dtype=torch.float64).requires_grad_()
    with torch.enable_grad():
        (connections,) = torch.autograd.grad(functional_call(layer, ones, (probe,)).sum(), probe)
    return connections[0].round()
