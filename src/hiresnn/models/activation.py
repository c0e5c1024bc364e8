"""Quantised clipped activations (QCFS), with which an ANN learns what its spiking network will compute."""

from __future__ import annotations

from typing import no_type_check

import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError

FIRST_THRESHOLD = 1.0
"""Threshold before training: a standard deviation behind a batch norm. It moves slowly, so a large one stays coarse."""
LEAST = 1e-3


class QCFS(nn.Module):
    """Quantised clipped ReLU with a learned threshold (Bu et al., ICLR 2022).

        y = threshold * clip(floor(levels * x / threshold + 1/2) / levels, 0, 1)

    The gradient passes straight through the rounding: with respect to x it is 1 where 0 <= x <= threshold, else 0; with
    respect to the threshold it is (y - x) / threshold there, 1 above and 0 below.

    `hiresnn.convert` makes it a LIF with this threshold. Over T = `levels` steps of constant input, a neuron that
    starts at half its threshold and does not leak sends exactly levels * y / threshold spikes.

    Args:
        levels: number of steps above 0, at least 1.
        threshold: first value, above 0.

    Example:
        >>> QCFS(4, threshold=1.0)(torch.tensor([-1.0, 0.1, 0.2, 0.9, 2.0])).tolist()
        [0.0, 0.0, 0.25, 1.0, 1.0]

    Raises:
        UsageError: a value is out of range.
    """

    def __init__(self, levels: int, threshold: float = FIRST_THRESHOLD) -> None:
        super().__init__()
        if levels < 1 or not threshold > 0:
            raise UsageError(
                f"QCFS: levels is {levels} and threshold is {threshold}; levels must be at least 1 and threshold "
                "above 0."
            )
        self.levels = levels
        self.threshold = nn.Parameter(torch.tensor(float(threshold)))

    @no_type_check  # torch.fx may call it with a Proxy
    def forward(self, current: Tensor) -> Tensor:
        """Return the activation of `current`, of any shape."""
        threshold = self.threshold.clamp(min=LEAST)
        scaled = (current / threshold).clamp(0, 1) * self.levels
        rounded = scaled + ((scaled + 0.5).floor() - scaled).detach()
        return rounded * (threshold / self.levels)

    def extra_repr(self) -> str:
        """Return the values to print."""
        return f"levels={self.levels}, threshold={self.threshold.item():.4g}"
