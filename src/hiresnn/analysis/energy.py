"""Energy of counted operations, in two ways: as the paper prints it (Table 6, Eq. 7, 8), and by every operation.

    FL_ANN = k^2 H_o W_o C_o C_i,   FL_SNN = FL_ANN * zeta                                   (Table 6)
    E_rate = (sum_l FL_SNN) E_AC                                                             (Eq. 7)
    E_direct = FL_SNN[1] E_MAC + (sum_{l>1} FL_SNN[l]) E_AC                                  (Eq. 8)

zeta is the spiking activity of the layer's *input*; a direct-coded image is dense and computed once, so its zeta is 1.
Linear layers count as 1x1 convolutions of one pixel. All results are an *estimated arithmetic energy, 45 nm*, without
wiring, control, clock and idle power.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from hiresnn.errors import UsageError


class Prices(NamedTuple):
    """Picojoules of a 32-bit operation in 45 nm CMOS at 0.9 V (Table 7); an AC, `ac`, is an addition."""

    multiplication: float
    addition: float

    @property
    def mac(self) -> float:
        return self.multiplication + self.addition

    @property
    def ac(self) -> float:
        return self.addition

    def quantised_mac(self, bits: int) -> float:
        """Return the price of a MAC whose activation has `bits` bits (1 to 32); weight and sum have 32.

        Assumption, not from the paper: an array multiplier adds one partial product per bit of the activation.
        """
        return self.multiplication * bits / 32 + self.addition


PRICES = {"fp32": Prices(multiplication=3.7, addition=0.9), "int32": Prices(multiplication=3.1, addition=0.1)}
"""Table 7, after Horowitz (ISSCC 2014)."""
STATE_BYTES = 4
"""Size of a membrane or an accumulated logit, 32 bits."""
SRAM_WORD_PJ = 5.0
"""A 32-bit word from or to an 8 KiB SRAM: half of the 10 pJ of 64 bits (Horowitz 2014, 45 nm)."""
DRAM_WORD_PJ = 650.0
"""A 32-bit word from DRAM: half of the lower end of 1.3 to 2.6 nJ for 64 bits (Horowitz 2014)."""


def equivalent_bits(timesteps: int) -> int:
    """Return ceil(log2(T + 1)): bits of an activation with as many levels as a neuron has spike counts, 0 to T.

    >>> [equivalent_bits(timesteps) for timesteps in (1, 3, 4, 6, 7, 8)]
    [1, 2, 3, 3, 3, 4]
    """
    if timesteps < 1:
        raise UsageError(f"timesteps is {timesteps}; a spiking network needs at least 1.")
    return timesteps.bit_length()


class Traffic(NamedTuple):
    """32-bit words moved per image: every MAC and AC reads its weight from a small SRAM, an activation that is not zero
    is written there once and read once (those of an ANN are dense), a membrane read and written at every step.
    """

    weight_reads: float
    activations: float
    membranes: float
    weights: int

    @property
    def on_chip_pj(self) -> float:
        return SRAM_WORD_PJ * (self.weight_reads + self.activations + self.membranes)

    @property
    def off_chip_pj(self) -> float:
        """Picojoules if each weight is also read from DRAM once per image: a layer runs all its steps at once."""
        return self.on_chip_pj + DRAM_WORD_PJ * self.weights


@dataclass(frozen=True)
class LayerOperations:
    """One layer and one image; counts are over all T steps, and means over the images.

    Attributes:
        name, kind: a weighted layer ("conv", "linear", or "affine", a batch norm that counts as a depthwise 1x1
            convolution), a layer of "neurons", or the "readout".
        inputs: the kind of its input. "image": without time, computed once. "spikes": whole numbers, so an AC each.
            "fractional": spikes that an average pool turned into fractions, a MAC each. "current": not spikes.
        sources: input values per step.
        units: output values per step; the neurons of a layer of neurons.
        dense: Table 6, k^2 H_o W_o C_o C_i per step, padding counted as input; 0 without weights.
        connections: the same without those that only see padding.
        activity: zeta, spikes per input over all steps; 0 without weights. An input that is no spikes counts once for
            each time that the layer computes: once for an image that does not change, T times for a current.
        events: input values over all steps that are not zero.
        macs, acs, multiplications: effective operations; an AC is any addition.
        parameters: trained parameters of the layer.
        state_bytes: size of what it stores from step to step.
    """

    name: str
    kind: Literal["conv", "linear", "affine", "neurons", "readout"]
    inputs: Literal["image", "spikes", "fractional", "current"]
    sources: int
    units: int
    dense: int = 0
    connections: int = 0
    activity: float = 0.0
    events: float = 0.0
    macs: float = 0.0
    acs: float = 0.0
    multiplications: float = 0.0
    parameters: int = 0
    state_bytes: int = 0

    @property
    def flops_snn(self) -> float:
        """FL_SNN of Table 6."""
        return self.dense * self.activity


@dataclass(frozen=True)
class EnergyReport:
    """Operations per image, layer by layer, and what they cost. Energies are picojoules per image."""

    layers: tuple[LayerOperations, ...]
    timesteps: int

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def state_bytes(self) -> int:
        return sum(layer.state_bytes for layer in self.layers)

    @property
    def bits(self) -> int:
        return equivalent_bits(self.timesteps)

    def layer_energy(self, layer: LayerOperations, prices: Prices) -> float:
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
        reads, events = sum(layer.macs + layer.acs for layer in weighted), sum(layer.events for layer in weighted)
        membranes = 2 * self.timesteps * (self.state_bytes // STATE_BYTES)
        return Traffic(reads, 2 * events, membranes, sum(layer.parameters for layer in weighted))

    def ann_traffic(self) -> Traffic:
        """Return the words that the ANN of the same structure moves; every activation counts as not zero."""
        weighted = [layer for layer in self.layers if layer.dense]
        reads, sources = sum(layer.connections for layer in self.layers), sum(layer.sources for layer in weighted)
        return Traffic(float(reads), 2.0 * sources, 0.0, sum(layer.parameters for layer in weighted))
