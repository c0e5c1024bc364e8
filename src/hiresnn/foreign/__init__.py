"""Networks of other spiking libraries as models, images in [0, 1] -> logits, for evaluation, attacks and audit."""

from hiresnn.foreign.adapters import norse, require_adapter, sinabs, snntorch, spikingjelly
from hiresnn.foreign.unrolled import Readout, Slot, Unrolled, each_step, once, record, ruled_spike, whole_sequence

__all__ = [
    "Readout",
    "Slot",
    "Unrolled",
    "each_step",
    "norse",
    "once",
    "record",
    "require_adapter",
    "ruled_spike",
    "sinabs",
    "snntorch",
    "spikingjelly",
    "whole_sequence",
]
