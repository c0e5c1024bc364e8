"""ANN to SNN: every ReLU becomes a LIF, batch norm is folded, thresholds are calibrated layer by layer.

Works on any network made of stateless layers that torch.fx can trace, with ReLUs as modules or functions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from hiresnn.errors import UsageError
from hiresnn.models import Normalise
from hiresnn.network.calibration import THRESHOLD_SCALE, calibrate
from hiresnn.network.dropout import SharedDropout
from hiresnn.network.encoding import Encoder, Encoding
from hiresnn.network.pooling import AveragePool
from hiresnn.network.spiking import SpikingNetwork
from hiresnn.neurons import LIF, Linear, Reset, Surrogate

_RELUS = (nn.ReLU, nn.ReLU6)
_RELU_CALLS = (F.relu, F.relu_, F.relu6, torch.relu, torch.relu_, "relu", "relu_")
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_CHANNEL_DROPOUTS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_DROPOUTS = (nn.Dropout, *_CHANNEL_DROPOUTS)
_CHANNEL_DROPOUT_CALLS = (F.dropout1d, F.dropout2d, F.dropout3d)
_DROPOUT_CALLS = (F.dropout, *_CHANNEL_DROPOUT_CALLS)


def convert(
    ann: nn.Module,
    images: Float[Tensor, "batch channel height width"],
    *,
    timesteps: int,
    percentile: float = 99.7,
    threshold_scale: float = THRESHOLD_SCALE,
    leak: float = 1.0,
    reset: Reset = "subtract",
    surrogate: Surrogate | None = None,
    encoding: Encoding = "direct",
) -> SpikingNetwork:
    """Make a spiking network of a trained ANN; the ANN itself is left as it is.

    Args:
        ann: images [B, C, H, W] in [0, 1] -> logits.
        images: calibration batch of training images, such as 512 of them.
        timesteps: T, at least 1.
        percentile: of a layer's pre-activation at each step; its maximum over steps is the threshold. (0, 100]
        threshold_scale: factor on every threshold, above 0.
        leak: initial leak of every layer, in [0, 1].
        reset, surrogate, encoding: see `LIF` and `Encoder`.

    Raises:
        UsageError: a value out of range, no ReLU in the network, a layer that keeps state or never activates.
    """
    network = spiking_graph(ann, timesteps, leak=leak, reset=reset, surrogate=surrogate, encoding=encoding)
    calibrate(network, images, percentile=percentile, threshold_scale=threshold_scale)
    return network


def spiking_graph(
    ann: nn.Module,
    timesteps: int,
    *,
    leak: float = 1.0,
    reset: Reset = "subtract",
    surrogate: Surrogate | None = None,
    encoding: Encoding = "direct",
) -> SpikingNetwork:
    """The structure of the spiking network, thresholds still at 1."""
    training = ann.training
    root = copy.deepcopy(ann).eval()
    try:
        traced = fx.GraphModule(root, _Tracer().trace(root), type(ann).__name__)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        raise UsageError(
            f"{type(ann).__name__} cannot be traced by torch.fx ({error}); its forward must not branch on data."
        ) from error
    _fold_batch_norm(traced)
    device = next((parameter.device for parameter in root.parameters()), None)
    _insert_time(traced, lambda: LIF(leak=leak, reset=reset, surrogate=surrogate or Linear()).to(device), encoding)
    return SpikingNetwork(traced, timesteps, getattr(ann, "spec", None)).train(training)


class _Tracer(fx.Tracer):
    """Keeps a normalisation in one piece, so that the encoder finds its place behind it."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, Normalise) or super().is_leaf_module(m, module_qualified_name)


def _fold_batch_norm(traced: fx.GraphModule) -> None:
    """Fold each batch norm into the convolution or linear layer before it."""
    modules = dict(traced.named_modules())
    gone: set[fx.Node] = set()
    for node in list(traced.graph.nodes):
        if node in gone or node.op != "call_module" or not isinstance(norm := modules[str(node.target)], _BATCH_NORMS):
            continue
        source = node.args[0]
        layer = modules.get(str(source.target)) if source.op == "call_module" else None
        if norm.running_mean is None:
            raise UsageError(f"batch norm {node.target!r} keeps no running statistics, so it cannot be folded.")
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            folded: nn.Module = fuse_conv_bn_eval(layer, norm)
        elif isinstance(layer, nn.Linear):
            folded = fuse_linear_bn_eval(layer, norm)
        else:
            raise UsageError(
                f"batch norm {node.target!r} follows no convolution or linear layer and cannot be folded; "
                "put it right behind one."
            )
        calls = [call for call in traced.graph.nodes if call.op == "call_module" and call.target == source.target]
        norms = {user for call in calls for user in call.users}
        if any(user.target != node.target for user in norms):
            raise UsageError(
                f"the output of {source.target!r} is not always followed by batch norm {node.target!r}, "
                "which cannot be folded then; give each batch norm a layer of its own."
            )
        traced.add_submodule(str(source.target), folded)
        for user in norms:
            user.replace_all_uses_with(user.all_input_nodes[0])
            traced.graph.erase_node(user)
        gone |= norms
    traced.delete_all_unused_submodules()
    traced.recompile()


