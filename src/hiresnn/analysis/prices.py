"""What an operation costs in picojoules: Table 7, a multiplication by few bits, and a memory access.

Everything priced with these is an *estimated arithmetic energy, 45 nm*, without wiring, control, clock and idle power.
"""

from typing import NamedTuple

from hiresnn.errors import UsageError

WORD_BITS = 32


class Prices(NamedTuple):
    """Picojoules of a 32-bit operation in 45 nm CMOS at 0.9 V (Table 7)."""

    multiplication: float
    addition: float

    @property
    def mac(self) -> float:
        """A multiplication and an addition."""
        return self.multiplication + self.addition

    @property
    def ac(self) -> float:
        """An accumulation, which is an addition."""
        return self.addition

    def quantised_mac(self, bits: int) -> float:
        """Return the price of a MAC whose activation has `bits` bits (1 to 32); weight and sum have 32.

        Assumption, not from the paper: an array multiplier adds one partial product per bit of the activation, so the
        price of the multiplication shrinks by bits / 32 and that of the addition stays.
        """
        return self.multiplication * bits / WORD_BITS + self.addition


PRICES = {"fp32": Prices(multiplication=3.7, addition=0.9), "int32": Prices(multiplication=3.1, addition=0.1)}
"""Table 7, after Horowitz (ISSCC 2014)."""

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
