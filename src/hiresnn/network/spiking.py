"""The spiking network: an ANN's graph with LIF neurons, which sees an image for T timesteps."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from html import escape
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, fx, nn

from hiresnn.errors import UsageError
from hiresnn.modes import evaluating
from hiresnn.network.fused import in_blocks, run_in_segments
from hiresnn.network.layers import Encoder
from hiresnn.network.report import ConversionReport
from hiresnn.neurons import LIF, Neuron, Window
from hiresnn.neurons.compiled import compiles

COMPILING_PAYS_ABOVE = 4e9
"""Neuron updates above which compiling saves more than the half minute that it takes with an empty cache."""


class SpikingNetwork(nn.Module):
    """Images in [0, 1], or event grids, -> logits; no membrane potential or other state of a layer outlives a call.

    `hiresnn.convert` makes it. Everything between two neurons gets rows [T*B, ...] and does not know about time.
    The logits are the sum over T of the last layer's output, without leak, threshold or reset.

    Attributes:
        timesteps: T of a call that does not name one; at least 1.
        layers: the traced ANN, in which every ReLU is a LIF.
        readout: passes on what comes out of `layers` at every step, [T*B, classes], to whoever hooks it.
        spec: arguments of `hiresnn.models.build` that describe the ANN; None for a user's own.
        report: which layer of the ANN became what.
        pools_currents: whether a max pool of the ANN is in front of its neurons; see `convert`.
        fused: whether neurons run compiled; see `fuse`.
        compiles_when_it_pays: whether the network decides by itself, `fuse("auto")`.
        recomputes: see `recompute`.
    """

    def __init__(
        self,
        layers: fx.GraphModule,
        timesteps: int,
        spec: dict[str, Any] | None = None,
        report: ConversionReport | None = None,
    ) -> None:
        super().__init__()
        if timesteps < 1:
            raise UsageError(f"timesteps is {timesteps}; a spiking network needs at least 1.")
        self.layers, self.readout = layers, nn.Identity()
        self.timesteps = timesteps
        self.spec = spec
        self.report = report or ConversionReport()
        self.recomputes = self.fused = self.pools_currents = False
        self.compiles_when_it_pays, self._updates = True, 0
        self._blocks: tuple[fx.GraphModule, ...] = ()  # a tuple, so that its layers are not those of this network
        for parameter in self.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    @property
    def neurons(self) -> Mapping[str, LIF]:
        """Layer name -> LIF, first layer first; each has scalar `.threshold` and `.leak`."""
        modules = dict(self.layers.named_modules())
        order = [str(node.target) for node in self.layers.graph.nodes if node.op == "call_module"]
        return MappingProxyType({name: lif for name in order if isinstance(lif := modules.get(name), LIF)})

    @property
    def neuron(self) -> Neuron:
        """The options that all neurons have in common; leaks are parameters, so that of the options is 1.

        Raises:
            UsageError: the neurons differ in an option.
        """
        options = {lif.neuron for lif in self.neurons.values()}
        if len(options) != 1:
            raise UsageError(
                "the neurons differ in reset, v_init, fires_at_threshold, wait, surrogate or trainability; give all of "
                "them the same options."
            )
        return options.pop()

    @property
    def encoding(self) -> Encoder:
        """The encoder behind the normalisation; `.encoding.generator` seeds Poisson spikes."""
        return next(module for module in self.layers.modules() if isinstance(module, Encoder))

    def forward(
        self, images: Shaped[Tensor, "batch ..."], timesteps: int | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Return logits [B, classes] after `timesteps`, by default the network's own T; at least 1.

        The input is images [B, C, H, W], or event grids [B, T, P, H, W] of a network with the encoder "frames", which
        sees bin t at timestep t. The logits are float32, or float64 of a network in double precision.

        Raises:
            UsageError: images are no floats, or not of the channels that the network was built for.
        """
        if not images.is_floating_point():
            raise UsageError(f"images are {images.dtype}, not floats in [0, 1]: divide by 255 (images / 255).")
        channels = (self.spec or {}).get("in_channels")
        if channels and (images.dim() not in (4, 5) or images.shape[-3] != channels):
            raise UsageError(f"images are {[*images.shape]}; this network takes [N, {channels}, H, W].")
        return self.present(images, Window(self.timesteps if timesteps is None else timesteps, images.shape[0]))

    def present(self, images: Tensor, window: Window) -> Float[Tensor, "batch classes"]:
        """Run images for one window; state starts from `window` and, with `window.carried`, is left in it.

        Raises:
            UsageError: rows of different images or timesteps were mixed, so that the logits have no meaning.
        """
        if self.compiles_when_it_pays and self._updates > COMPILING_PAYS_ABOVE and self.fuse().fused:
            _announce_compiling()
        window.fused, window.updates = self.fused, 0
        if self.fused and not self._blocks:
            self._blocks = (in_blocks(self.layers),)
        form = self._blocks[0] if self.fused else self.layers
        if self.recomputes and torch.is_grad_enabled():
            rows = run_in_segments(self.layers, form.graph, images, window)
        else:  # on the layers of this network, one of which may have been replaced since
            rows = type(form).forward(self.layers, images, window)
        rows = self.readout(rows)
        if rows.shape[0] != window.timesteps * window.batch:
            raise UsageError(
                f"the network returns {rows.shape[0]} rows for {window.batch} images and {window.timesteps} timesteps; "
                "its output must be [images, classes]."
            )
        if self.compiles_when_it_pays:
            self._updates += window.updates
        logits = window.by_step(rows).sum(0, dtype=torch.promote_types(rows.dtype, torch.float32))
        if window.logits is not None:
            logits = window.logits + logits
        if window.carried:
            window.logits = logits
        return logits

    def _repr_html_(self) -> str:
        """What a notebook shows: T, and the threshold and leak of each layer of neurons."""
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{lif.threshold.item():.3g}</td><td>{lif.leak.item():.3g}</td></tr>"
            for name, lif in self.neurons.items()
        )
        weights = sum(parameter.numel() for parameter in self.parameters())
        head = "<tr><th>neurons</th><th>threshold</th><th>leak</th></tr>"
        return f"<p><b>SpikingNetwork</b>, T = {self.timesteps}, {weights:,} weights</p><table>{head}{rows}</table>"

    def fuse(self, fused: int | str = True) -> SpikingNetwork:
        """Choose whether neurons run through torch.compile, several times faster for large networks.

        Compiling takes half a minute the first time on a machine. Spikes on a CPU stay the same bit for bit; gradients
        stay the same up to rounding.

        Args:
            fused: True compiles where that is possible (`fused` tells), False does not; "auto", the default of a new
                network, compiles once the work done so far has paid for it, and says so by logging.

        Returns:
            The network itself.
        """
        if fused not in (True, False, "auto"):
            raise UsageError(f'fuse: {fused!r} is unknown; choose True, False or "auto".')
        self.compiles_when_it_pays, self._updates = fused == "auto", 0
        self.fused = fused != "auto" and bool(fused) and compiles(next(self.parameters()).device.type)
        return self

    def recompute(self, on: bool = True) -> SpikingNetwork:
        """Store only the input of each layer for the backward pass, which computes the rest again.

        Gradients stay the same; a training step takes less memory, and up to a third more time.

        Returns:
            The network itself.
        """
        self.recomputes = on
        return self

    def train_neurons_(self, trainable: bool) -> SpikingNetwork:
        """Make every threshold and leak trainable, or freeze them (Table 5); returns the network itself."""
        for neuron in self.neurons.values():
            neuron.threshold.requires_grad_(trainable)
            neuron.leak.requires_grad_(trainable)
        return self

    def clamp_neurons_(self) -> None:
        """Clamp every leak and threshold to its range, after an update."""
        for neuron in self.neurons.values():
            neuron.clamp_()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_blocks": ()}  # made again; torch.fx cannot pickle the calls in it


