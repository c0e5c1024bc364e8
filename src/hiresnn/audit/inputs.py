"""Inputs other than images in [0, 1], given to an audit as such images: rows of features, spectrograms, sequences.

The audit, its attacks and its card know images [B, C, H, W] in [0, 1]. Other inputs are mapped to that form, each
feature from its range, and the network is put behind the inverse map. A bound of 0.1 is then a tenth of each range.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from hiresnn.attacks import Model
from hiresnn.errors import UsageError


class ImageForm(nn.Module):
    """A network behind the map from images [B, C, H, W] in [0, 1] back to its own inputs.

    Attributes:
        network: the network itself, called with inputs of their own shape and range.
        timesteps, readout: those of the network, by which attacks scale summed logits.
    """

    low: Tensor
    high: Tensor

    def __init__(self, network: Model, shape: tuple[int, ...], low: Tensor, high: Tensor, batch_axis: int) -> None:
        super().__init__()
        self.network, self.shape, self.batch_axis = network, shape, batch_axis
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)
        self.timesteps = getattr(network, "timesteps", 1)
        self.readout = getattr(network, "readout", "sum")

    def forward(self, images: Tensor) -> Tensor:
        inputs = self.low + images.reshape(len(images), *self.shape) * (self.high - self.low)
        return self.network(inputs.movedim(0, self.batch_axis))


def image_form(
    network: Model,
    inputs: Tensor,
    low: float | Tensor = 0.0,
    high: float | Tensor = 1.0,
    *,
    time_axis: int | None = None,
) -> tuple[ImageForm, Tensor]:
    """Return the network and its inputs in the form that `run_audit` and every attack take.

    Args:
        network: inputs as given here -> logits [B, K].
        inputs: floats [B, ...], for example [B, features], [B, frequency, time] or normalised images [B, C, H, W]; a
            sequence with `time_axis` 0 is [T, B, ...].
        low, high: the range of the inputs, as numbers or as tensors that broadcast to one input (without the batch),
            such as [features]. No attack leaves it, and a bound is a share of it.
        time_axis: the axis of time, if it stands before the batch: 0. None, or another axis, means batch first.

    Returns:
        The network behind the map, and images [B, C, H, W] in [0, 1].

    Raises:
        UsageError: the inputs are no floats with a batch, leave the range, or the range is empty.

    Example:
        >>> model, images = image_form(lambda rows: rows, torch.tensor([[-2.0, 30.0]]), torch.tensor([-4.0, 0.0]),
        ...                            torch.tensor([0.0, 40.0]))
        >>> images.flatten().tolist(), model(images).tolist()
        ([0.5, 0.75], [[-2.0, 30.0]])
    """
    batch_axis = 1 if time_axis == 0 else 0
    if not inputs.is_floating_point() or inputs.dim() < batch_axis + 2:
        raise UsageError(f"inputs are {inputs.dtype} {list(inputs.shape)}; give floats [B, ...], or [T, B, ...].")
    rows = inputs.movedim(batch_axis, 0)
    shape = tuple(rows.shape[1:])
    try:
        limits = [torch.as_tensor(limit).to(inputs).expand(shape).clone() for limit in (low, high)]
    except RuntimeError:
        raise UsageError(
            f"the range does not broadcast to one input, {list(shape)}; give a number or that shape."
        ) from None
    if not bool((limits[0] < limits[1]).all()):
        raise UsageError("the range is empty: every low must be below its high.")
    outside = ((rows < limits[0]) | (rows > limits[1]) | ~rows.isfinite()).flatten(1)
    if bool(outside.any()):
        lowest, highest = float(rows.min()), float(rows.max())
        raise UsageError(
            f"{int(outside.any(1).sum())} of {len(rows)} inputs leave the range (they reach from {lowest:g} to "
            f"{highest:g}); widen low and high, or clip the inputs."
        )
    scaled = ((rows - limits[0]) / (limits[1] - limits[0])).clamp(0, 1)
    size = (1,) * (3 - len(shape)) + shape if len(shape) <= 3 else (*shape[:2], math.prod(shape[2:]))
    return ImageForm(network, shape, limits[0], limits[1], batch_axis), scaled.reshape(len(rows), *size)
