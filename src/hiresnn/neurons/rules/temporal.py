"""Rules of time: an elementwise rule with or without the reset's gradient and the temporal chain, and HART."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from hiresnn.errors import UsageError
from hiresnn.neurons.lif import Reset
from hiresnn.neurons.rules.elementwise import positive, triangular
from hiresnn.neurons.rules.layer import LayerRule, membranes, through_time
from hiresnn.neurons.surrogate import Linear, Surrogate

HART_WIDTHS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5)
"""The grid on which `HART.width` is chosen for each model, by what the attack achieves."""


@dataclass(frozen=True)
class Unrolled(LayerRule):
    """Any elementwise rule, through time. With both options off it is the rule itself.

    Args:
        surrogate: z -> d spike / d z.
        through_reset: pass on the gradient of the spike inside the reset.
        cut_time: no gradient from a step to the one before it.
    """

    surrogate: Surrogate = Linear()  # noqa: RUF009  frozen
    through_reset: bool = False
    cut_time: bool = False

    def scan_backward(
        self, current: Tensor, threshold: Tensor, leak: Tensor, residue: Tensor | None, grad: Tensor, reset: Reset
    ) -> Tensor:
        """See `LayerRule`."""
        slope = self.surrogate(membranes(current, threshold, leak, residue, reset))
        options = {"through_reset": self.through_reset, "cut_time": self.cut_time}
        return through_time(slope, threshold, leak, grad, reset, **options)


@dataclass(frozen=True)
class HART(LayerRule):
    """Rate and time together (Hao et al., ICLR 2024): the chain in time is cut, the layer's gradient averaged over it.

    grad I[t] = mean over steps of grad s * max(0, 1 - |z| / width) / (width threshold), the same at every t.

    Args:
        width: of the linear rule, in units of z; above 0 and finite. Chosen for each model, see `HART_WIDTHS`.

    Raises:
        UsageError: a width that is neither.
    """

    width: float = 1.0

    def __post_init__(self) -> None:
        positive(self)
        if math.isinf(self.width):  # a slope of 0 everywhere: an attack would stand still and look like robustness
            raise UsageError("HART: width is inf, and its gradient would be 0; choose a finite one.")

    def scan_backward(
        self, current: Tensor, threshold: Tensor, leak: Tensor, residue: Tensor | None, grad: Tensor, reset: Reset
    ) -> Tensor:
        """See `LayerRule`."""
        slope = triangular(self.width)(membranes(current, threshold, leak, residue, reset))
        return (grad * slope / threshold).mean(0).expand(current.shape)
