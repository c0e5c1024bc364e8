"""A snnTorch network as a `SpikingNetwork`, which can be trained, attacked and audited with every gradient rule.

No library is imported: a neuron is recognised by the attributes that snnTorch gives it.
"""

from __future__ import annotations

import copy
from typing import Any

from torch import nn

from hiresnn.errors import UsageError
from hiresnn.exchange.nir_read import Values, set_neurons
from hiresnn.network import SpikingNetwork, spiking_graph
from hiresnn.neurons import Reset

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

    Example:
        >>> network = from_snntorch(nn.Sequential(nn.Flatten(), leaky, readout), timesteps=6)  # doctest: +SKIP
    """
    root = copy.deepcopy(network)
    values: dict[str, Values] = {}
    resets: set[Reset] = set()
    for name, neuron in list(root.named_modules()):
        if type(neuron).__module__.partition(".")[0] == "snntorch" or hasattr(neuron, "reset_mechanism"):
            values[name], reset = _read(name, neuron)
            resets.add(reset)
            parent, _, child = name.rpartition(".")
            setattr(root.get_submodule(parent), child, nn.ReLU())
    if len(resets) != 1:
        found = "no Leaky neuron" if not resets else f"neurons with the resets {', '.join(sorted(resets))}"
        raise UsageError(f"{type(network).__name__} has {found}; only a network with one kind can be imported.")
    imported = spiking_graph(root, timesteps, reset=resets.pop()).eval()
    if set(imported.neurons) != set(values):
        other = sorted(set(imported.neurons) ^ set(values))[0]
        raise UsageError(
            f"layer {other!r} is called several times or not at all, or is a ReLU, so {type(network).__name__} cannot "
            "be imported; call every neuron once per timestep."
        )
    set_neurons(imported, values)
    return imported


def _read(name: str, neuron: Any) -> tuple[Values, Reset]:
    kind = "Leaky" if "Leaky" in {each.__name__ for each in type(neuron).__mro__} else type(neuron).__name__
    where = f"layer {name!r} ({kind} of snnTorch) cannot be imported"
    if kind != "Leaky":
        raise UsageError(f"{where}: only Leaky can.")
    if not neuron.init_hidden or getattr(neuron, "output", False):
        raise UsageError(f"{where}: it must keep its state (init_hidden=True) and return spikes alone (output=False).")
    mechanism, delay = str(neuron.reset_mechanism), bool(getattr(neuron, "reset_delay", True))
    if (mechanism, delay) not in _RESETS:
        raise UsageError(f"{where}: its reset {mechanism!r} with reset_delay={delay} has no counterpart.")
    numbers = []
    for key in ("threshold", "beta"):
        value = getattr(neuron, key)
        if value.numel() != 1:
            raise UsageError(f"{where}: it has {value.numel()} values of {key}; a layer of hiresnn has one.")
        numbers.append(float(value))
    return Values(numbers[0], min(max(numbers[1], 0.0), 1.0)), _RESETS[mechanism, delay]
