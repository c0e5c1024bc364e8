"""Memory traffic of one image: an estimate under three stated assumptions, the same for SNN and ANN.

1. No weight is reused: every MAC and AC reads its weight, 32 bits, from a small SRAM.
2. An activation that is not zero (a spike, a pixel) is written once and read once, as one 32-bit word, to and
   from the same SRAM. An ANN's activations are dense. The membrane of every neuron is read and written at every
   step; currents stay in registers.
3. Where the weights do not fit on the chip, each comes from DRAM once an image. For an SNN that takes a layer
   that runs through all its steps before the next begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from hiresnn.analysis.operations import STATE_BYTES, LayerOperations
from hiresnn.analysis.prices import DRAM_WORD_PJ, SRAM_WORD_PJ


class Traffic(NamedTuple):
    """32-bit words moved for one image."""

    weight_reads: float
    activations: float
    membranes: float
    weights: int

    @property
    def on_chip_pj(self) -> float:
        """Picojoules where all weights lie in the SRAM beside the arithmetic."""
        return SRAM_WORD_PJ * (self.weight_reads + self.activations + self.membranes)

    @property
    def off_chip_pj(self) -> float:
        """Picojoules where each weight also has to come from DRAM once."""
        return self.on_chip_pj + DRAM_WORD_PJ * self.weights


def snn_traffic(layers: Iterable[LayerOperations], timesteps: int) -> Traffic:
    """Traffic of the spiking network, from its counted operations over T = `timesteps` steps."""
    layers = list(layers)
    weighted = [layer for layer in layers if layer.dense]
    return Traffic(
        weight_reads=sum(layer.macs + layer.acs for layer in weighted),
        activations=2 * sum(layer.events for layer in weighted),
        membranes=2 * timesteps * sum(layer.state_bytes // STATE_BYTES for layer in layers),
        weights=sum(layer.parameters for layer in weighted),
    )


def ann_traffic(layers: Iterable[LayerOperations]) -> Traffic:
    """Traffic of the ANN of the same structure, every activation of which counts as not zero."""
    weighted = [layer for layer in layers if layer.dense]
    return Traffic(
        weight_reads=float(sum(layer.connections for layer in weighted)),
        activations=2.0 * sum(layer.sources for layer in weighted),
        membranes=0.0,
        weights=sum(layer.parameters for layer in weighted),
    )
