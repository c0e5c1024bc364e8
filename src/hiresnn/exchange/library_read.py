"""A snnTorch or SpikingJelly network as a `SpikingNetwork`, for training and for attacks with every gradient rule.

No library is imported: a neuron is recognised by the attributes that its library gives it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

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
