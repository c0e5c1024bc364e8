"""Operations that one image causes in a spiking network, layer by layer, counted on its real spikes."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from hiresnn.analysis.activity import LayerActivity
from hiresnn.analysis.connectivity import Synapses, fan_out
from hiresnn.network import ChannelAffine
from hiresnn.neurons import LIF, Window

STATE_BYTES = 4
"""Size of a membrane or an accumulated logit, 32 bits."""


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
        activity: zeta, spikes per input over all steps (1 for an image); 0 without weights.
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
        """FL_SNN of Table 6: dense FLOPs times the spiking activity of the input."""
        return self.dense * self.activity


class SynapseCounter:
    """Accumulates the inputs of one weighted layer."""

    def __init__(self, use: Synapses, variants: int) -> None:
        self.use, self.variants = use, variants
        self.fractional, self.units, self.timesteps = False, 0, 0
        self.fan_out, self.rows_per_image = torch.empty(0), 1
        # Over all images and steps: inputs that are not zero, their magnitudes, and both times their connections.
        self.events = self.magnitude = self.through = self.accumulated = 0.0

    def update(self, rows: Tensor, outputs: Tensor, window: Window) -> None:
        """Add a batch: the input rows [T*B, ...] or [B, ...] of the layer, and its output rows."""
        if not self.fan_out.numel():
            self.fan_out = fan_out(self.use.layer, rows)
        self.rows_per_image = window.rows_per_step(rows, self.use.timed) // window.batch
        self.units, self.timesteps = self.rows_per_image * outputs[0].numel(), window.timesteps
        self.fractional |= not bool((rows == rows.round()).all())
        events, magnitude = (rows != 0).sum(0).double(), rows.abs().sum(0, dtype=torch.float64)
        self.events += float(events.sum())
        self.magnitude += float(magnitude.sum())
        self.through += float((events * self.fan_out).sum())
        self.accumulated += float((magnitude * self.fan_out).sum())

    def compute(self, images: int) -> LayerOperations:
        """Return the layer's operations, a mean over `images`."""
        layer, use, sources = self.use.layer, self.use, self.rows_per_image * self.fan_out.numel()
        weight, bias = layer.get_parameter("weight"), getattr(layer, "bias", None) is not None
        # An image is the same at all steps, so it is multiplied once per variant.
        repeats, times = (1, self.timesteps) if use.timed else (self.variants, self.variants)
        spikes = use.timed and not use.analog and not self.fractional
        return LayerOperations(
            name=use.name,
            kind="linear" if isinstance(layer, nn.Linear) else "affine" if isinstance(layer, ChannelAffine) else "conv",
            inputs="image" if not use.timed else "current" if use.analog else "spikes" if spikes else "fractional",
            sources=sources,
            units=self.units,
            dense=weight.numel() * (self.units // weight.shape[0]),
            connections=self.rows_per_image * int(self.fan_out.sum()),
            activity=self.magnitude / (sources * images) if use.timed and not use.analog else float(times),
            events=repeats * self.events / images,
            macs=0.0 if spikes else repeats * self.through / images,
            acs=(self.accumulated / images if spikes else 0.0) + bias * self.units * times,
            parameters=sum(p.numel() for p in layer.parameters()) if use.first_use else 0,
        )


def neuron_operations(name: str, lif: LIF, activity: LayerActivity) -> LayerOperations:
    """Return the operations of a layer of LIF neurons.

    A neuron needs an addition per step and, unless its leak is 1, a multiplication. A spike subtracts the threshold,
    which is another addition.
    """
    updates = activity.neurons * activity.timesteps
    return LayerOperations(
        name=name,
        kind="neurons",
        inputs="current",
        sources=activity.neurons,
        units=activity.neurons,
        events=activity.spikes,
        acs=updates + activity.spikes,
        multiplications=0.0 if lif.leak.item() == 1 else float(updates),
        parameters=sum(p.numel() for p in lif.parameters()),
        state_bytes=STATE_BYTES * activity.neurons,
    )
