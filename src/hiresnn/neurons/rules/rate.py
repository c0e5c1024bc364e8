"""Rules of rate: a layer is taken for a function of its mean input, and time is forgotten.

None of them has a temporal chain or a gradient through the reset that could be kept or cut.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from hiresnn.errors import UsageError
from hiresnn.neurons.lif import Reset
from hiresnn.neurons.rules.elementwise import positive
from hiresnn.neurons.rules.layer import LayerRule, membranes


@dataclass(frozen=True)
class BPTR(LayerRule):
    """Backward pass through rate (Ding et al., SNN-RAT, 2022): grad / threshold where a neuron ever spiked, else 0."""

    def scan_backward(
        self, current: Tensor, threshold: Tensor, leak: Tensor, residue: Tensor | None, grad: Tensor, reset: Reset
    ) -> Tensor:
        """See `LayerRule`."""
        spiked = (membranes(current, threshold, leak, residue, reset) > 0).any(0)
        return grad * spiked / threshold


@dataclass(frozen=True)
class RGA(LayerRule):
    """Rate gradient approximation (Bu et al., CVPR 2023): the slope of a LIF's rate over its mean current.

    With x = mean over steps of I / threshold and the leak tau: g where 0 <= x <= 1 - tau, the input that a leaky
    neuron never spikes for, and (1 - g + g tau) / (tau + 1) where 1 - tau <= x <= 2.

    Args:
        g: slope below the rheobase, in (0, 1].
    """

    g: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.g <= 1:
            raise UsageError(f"RGA rule: g is {self.g}; it must lie in (0, 1].")

    def scan_backward(
        self, current: Tensor, threshold: Tensor, leak: Tensor, residue: Tensor | None, grad: Tensor, reset: Reset
    ) -> Tensor:
        """See `LayerRule`."""
        x = _mean_current(current, residue) / threshold
        above = ((x >= 1 - leak) & (x <= 2)) * ((1 - self.g + self.g * leak) / (leak + 1))
        below = ((x >= 0) & (x < 1 - leak)) * self.g
        return grad * (above + below) / threshold


@dataclass(frozen=True)
class Conversion(LayerRule):
    """The twin ANN's backward pass (Sharmin et al. 2020; SNN-RAT's CBA): a layer is a clipped ReLU of its mean current.

    1 / threshold where 0 < mean I / threshold < ceiling, else 0. Quantising the ReLU would change its value alone,
    and the value here is the spiking network's own.

    Args:
        ceiling: spikes a step at which the ReLU is clipped; above 0. A neuron gives 1 at most; inf never clips.
    """

    ceiling: float = 1.0

    def __post_init__(self) -> None:
        positive(self)

    def scan_backward(
        self, current: Tensor, threshold: Tensor, leak: Tensor, residue: Tensor | None, grad: Tensor, reset: Reset
    ) -> Tensor:
        """See `LayerRule`."""
        x = _mean_current(current, residue) / threshold
        inside = (x > 0) & (x < self.ceiling)
        return grad * inside / threshold


def _mean_current(current: Tensor, residue: Tensor | None) -> Tensor:
    """Charge a step over the window, in units of the membrane: [batch, ...]."""
    charge = current.sum(0)
    return (charge if residue is None else charge + residue) / len(current)