def compiling_pays(network: SpikingNetwork, image: Tensor, presentations: int) -> bool:
    """Return whether compiled neurons win back the time that compiling takes. The network keeps its mode.

    Args:
        network: its neurons, not compiled yet, are counted.
        image: [1, C, H, W], any image of the data set.
        presentations: forward passes of one image, each with its backward pass if there is one.
    """
    window = Window(network.timesteps, len(image))
    with torch.no_grad(), evaluating(network):
        network.present(image, window)
    return presentations * window.updates > COMPILING_PAYS_ABOVE


@contextmanager
def record(network: SpikingNetwork) -> Iterator[dict[str, Tensor]]:
    """Collect the spikes of every LIF layer: name -> [T, B, ...], 0 or 1, of the latest forward pass.

    Where a network folds P patches per image into the batch, a layer's spikes are [T, B, P, ...]. Spikes are detached.
    Each forward pass inside the context fills the dictionary, which stays valid afterwards.
    """
    spikes: dict[str, Tensor] = {}

    def save(name: str, _: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        window = inputs[1]
        rows = window.by_step(output.detach().clone())  # the next layer may write into its input
        patches = rows.shape[1] // max(1, window.batch)
        spikes[name] = rows.unflatten(1, (window.batch, patches)) if patches > 1 else rows

    with ExitStack() as stack:
        for name, lif in network.neurons.items():
            stack.enter_context(lif.register_forward_hook(functools.partial(save, name)))
        yield spikes


@functools.cache
def _announce_compiling() -> None:
    """Say, once per process, that a network which decides by itself compiles its neurons."""
    logging.getLogger("hiresnn").warning(
        "hiresnn compiles the neurons of this network, which now pays: half a minute the first time on this machine, "
        "then several times faster. Gradients change by rounding; network.fuse(False) turns this off."
    )
