"""An ANN whose activations have few bits: what it still gets right, to compare energies at equal accuracy.

Each ReLU's output is rounded to one of 2^b levels between 0 and a ceiling, without training again:

    q(a) = round(min(a, c) / c * (2^b - 1)) * c / (2^b - 1)

The ceiling c of a layer is the one of a few that changes its activations least (mean square) on calibration images,
the layers before it rounded already. Weights, sums and the image keep 32 bits, as `Prices.quantised_mac` counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from hiresnn.network import evaluating

SHARES = tuple(step / 20 for step in range(1, 21))
"""Ceilings that are tried, as shares of the largest activation."""


def quantise(activations: Tensor, ceiling: float, bits: int) -> Tensor:
    """Activations of any shape, not negative, rounded to 2^bits levels from 0 to `ceiling`, which is above 0.

    >>> quantise(torch.tensor([0.0, 0.4, 1.4, 9.0]), 3.0, 2).tolist()
    [0.0, 0.0, 1.0, 3.0]
    """
    levels = 2**bits - 1
    rounded: Tensor = (activations.clamp(max=ceiling) * (levels / ceiling)).round() * (ceiling / levels)
    return rounded


def best_ceiling(activations: Tensor, bits: int) -> float:
    """The ceiling among `SHARES` of the largest activation with the least mean square error; 1 where all are 0."""
    top = float(activations.max())
    if not top > 0:
        return 1.0
    errors = [float((quantise(activations, top * share, bits) - activations).square().mean()) for share in SHARES]
    return top * SHARES[errors.index(min(errors))]


@contextmanager
def quantised(ann: nn.Module, images: Tensor, bits: int) -> Iterator[nn.Module]:
    """`ann` in eval mode with activations of `bits` bits, calibrated on `images` [B, C, H, W]."""
    ceilings: dict[nn.Module, float] = {}

    def rounded(relu: nn.Module, inputs: tuple[Tensor, ...], activations: Tensor) -> Tensor:
        if relu not in ceilings:  # the calibration: layers come in order, the earlier ones rounded
            ceilings[relu] = best_ceiling(activations, bits)
        return quantise(activations, ceilings[relu], bits)

    with ExitStack() as stack:
        for relu in (module for module in ann.modules() if isinstance(module, nn.ReLU)):
            stack.enter_context(relu.register_forward_hook(rounded))
        stack.enter_context(evaluating(ann))
        with torch.no_grad():
            ann(images)
        yield ann
