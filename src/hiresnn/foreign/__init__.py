"""Networks of other libraries as models that attacks and the audit take: images in [0, 1] -> logits.

Nothing here imports the library that it adapts: a neuron is known by the attributes that its library gives it.
Beside `network` in the order of imports.
"""

from hiresnn.foreign.norse import norse
from hiresnn.foreign.require import require_adapter
from hiresnn.foreign.sinabs import sinabs
from hiresnn.foreign.slot import Slot
from hiresnn.foreign.snntorch import snntorch
from hiresnn.foreign.spikingjelly import spikingjelly
from hiresnn.foreign.unrolled import READOUTS, Readout, Unrolled, each_step, once, whole_sequence

__all__ = [
    "READOUTS",
    "Readout",
    "Slot",
    "Unrolled",
    "each_step",
    "norse",
    "once",
    "require_adapter",
    "sinabs",
    "snntorch",
    "spikingjelly",
    "whole_sequence",
]
