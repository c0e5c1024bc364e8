"""Energy of counted operations, in two ways: as the paper prints it (Table 6, Eq. 7, 8), and by every operation.

    FL_ANN = k^2 H_o W_o C_o C_i,   FL_SNN = FL_ANN * zeta                                   (Table 6)
    E_rate = (sum_l FL_SNN) E_AC                                                             (Eq. 7)
    E_direct = FL_SNN[1] E_MAC + (sum_{l>1} FL_SNN[l]) E_AC                                  (Eq. 8)

zeta is the spiking activity of the layer's *input*; a direct-coded image is dense and computed once, so its zeta is 1.
Linear layers count as 1x1 convolutions of one pixel. All results are an estimated arithmetic energy, 45 nm.
"""

from dataclasses import dataclass
from typing import NamedTuple

from hiresnn.analysis.operations import STATE_BYTES, LayerOperations
from hiresnn.analysis.prices import DRAM_WORD_PJ, SRAM_WORD_PJ, Prices, equivalent_bits


class Traffic(NamedTuple):
    """32-bit words moved per image, estimated for SNN and ANN under the same assumptions.

    No weight is reused: every MAC and AC reads its weight from a small SRAM. An activation that is not zero is written
    to the same SRAM once and read once; those of an ANN are dense. Every membrane is read and written at every step.
    """

    weight_reads: float
    activations: float
    membranes: float
    weights: int

    @property
    def on_chip_pj(self) -> float:
        """Picojoules if all weights are in the SRAM next to the arithmetic."""
        return SRAM_WORD_PJ * (self.weight_reads + self.activations + self.membranes)

    @property
    def off_chip_pj(self) -> float:
        """Picojoules if each weight is also read from DRAM once per image, so a layer runs all its steps at once."""
        return self.on_chip_pj + DRAM_WORD_PJ * self.weights


@dataclass(frozen=True)
class EnergyReport:
    """Operations per image, layer by layer, and what they cost. Energies are picojoules per image."""

    layers: tuple[LayerOperations, ...]
    timesteps: int

    @property
    def parameters(self) -> int:
        """Number of trained parameters: weights, biases, thresholds and leaks."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def state_bytes(self) -> int:
        """Bytes stored from step to step."""
        return sum(layer.state_bytes for layer in self.layers)

    @property
    def bits(self) -> int:
        """Bits of an activation in the quantised ANN of the comparison."""
        return equivalent_bits(self.timesteps)

    def layer_energy(self, layer: LayerOperations, prices: Prices) -> float:
        """Return the energy of one layer's effective operations."""
        return layer.macs * prices.mac + layer.acs * prices.ac + layer.multiplications * prices.multiplication

    def snn(self, prices: Prices) -> float:
        """Return the energy of every effective operation, including those of neurons, leak and readout."""
        return sum(self.layer_energy(layer, prices) for layer in self.layers)

    def snn_printed(self, prices: Prices) -> float:
        """Return Eq. 8: MACs in layers that see the image, ACs in the others. If none sees an image, it is Eq. 7."""
        return sum(layer.flops_snn * (prices.mac if layer.inputs == "image" else prices.ac) for layer in self.layers)

    def ann(self, prices: Prices) -> float:
        """Return the energy of the ANN of the same structure: one MAC per connection, zeros included, no biases."""
        return sum(layer.connections for layer in self.layers) * prices.mac

    def ann_printed(self, prices: Prices) -> float:
        """Return the energy of FL_ANN of every layer, all of them MACs."""
        return sum(layer.dense for layer in self.layers) * prices.mac

    def quantised_ann(self, prices: Prices) -> float:
        """Return the energy of the ANN with activations of `bits` bits; MACs on the image cost the full price."""
        return sum(
            layer.connections * (prices.mac if layer.inputs == "image" else prices.quantised_mac(self.bits))
            for layer in self.layers
        )

    def snn_traffic(self) -> Traffic:
        """Return the words that the spiking network moves over all T steps."""
        weighted = [layer for layer in self.layers if layer.dense]
        return Traffic(
            weight_reads=sum(layer.macs + layer.acs for layer in weighted),
            activations=2 * sum(layer.events for layer in weighted),
            membranes=2 * self.timesteps * (self.state_bytes // STATE_BYTES),
            weights=sum(layer.parameters for layer in weighted),
        )

    def ann_traffic(self) -> Traffic:
        """Return the words that the ANN of the same structure moves; every activation counts as not zero."""
        return Traffic(
            weight_reads=float(sum(layer.connections for layer in self.layers)),
            activations=2.0 * sum(layer.sources for layer in self.layers if layer.dense),
            membranes=0.0,
            weights=sum(layer.parameters for layer in self.layers if layer.dense),
        )
