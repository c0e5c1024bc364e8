"""Thresholds of a converted network from its activations, layer by layer (DIET-SNN's way)."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, fx

from hiresnn.errors import UsageError
from hiresnn.network.spiking import SpikingNetwork
from hiresnn.neurons import LIF, MIN_THRESHOLD, Window

THRESHOLD_SCALE = 0.4
"""Default of `threshold_scale`: DIET-SNN's range is 0.2 to 0.4; docs/decisions.md has what was measured."""


@torch.no_grad()
def calibrate(
    network: SpikingNetwork,
    images: Float[Tensor, "batch channel height width"],
    *,
    percentile: float = 99.7,
    threshold_scale: float = THRESHOLD_SCALE,
) -> None:
    """Set every threshold from one batch, first layer to last, the earlier layers already spiking.

    Args:
        network: changed in place; its mode stays as it is.
        images: in [0, 1], such as 512 training images.
        percentile: of what a layer of neurons gets at a timestep, over batch and neurons, in (0, 100]; the largest
            over the timesteps, times `threshold_scale`, becomes the threshold.
        threshold_scale: above 0.

    Raises:
        UsageError: an option out of range, no images, or a layer that would never spike.
    """
    if not 0 < percentile <= 100:
        raise UsageError(f"percentile is {percentile}; it must lie in (0, 100].")
    if not threshold_scale > 0:
        raise UsageError(f"threshold_scale is {threshold_scale}; it must be above 0.")
    if not len(images):
        raise UsageError("no images to calibrate with; give a batch of training images, such as 512 of them.")
    names = {lif: name for name, lif in network.neurons.items()}

    class Calibrator(fx.Interpreter):
        def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
            layer = self.fetch_attr(target)
            if isinstance(layer, LIF):
                top = _highest_percentile(args[0], args[1], percentile) * threshold_scale
                if not top > MIN_THRESHOLD:
                    raise UsageError(
                        f"layer {names[layer]!r}: the {percentile:g}th percentile of its input times "
                        f"threshold_scale is {top:.3g}, so it would never spike; is the ANN trained?"
                    )
                layer.threshold.fill_(top)
            return super().call_module(target, args, kwargs)

    training = network.training
    network.eval()
    calibrator = Calibrator(network.graph)
    calibrator.extra_traceback = False  # it would be glued to the sentence of a UsageError
    try:
        calibrator.run(images, Window(network.timesteps, images.shape[0]))
    finally:
        network.train(training)


def _highest_percentile(current: Tensor, window: Window, percentile: float) -> float:
    """Maximum over timesteps of the percentile over batch and neurons."""
    steps = window.by_step(current).flatten(1)
    rank = max(1, round(steps.shape[1] * percentile / 100))
    return max(float(step.kthvalue(rank).values) for step in steps.float())
