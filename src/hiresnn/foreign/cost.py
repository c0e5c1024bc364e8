"""What one update of a neuron of another library costs: its decaying states, each a multiplication per timestep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from hiresnn.errors import UsageError


class NeuronCost(NamedTuple):
    """Operations of one neuron in one timestep, apart from the addition of a spike's reset.

    Attributes:
        states: numbers that it stores from step to step, each of which something is added to.
        decays: how many of them are multiplied by a factor that is not 1. A factor on the input, as in
            v + (x - v) / tau, counts as part of the weights before it.
    """

    states: int
    decays: int


_LEAKY, _IDEAL, _TWO = NeuronCost(1, 1), NeuronCost(1, 0), NeuronCost(2, 2)
_COSTS: dict[str, dict[str, Callable[[Any], NeuronCost]]] = {
    "snntorch": {
        "Leaky": lambda neuron: NeuronCost(1, _decays(neuron.beta)),
        "Synaptic": lambda neuron: NeuronCost(2, _decays(neuron.alpha) + _decays(neuron.beta)),
    },
    "spikingjelly": {
        "IFNode": lambda _: _IDEAL,
        "LIFNode": lambda _: _LEAKY,
        "ParametricLIFNode": lambda _: _LEAKY,
    },
    "sinabs": {
        **dict.fromkeys(("IAF", "IAFSqueeze"), lambda _: _IDEAL),
        **dict.fromkeys(("LIF", "LIFSqueeze"), lambda _: _LEAKY),
    },
    "norse": {
        "IAFCell": lambda _: _IDEAL,
        "LIFBoxCell": lambda _: _LEAKY,
        **dict.fromkeys(("LIF", "LIFCell"), lambda _: _TWO),
    },
}
"""Library -> class -> the cost of one update. A user's subclass costs what its base costs."""


def neuron_cost(name: str, neuron: nn.Module) -> NeuronCost:
    """Return the cost of one update of each neuron in a layer.

    Raises:
        UsageError: the neuron is of no class whose operations are known; the message names the layer.
    """
    for kind in type(neuron).__mro__:
        known = _COSTS.get(kind.__module__.partition(".")[0], {})
        if kind.__name__ in known:
            return known[kind.__name__](neuron)
        if known:  # another neuron of the library, which may derive from a known one and do more
            break
    listed = "; ".join(f"{library}: {', '.join(known)}" for library, known in _COSTS.items())
    raise UsageError(
        f"layer {name!r} is a {type(neuron).__name__}, whose operations are not known, so its energy cannot be counted "
        f"(its activity can); known are {listed}."
    )


def _decays(factor: Any) -> int:
    """Return 1 unless the factor is exactly 1."""
    return int(not (bool((factor == 1).all()) if isinstance(factor, Tensor) else factor == 1))
