"""The spiking network: an ANN's graph with LIF neurons in it, shown an image for T timesteps."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from functools import reduce
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from hiresnn.errors import UsageError
from hiresnn.network.encoding import Encoder
from hiresnn.network.merged import merged
from hiresnn.network.pooling import AveragePool
from hiresnn.network.recompute import in_segments
from hiresnn.neurons import LIF, Window, can_fuse


class SpikingNetwork(nn.Module):
    """Images in [0, 1] -> logits; a pure function of the images: no state outlives a call.

    Made by `hiresnn.convert`. Everything between two neurons sees rows [T*B, ...] and knows nothing of time.
    The logits are the sum over T of the last layer's output, without leak, threshold or reset.

    Attributes:
        timesteps: T of a call that names none; at least 1.
        graph: the traced ANN, in which every ReLU is a LIF.
        spec: arguments of `hiresnn.models.build` that describe the ANN; None for a user's own.
    """

    def __init__(self, graph: fx.GraphModule, timesteps: int, spec: dict[str, Any] | None = None) -> None:
        super().__init__()
        if timesteps < 1:
            raise UsageError(f"timesteps is {timesteps}; a spiking network needs at least 1.")
        self.graph = graph
        self.timesteps = timesteps
        self.spec = spec
        self.recompute(False)
        for parameter in self.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    @property
    def neurons(self) -> Mapping[str, LIF]:
        """Layer name -> LIF, first layer first; each has scalar `.threshold` and `.leak`."""
        modules = dict(self.graph.named_modules())
        order = [str(node.target) for node in self.graph.graph.nodes if node.op == "call_module"]
        return MappingProxyType({name: lif for name in order if isinstance(lif := modules[name], LIF)})

    @property
    def encoding(self) -> Encoder:
        """The encoder behind the normalisation; `.encoding.generator` seeds Poisson draws."""
        return next(module for module in self.graph.modules() if isinstance(module, Encoder))

    def forward(
        self, images: Float[Tensor, "batch channel height width"], timesteps: int | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Logits [B, classes] in float32 after `timesteps` (default: the network's own T); at least 1."""
        return self.present(images, Window(self.timesteps if timesteps is None else timesteps, images.shape[0]))

    def present(self, images: Tensor, window: Window) -> Float[Tensor, "batch classes"]:
        """Show images for one window; its state starts from, and with `window.carried` is left in, `window`."""
        parts, then = self._parts(), self.__dict__["_laid_out"]
        if len(parts) != len(then) or not all(map(operator.is_, parts, then)):
            self.recompute(self.__dict__["_recomputes"])
        run = self.__dict__["_learning" if torch.is_grad_enabled() else "_showing"]
        rows = window.with_time(run(images, window))
        logits = window.by_step(rows).sum(0, dtype=torch.promote_types(rows.dtype, torch.float32))
        if window.logits is not None:
            logits = window.logits + logits
        if window.carried:
            window.logits = logits
        return logits

    def fuse(self, fused: bool = True) -> SpikingNetwork:
        """Run the scans through torch.compile where that works here; the results stay the same. Returns self."""
        possible = fused and can_fuse(next(self.parameters()).device.type)
        for module in self.modules():
            if isinstance(module, LIF | AveragePool):
                module.fused = possible
        return self

    def recompute(self, wanted: bool = True) -> SpikingNetwork:
        """Keep only the input of each layer for the backward pass, which computes the rest anew. Returns self.

        Gradients are the same; a training step takes less memory, and a third more time or less.
        """
        showing = merged(self.graph)
        # Past nn.Module's registration, which would list every layer twice.
        self.__dict__.update(
            _showing=showing,
            _learning=in_segments(showing) if wanted else showing,
            _recomputes=wanted,
            _laid_out=self._parts(),
        )
        return self

    def _parts(self) -> list[object]:
        """The layers, buffers and constants that the graph names: a device, a checkpoint, a user may replace them."""
        named = [str(node.target) for node in self.graph.graph.nodes if node.op in ("call_module", "get_attr")]
        return [reduce(getattr, name.split("."), self.graph) for name in named]

    def train_neurons_(self, wanted: bool) -> SpikingNetwork:
        """Make every threshold and leak trainable, or freeze them (Table 5). Returns self."""
        for neuron in self.neurons.values():
            neuron.threshold.requires_grad_(wanted)
            neuron.leak.requires_grad_(wanted)
        return self

    def clamp_neurons_(self) -> None:
        """Put every leak and threshold back into its range, after an update."""
        for neuron in self.neurons.values():
            neuron.clamp_()
