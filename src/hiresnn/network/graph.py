"""The graph of a spiking network: the ANN traced by torch.fx, without batch norms, with neurons over time."""

import copy
from collections.abc import Callable
from typing import get_args

import torch
import torch.nn.functional as F
from torch import fx, nn

from hiresnn.errors import UsageError, closest
from hiresnn.models import QCFS, MeanOverBins, Normalise, OwnNetwork, spec_of
from hiresnn.network.batch_norm import remove_batch_norms
from hiresnn.network.layers import Encoder
from hiresnn.network.report import ConversionReport, warnings_of
from hiresnn.network.spiking import SpikingNetwork
from hiresnn.network.timing import UNCAPPED, MaxPool, insert_time, pool_currents
from hiresnn.neurons import LIF


def over_time(
    ann: nn.Module, timesteps: int, neuron: Callable[[nn.Module], LIF], encoder: Encoder, max_pool: MaxPool
) -> SpikingNetwork:
    """Build the graph of a spiking network, in which `neuron` makes the layer that replaces each activation."""
    if max_pool not in get_args(MaxPool):
        raise UsageError(f"max_pool is {max_pool!r}; {closest(max_pool, get_args(MaxPool))}.")
    _refuse_spiking(ann)
    training, root = ann.training, copied(ann).eval()
    try:
        traced = fx.GraphModule(root, _Tracer().trace(root), type(ann).__name__)
    except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
        name = type(ann.network if isinstance(ann, OwnNetwork) else ann).__name__
        raise UsageError(
            f"{name} cannot be traced by torch.fx ({error}); its forward must not branch on data. A network that "
            "spikes already is not converted: attack and audit it as it is."
        ) from error
    if not isinstance([*traced.graph.nodes][-1].args[0], fx.Node):
        raise UsageError(f"{type(ann).__name__} returns several values; its forward must return the logits alone.")
    positions = {node: position for position, node in enumerate(traced.graph.nodes)}
    _use_results(traced, positions)
    _reshape_any_layout(traced)
    folded = list(remove_batch_norms(traced))
    pooled = list(pool_currents(traced)) if max_pool == "currents" else []
    device = next((parameter.device for parameter in root.parameters()), None)
    timed = insert_time(traced, lambda activation: neuron(activation).to(device), encoder)
    changes = {**dict(folded), **dict(timed), **dict(pooled)}
    in_order = [changes[node] for node in sorted(changes, key=positions.__getitem__)]
    warnings = [
        f"{change.layer!r} ({change.was}) loses its cap at 6, which neurons do not have; use ReLU in the ANN."
        for change in in_order
        if change.became == UNCAPPED
    ]
    report = ConversionReport(in_order, [*warnings, *warnings_of(traced)])
    network = SpikingNetwork(traced, timesteps, spec_of(ann), report)
    network.pools_currents = bool(pooled)
    return network.train(training)


def uncompiled(network: nn.Module) -> nn.Module:
    """Return the network inside what torch.compile made of it, which shares its weights; others as they are."""
    inner = getattr(network, "_orig_mod", network)
    return inner if isinstance(inner, nn.Module) else network


def copied(network: nn.Module) -> nn.Module:
    """Return a deep copy of a network. Raises UsageError where torch cannot copy it."""
    try:
        return copy.deepcopy(network)
    except RuntimeError as error:
        raise UsageError(
            f"{type(network).__name__} cannot be copied ({error}); where it uses torch.nn.utils.weight_norm, remove "
            "that first (torch.nn.utils.remove_weight_norm)."
        ) from error


def memory_format_of(ann: nn.Module) -> torch.memory_format:
    """Return how an ANN best stores its weights: channels last, which is faster, unless its `view` needs the other."""
    try:
        nodes = _Tracer().trace(ann).nodes
    except Exception:  # the network is the user's
        return torch.contiguous_format
    views = any(node.op == "call_method" and node.target == "view" for node in nodes)
    return torch.contiguous_format if views else torch.channels_last


def _use_results(traced: fx.GraphModule, positions: dict[fx.Node, int]) -> None:
    """Let later nodes that use the input of an in-place activation use its result, as they do in the ANN."""
    modules = dict(traced.named_modules())
    for node in traced.graph.nodes:
        if node.op == "call_module":
            in_place = getattr(modules[str(node.target)], "inplace", False)
        elif node.target in (F.relu, F.relu6):
            in_place = node.kwargs.get("inplace", len(node.args) > 1 and node.args[1])
        else:
            in_place = node.target in (F.relu_, torch.relu_, "relu_")
        if in_place:
            source = node.all_input_nodes[0]
            for user in [user for user in source.users if positions[user] > positions[node]]:
                user.replace_input_with(source, node)
    traced.recompile()


def _reshape_any_layout(traced: fx.GraphModule) -> None:
    """Replace `view` by `reshape`, which does not depend on how the network lays out its tensors in memory."""
    for node in traced.graph.nodes:
        if node.op == "call_method" and node.target == "view" and not isinstance(node.args[-1], torch.dtype):
            node.target = "reshape"
    traced.recompile()


def _refuse_spiking(ann: nn.Module) -> None:
    if isinstance(ann, torch.jit.ScriptModule | nn.DataParallel):
        raise UsageError(f"{type(ann).__name__} cannot be traced by torch.fx; give the network that it was made from.")
    for module in ann.modules():
        if isinstance(module, SpikingNetwork | LIF):
            raise UsageError(f"{type(ann).__name__} spikes already: convert takes an ANN; use the network as it is.")
        library = type(module).__module__.split(".")[0]
        if library in ("norse", "sinabs", "snntorch", "spikingjelly"):
            raise UsageError(
                f"{type(ann).__name__} spikes already, by {type(module).__name__} of {library}: convert takes an ANN; "
                f"wrap a network of {library} with hiresnn.foreign.{library}."
            )


class _Tracer(fx.Tracer):
    """Keeps normalisations and activations of the package in one piece, so that they can be found in the graph."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, MeanOverBins | Normalise | QCFS) or super().is_leaf_module(m, module_qualified_name)
