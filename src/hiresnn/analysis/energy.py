r"""Inference energy, two ways: as the paper prints it (Table 6, Eq. 7, 8), and by every operation that happens.

    FL_ANN = k^2 H_o W_o C_o C_i,   FL_SNN = FL_ANN * zeta                                   (Table 6)
    E_rate = (sum_l FL_SNN) E_AC                                                             (Eq. 7)
    E_direct = FL_SNN[1] E_MAC + (sum_{l>1} FL_SNN[l]) E_AC                                  (Eq. 8)

zeta is the spiking activity of the layer's *input*; a direct-coded image is dense and computed once, zeta = 1.
Linear layers count as 1x1 convolutions of one pixel. All results: estimated arithmetic energy, 45 nm.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from hiresnn.analysis.memory import Traffic, ann_traffic, snn_traffic
from hiresnn.analysis.operations import STATE_BYTES, LayerOperations, Tap
from hiresnn.analysis.prices import Prices, equivalent_bits
from hiresnn.attacks import frozen
from hiresnn.errors import UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import Window


def rate_coded_energy(flops: Iterable[float], prices: Prices) -> float:
    """Eq. 7, in picojoules: FL_SNN of every layer, all of them accumulations."""
    return sum(flops) * prices.ac


def direct_energy(image_flops: Iterable[float], spike_flops: Iterable[float], prices: Prices) -> float:
    """Eq. 8, in picojoules: FL_SNN of the layer (or layers) that see the image, and of those that see spikes."""
    return sum(image_flops) * prices.mac + sum(spike_flops) * prices.ac


@dataclass(frozen=True)
class EnergyReport:
    """Operations of one image, layer by layer, and what they cost. Energies are picojoules an image."""

    layers: tuple[LayerOperations, ...]
    timesteps: int

    @property
    def parameters(self) -> int:
        """Trained numbers: weights, biases, thresholds and leaks."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def state_bytes(self) -> int:
        """Bytes remembered from step to step."""
        return sum(layer.state_bytes for layer in self.layers)

    @property
    def bits(self) -> int:
        """Bits of an activation in the quantised ANN that is compared with."""
        return equivalent_bits(self.timesteps)

    def layer_energy(self, layer: LayerOperations, prices: Prices) -> float:
        """What the effective operations of one layer cost."""
        return layer.macs * prices.mac + layer.acs * prices.ac + layer.multiplications * prices.multiplication

    def snn(self, prices: Prices) -> float:
        """The honest count: every effective operation, also those of neurons, leak and readout."""
        return sum(self.layer_energy(layer, prices) for layer in self.layers)

    def snn_printed(self, prices: Prices) -> float:
        """Eq. 7 or 8: Eq. 7 is the case in which no layer sees an image."""
        image = [layer.flops_snn for layer in self.layers if layer.inputs == "image"]
        spikes = [layer.flops_snn for layer in self.layers if layer.inputs != "image"]
        return direct_energy(image, spikes, prices) if image else rate_coded_energy(spikes, prices)

    def ann(self, prices: Prices) -> float:
        """The ANN of the same structure: one MAC a connection, zeros not skipped; biases left out."""
        return sum(layer.connections for layer in self.layers) * prices.mac

    def ann_printed(self, prices: Prices) -> float:
        """FL_ANN of every layer, all of them MACs."""
        return sum(layer.dense for layer in self.layers) * prices.mac

    def quantised_ann(self, prices: Prices) -> float:
        """The ANN with activations of `bits` bits: MACs as `Prices.quantised_mac`, those on the image in full."""
        return sum(
            layer.connections * (prices.mac if layer.inputs == "image" else prices.quantised_mac(self.bits))
            for layer in self.layers
        )

    def snn_traffic(self) -> Traffic:
        """Words that the spiking network moves."""
        return snn_traffic(self.layers, self.timesteps)

    def ann_traffic(self) -> Traffic:
        """Words that the ANN moves."""
        return ann_traffic(self.layers)


class Energy:
    """Counts what a network does on the images that it is shown.

    Args:
        network: any converted network.
        timesteps: T; None takes the network's own.
        variants: how often the image changes within T. 1 at inference; N in a forward pass of HIRE-SNN training,
            where the layers that see the image work N times.

    Raises:
        UsageError: a layer whose operations cannot be counted; variants outside 1 to T.
    """

    def __init__(self, network: SpikingNetwork, *, timesteps: int | None = None, variants: int = 1) -> None:
        self.network = network
        self.timesteps = network.timesteps if timesteps is None else timesteps
        if self.timesteps < 1:
            raise UsageError(f"timesteps is {timesteps}; energy is counted over at least 1.")
        if not 1 <= variants <= self.timesteps:
            raise UsageError(f"variants is {variants}; an image can change 1 to {self.timesteps} times in T steps.")
        self._tap = Tap(network, variants)
        self._images = self._classes = 0

    @torch.no_grad()
    def update(self, images: Float[Tensor, "batch channel height width"]) -> None:
        """Show a batch, in [0, 1], and count. Parameters, mode and gradients of the network stay as they are."""
        window = Window(self.timesteps, images.shape[0])
        with frozen(self.network):
            self._classes = self._tap.show(images, window).shape[1]
        self._images += images.shape[0]

    def compute(self) -> EnergyReport:
        """Means over all images so far. Raises UsageError before the first update."""
        if not self._images:
            raise UsageError("energy: no images were shown; call update with a batch first.")
        layers = [counter.compute(self._images) for counter in self._tap.counters.values()]
        return EnergyReport((*layers, self._readout()), self.timesteps)

    def _readout(self) -> LayerOperations:
        # The logits are summed over time: an addition a class and step, into an accumulator that stays.
        return LayerOperations(
            name="readout",
            kind="readout",
            inputs="current",
            sources=self._classes,
            units=self._classes,
            dense=0,
            connections=0,
            activity=0.0,
            events=0.0,
            macs=0.0,
            acs=float(self._classes * self.timesteps),
            multiplications=0.0,
            parameters=0,
            state_bytes=STATE_BYTES * self._classes,
        )
