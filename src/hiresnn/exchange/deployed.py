"""A network as hardware or another library would compute it: rounded weights, other leaks and resets."""

from __future__ import annotations

import copy

from hiresnn.errors import UsageError
from hiresnn.exchange.rounding import read_rounding, rounded_together
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import CONDITIONS, RESETS

VIEWS = {
    "intN": "weights of N bits (2 to 16), one scale per layer; biases and thresholds are whole multiples of it, "
    "except a threshold behind an average pooling",
    "intN-channel": "weights of N bits, one scale per output channel, of which biases are multiples; float thresholds",
    "shared-scale": "weights, bias and threshold of a layer in 8 bits (or N, with intN) with one scale, as on Speck",
    "leak=X": "every leak is X; leak=1 is a chip with integrate-and-fire neurons",
    "reset=X": "every reset is X: subtract, subtract-unleaked or zero",
    "condition=X": "a neuron spikes at u > threshold or at u >= threshold",
}
"""What a view may consist of -> its meaning; a view joins them by +, as in int8+leak=1."""
_WORDS: dict[str, tuple[str, ...]] = {"reset": RESETS, "condition": CONDITIONS}
"""What a view sets to a word -> the words."""


def deployed(network: SpikingNetwork, view: str) -> SpikingNetwork:
    """Return a copy of a network as it would run on a device.

    Attacks on the copy follow the gradient of the rounded weights, which is that of straight-through rounding.

    Args:
        network: does not change.
        view: one of `VIEWS`, or several joined by +, such as "int8+reset=zero".

    Raises:
        UsageError: the view is unknown, or the network has layers that cannot be rounded.

    Example:
        >>> int4 = deployed(network, "int4")  # doctest: +SKIP
    """
    subject = copy.deepcopy(network)
    rounding, rest = read_rounding(view)
    keys = [part.partition("=")[0] for part in rest]
    if twice := [key for key in dict.fromkeys(keys) if keys.count(key) > 1]:
        raise UsageError(f"view {view!r} sets {twice[0]} twice; choose one value.")
    for part in rest:
        key, equals, value = part.partition("=")
        if not equals or key not in ("leak", *_WORDS):
            raise UsageError(f"view {view!r}: {part!r} is unknown; choose of {', '.join(VIEWS)}, joined by +.")
        where = f"view {view!r}: {part}"
        if key in _WORDS and value not in _WORDS[key]:
            quotes = f", in quotes for the shell: 'condition={CONDITIONS[-1]}'" if key == "condition" else ""
            raise UsageError(f"{where} is unknown; choose one of {', '.join(_WORDS[key])}{quotes}.")
        for neuron in subject.neurons.values():
            if key == "leak":
                neuron.leak.data.fill_(_leak(value, where))
            else:
                setattr(neuron, key, value)
    if rounding is not None:
        rounding.apply(rounded_together(subject))
    return subject


def _leak(text: str, where: str) -> float:
    try:
        leak = float(text)
    except ValueError:
        leak = -1.0
    if not 0 <= leak <= 1:
        raise UsageError(f"{where} is no leak; give a number in [0, 1].")
    return leak
