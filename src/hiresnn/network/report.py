"""What a conversion did to each layer, and what in the ANN it could not make spike."""

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import fx, nn

from hiresnn.network.layers import SharedDropout
from hiresnn.neurons import LIF

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
WEIGHTED = (*CONVOLUTIONS, nn.Linear)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


_ANALOGUE_CALLS = frozenset(
    {
        *("celu", "elu", "gelu", "glu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish"),
        *("prelu", "rrelu", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh", "tanhshrink"),
    }
)
_FUNCTIONS = frozenset(
    {
        *("abs", "clamp", "clamp_", "clamp_min", "clamp_max", "clip", "exp", "hardshrink", "log", "maximum", "minimum"),
        *("pow", "sign", "sin", "softshrink", "sqrt", "square", "threshold", "where"),
    }
)
"""Functions that are activations behind a layer, and often prepare the images in front of the first one."""
MAX_POOLS = frozenset(
    {f"{kind}{n}d" for n in (1, 2, 3) for kind in ("MaxPool", "AdaptiveMaxPool", "max_pool", "adaptive_max_pool")}
)
"""Layers and functions whose output is the largest value of a window."""
_NORMS = frozenset(
    {
        *(f"InstanceNorm{n}d" for n in (1, 2, 3)),
        *("GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"),
        *("group_norm", "layer_norm", "instance_norm", "local_response_norm", "rms_norm"),
    }
)
_SOFTMAX = frozenset({"Softmax", "LogSoftmax", "Softmax2d", "softmax", "log_softmax"})
_RESHAPING = frozenset({"Flatten", "Unflatten", "Identity", "flatten", "view", "reshape", "squeeze"})


class ConversionWarning(UserWarning):
    """A network converts, but probably not as its author wants."""


class Change(NamedTuple):
    """One layer: its name, its kind in the ANN, its kind in the spiking network."""

    layer: str
    was: str
    became: str


@dataclass
class ConversionReport:
    """Which layer of the ANN became what; `print` it.

    Attributes:
        changes: layers that are no longer what they were, and max pools, in the order of the forward pass. What is not
            listed stays as it is.
        warnings: sentences about what probably is not wanted; `convert` gives each as a `ConversionWarning`.
    """

    changes: list[Change] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        width = max((len(change.layer) for change in self.changes), default=0)
        lines = [f"{layer:{width}}  {was} -> {became}" for layer, was, became in self.changes]
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])


def warnings_of(traced: fx.GraphModule) -> list[str]:
    """Look for activations that stay analogue, norms of each input, a softmax at the end, and a readout that spikes."""
    modules, warnings = dict(traced.named_modules()), list[str]()
    behind_weights: set[fx.Node] = set()
    for node in traced.graph.nodes:
        layer = modules.get(str(node.target)) if node.op == "call_module" else None
        kind = kind_of(node, layer)
        is_activation = type(layer).__module__ == "torch.nn.modules.activation" and kind != "MultiheadAttention"
        is_function = kind in _FUNCTIONS and not behind_weights.isdisjoint(node.all_input_nodes)
        if kind in _ANALOGUE_CALLS or is_function or (is_activation and kind not in _SOFTMAX):
            warnings.append(
                f"{name_of(node)!r} ({kind}) stays analogue: only ReLU becomes a neuron; use ReLU for a network that "
                "communicates by spikes alone."
            )
        if kind in _NORMS:
            warnings.append(
                f"{name_of(node)!r} ({kind}) normalises every timestep by the statistics of that timestep, which the "
                "ANN does not do: train the spiking network, or use BatchNorm, which becomes part of the layer before "
                "it."
            )
        has_weights = layer is not None and next(layer.parameters(), None) is not None
        if has_weights or not behind_weights.isdisjoint(node.all_input_nodes):
            behind_weights.add(node)
    (node,) = (node.all_input_nodes[0] for node in traced.graph.nodes if node.op == "output")
    while isinstance(layer := modules.get(str(node.target)), SharedDropout) or kind_of(node, layer) in _RESHAPING:
        node = node.all_input_nodes[0]
    if kind_of(node, layer) in _SOFTMAX:
        warnings.append(
            f"the network ends with a softmax, {name_of(node)!r}, whose outputs do not sum over time; "
            "end it with the layer before, whose outputs are logits."
        )
    if isinstance(layer, LIF):
        warnings.append(
            f"the network ends with the ReLU {name_of(node)!r}, so its logits are spike counts; "
            "end it with a linear layer, whose logits can take any value."
        )
    return warnings


def kind_of(node: fx.Node, layer: nn.Module | None) -> str:
    """Return the class of a layer, or the name of a function or method."""
    if layer is not None:
        return type(layer).__name__
    return str(getattr(node.target, "__name__", node.target)) if node.op.startswith("call") else ""


def name_of(node: fx.Node) -> str:
    """Return the name of a layer as in the ANN, else that of the function or method in the graph."""
    return str(node.target) if node.op == "call_module" else node.name
