"""Networks of other spiking libraries as models, images in [0, 1] -> logits, for evaluation, attacks and audit.

Event grids [B, T, P, H, W] are shown bin by bin; a network with a loop of its own gets them whole.

`Unrolled` makes a network a pure function of images, with its surrogate replaceable and its spikes recorded; the
adapters make an `Unrolled` of a network. No library is imported.
"""

from hiresnn.foreign.adapters import norse, require_adapter, sinabs, snntorch, spikingjelly
from hiresnn.foreign.recognise import recognise
from hiresnn.foreign.steps import in_steps, picked, require_steps
from hiresnn.foreign.unrolled import (
    Readout,
    Slot,
    Unrolled,
    each_step,
    once,
    record,
    ruled_spike,
    whole_sequence,
)

__all__ = [
    "Readout",
    "Slot",
    "Unrolled",
    "each_step",
    "in_steps",
    "norse",
    "once",
    "picked",
    "recognise",
    "record",
    "require_adapter",
    "require_steps",
    "ruled_spike",
    "sinabs",
    "snntorch",
    "spikingjelly",
    "whole_sequence",
]