def _insert_time(traced: fx.GraphModule, neuron: Callable[[], LIF], encoding: Encoding) -> None:
    """Put encoder, neurons and shared dropout into the graph, each called with the window."""
    graph, modules = traced.graph, dict(traced.named_modules())
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    if len(placeholders) != 1:
        raise UsageError(f"the network takes {len(placeholders)} inputs; a spiking network takes images alone.")
    start = placeholders[0]
    with graph.inserting_after(start):
        window = graph.placeholder("window")
    for node in list(start.users):  # a normalisation in front belongs before the encoder
        if node.op == "call_module" and isinstance(modules[str(node.target)], Normalise):
            start = node
    used = {name for name, layer in modules.items() if not isinstance(layer, (*_RELUS, *_DROPOUTS))}
    traced.add_submodule(encoder := _free_name("encoder", used), Encoder(encoding))
    users = list(start.users)
    with graph.inserting_after(window if start is placeholders[0] else start):
        encoded = graph.call_module(encoder, (start, window))
    for user in users:
        user.replace_input_with(start, encoded)

    timed: set[fx.Node] = {encoded} if encoding == "poisson" else set()
    found = False
    for node in list(graph.nodes):
        layer = modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(layer, (nn.RNNBase, nn.RNNCellBase)):
            raise UsageError(f"layer {node.target!r} keeps state over time; only stateless layers can be converted.")
        if isinstance(layer, _RELUS) or (node.op.startswith("call") and layer is None and node.target in _RELU_CALLS):
            name = _free_name(str(node.target) if layer is not None else str(node.name), used)
            _replace(traced, node, name, neuron(), window)
            found = True
        elif isinstance(layer, _DROPOUTS):
            shared = SharedDropout(layer.p, channels=isinstance(layer, _CHANNEL_DROPOUTS))
            _replace(traced, node, _free_name(str(node.target), used), shared, window)
        elif node.op == "call_function" and node.target in _DROPOUT_CALLS and (p := _probability(node)) is not None:
            shared = SharedDropout(p, channels=node.target in _CHANNEL_DROPOUT_CALLS)
            _replace(traced, node, _free_name(str(node.name), used), shared, window)
        elif AveragePool.replaces(layer):
            traced.add_submodule(str(node.target), AveragePool())
    if not found:
        raise UsageError("the network has no ReLU (nn.ReLU or torch.relu), so there is nothing to make spike.")
    _meet_in_time(traced, window, timed)
    traced.delete_all_unused_submodules()
    graph.lint()
    traced.recompile()


def _probability(node: fx.Node) -> float | None:
    """p of a call of F.dropout; None where it drops also in eval mode, in which the network was traced."""
    given: dict[str, Any] = {**dict(zip(("p", "training"), node.args[1:3], strict=False)), **node.kwargs}
    return None if given.get("training", True) else float(given.get("p", 0.5))


def _free_name(name: str, used: set[str]) -> str:
    """`name`, or `name_2` and so on where it is taken: each call of one module has a state of its own."""
    free, count = name, 1
    while free in used:
        count += 1
        free = f"{name}_{count}"
    used.add(free)
    return free


def _replace(traced: fx.GraphModule, node: fx.Node, name: str, module: nn.Module, window: fx.Node) -> None:
    traced.add_submodule(name, module)
    with traced.graph.inserting_after(node):
        new = traced.graph.call_module(name, (node.all_input_nodes[0], window))
    node.replace_all_uses_with(new)
    traced.graph.erase_node(node)


def _meet_in_time(traced: fx.GraphModule, window: fx.Node, timed: set[fx.Node]) -> None:
    """Where a value without time (the image's side of a shortcut) meets one with time, give it time."""
    modules = dict(traced.named_modules())
    shown: set[fx.Node] = set()  # what is reckoned from the images; parameters hold for all of them
    for node in traced.graph.nodes:
        inputs = [source for source in node.all_input_nodes if source is not window]
        if node.op == "placeholder" or not shown.isdisjoint(inputs):
            shown.add(node)
        is_lif = node.op == "call_module" and isinstance(modules[str(node.target)], LIF)
        if is_lif or any(source in timed for source in inputs):
            timed.add(node)
        if len(inputs) > 1 and node in timed:
            for source in inputs:
                if source in shown and source not in timed:
                    if _is_size(source):
                        raise UsageError(
                            f"{node.name!r} takes a size of the images, which have no time, for a tensor that has; "
                            "take it from that tensor, or use flatten(1)."
                        )
                    with traced.graph.inserting_before(node):
                        given = traced.graph.call_method("with_time", (window, source))
                    node.replace_input_with(source, given)


def _is_size(node: fx.Node) -> bool:
    """True where a value is a number or shape read from a tensor, or reckoned from such."""
    if node.op == "call_method":
        return node.target in ("size", "dim")
    if node.target is getattr:
        return node.args[1] in ("shape", "ndim")
    return node.op == "call_function" and bool(node.all_input_nodes) and all(map(_is_size, node.all_input_nodes))
