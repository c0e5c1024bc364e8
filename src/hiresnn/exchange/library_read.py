"""A snnTorch or SpikingJelly network as a `SpikingNetwork`, for training and for attacks with every gradient rule.

No library is imported: a neuron is recognised by the attributes that its library gives it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from hiresnn.errors import UsageError
from hiresnn.exchange.nir_read import Values, set_neurons
from hiresnn.network import SpikingNetwork, spiking_graph
from hiresnn.neurons import Condition, Reset

_RESETS: dict[tuple[str, bool], Reset] = {
    ("subtract", False): "subtract",
    ("subtract", True): "subtract-unleaked",  # one step later, so after the leak
    ("zero", False): "zero",
}
"""reset_mechanism and reset_delay of a Leaky -> the same reset of ours."""


class _Neuron(NamedTuple):
    values: Values
    reset: Reset


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

    Example:
        >>> network = from_snntorch(nn.Sequential(nn.Flatten(), leaky, readout), timesteps=6)  # doctest: +SKIP
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

    Example:
        >>> network = from_spikingjelly(nn.Sequential(nn.Flatten(), node, readout), timesteps=4)  # doctest: +SKIP
    """
    return _imported(network, timesteps, "SpikingJelly", "surrogate_function", _node, ">=")


def _imported(
    network: nn.Module, timesteps: int, library: str, mark: str, read: Callable[[str, Any], _Neuron], spikes: Condition
) -> SpikingNetwork:
    """Replace every module with the attribute `mark` by a ReLU, convert, and set the values of the neurons."""
    root = copy.deepcopy(network)
    found: dict[str, _Neuron] = {}
    for name, neuron in list(root.named_modules()):
        if hasattr(neuron, mark):
            found[name] = read(name, neuron)
            parent, _, child = name.rpartition(".")
            setattr(root.get_submodule(parent), child, nn.ReLU())
    resets = {neuron.reset for neuron in found.values()}
    if len(resets) != 1:
        what = f"neurons with the resets {', '.join(sorted(resets))}" if resets else f"no neuron of {library}"
        raise UsageError(f"{type(network).__name__} has {what}; only a network with one kind can be imported.")
    imported = spiking_graph(root, timesteps, reset=resets.pop(), condition=spikes, max_pool="spikes").eval()
    if set(imported.neurons) != set(found):
        other = sorted(set(imported.neurons) ^ set(found))[0]
        raise UsageError(
            f"layer {other!r} is called several times or not at all, or is a ReLU, so {type(network).__name__} cannot "
            "be imported; call every neuron once per timestep."
        )
    set_neurons(imported, {name: neuron.values for name, neuron in found.items()})
    return imported


def _leaky(name: str, neuron: Any) -> _Neuron:
    kind = type(neuron).__name__
    where = f"layer {name!r} ({kind} of snnTorch) cannot be imported"
    if kind != "Leaky":
        raise UsageError(f"{where}: only Leaky can.")
    if not neuron.init_hidden or getattr(neuron, "output", False):
        raise UsageError(f"{where}: it must keep its state (init_hidden=True) and return spikes alone (output=False).")
    if getattr(neuron, "inhibition", False) or float(getattr(neuron, "graded_spikes_factor", 1.0)) != 1:
        raise UsageError(f"{where}: inhibition and graded spikes have no counterpart.")
    mechanism, delay = str(neuron.reset_mechanism), bool(getattr(neuron, "reset_delay", True))
    if (mechanism, delay) not in _RESETS:
        raise UsageError(f"{where}: its reset {mechanism!r} with reset_delay={delay} has no counterpart.")
    numbers = []
    for key in ("threshold", "beta"):
        value = getattr(neuron, key)
        if value.numel() != 1:
            raise UsageError(f"{where}: it has {value.numel()} values of {key}; a layer of hiresnn has one.")
        numbers.append(float(value))
    return _Neuron(Values(numbers[0], min(max(numbers[1], 0.0), 1.0)), _RESETS[mechanism, delay])


def _node(name: str, neuron: Any) -> _Neuron:
    kind = type(neuron).__name__
    where = f"layer {name!r} ({kind} of SpikingJelly) cannot be imported"
    if kind not in ("IFNode", "LIFNode"):
        raise UsageError(f"{where}: only IFNode and LIFNode can.")
    if getattr(neuron, "step_mode", "s") != "s":
        raise UsageError(f"{where}: it takes all timesteps at once; call functional.set_step_mode(network, 's').")
    if neuron.v_reset not in (None, 0):
        raise UsageError(f"{where}: v_reset is {neuron.v_reset}; only None and 0 can be imported.")
    reset: Reset = "subtract" if neuron.v_reset is None else "zero"
    threshold = float(neuron.v_threshold)
    if kind == "IFNode":
        return _Neuron(Values(threshold, 1.0), reset)
    # v' = (1 - 1 / tau) v + x, or + x / tau with decay_input, where u = tau v.
    tau = float(neuron.tau)
    return _Neuron(Values(threshold * (tau if neuron.decay_input else 1), 1 - 1 / tau), reset)
