"""Check that a converted network computes every timestep by itself.

Stateless layers get all timesteps of a batch as one larger batch. That is right only if they compute each row of it by
itself; a layer that moves the batch out of the first dimension, or averages over it, would mix timesteps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from hiresnn.errors import UsageError, in_a_line
from hiresnn.network.dropout import SharedDropout
from hiresnn.network.encoding import Encoder
from hiresnn.network.report import name_of
from hiresnn.network.spiking import SpikingNetwork
from hiresnn.neurons import LIF, Window

_TIMESTEPS, _IMAGES = 3, 2


@torch.no_grad()
def check_steps(network: SpikingNetwork, images: Tensor) -> None:
    """Compare all timesteps in one batch with one timestep after another, on random values.

    Args:
        network: in eval mode.
        images: [B, C, H, W], for their shape and type.

    Raises:
        UsageError: the two differ; names the layer that gets mixed rows, and the node that mixes them.
    """
    devices = [images.device] if images.is_cuda else []
    with torch.random.fork_rng(devices):
        torch.default_generator.manual_seed(0)  # torch.manual_seed would seed every GPU, too
        rows = torch.rand(_IMAGES, *images.shape[1:], dtype=images.dtype).to(images.device)
        _StepCheck(network.layers).run(rows, Window(_TIMESTEPS, _IMAGES))


class _StepCheck(fx.Interpreter):
    """Computes every node twice: for all timesteps at once, as the network does, and for each timestep by itself.

    Attributes:
        steps: node whose value has time -> its value at each timestep.
        mixing: node whose two values differ -> the node at which they began to.
    """

    def __init__(self, layers: fx.GraphModule) -> None:
        super().__init__(layers, garbage_collect_values=False)
        self.extra_traceback = False  # it would be appended to the sentence of a UsageError
        self.steps: dict[fx.Node, list[Any]] = {}
        self.mixing: dict[fx.Node, fx.Node] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Compute one node in both ways, and compare."""
        layer = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        spikes = isinstance(layer, LIF)
        if spikes or n.op == "output" or isinstance(layer, SharedDropout):
            self._refuse_mixing(n)
        try:
            drawn = torch.get_rng_state()
            poisson = isinstance(layer, Encoder) and layer.encoding == "poisson"
            if poisson:  # without a draw from the encoder's generator
                rows, window = self.fetch_args_kwargs_from_env(n)[0]
                value = window.with_time(rows)
            else:
                value = super().run_node(n)
            if spikes or poisson or n.target == "with_time":
                value = torch.rand_like(value) if spikes or poisson else value  # differs from step to step
                self.steps[n] = [step.clone() for step in value.chunk(_TIMESTEPS)]
            elif isinstance(layer, SharedDropout):  # the identity here
                if n.all_input_nodes[0] in self.steps:
                    self.steps[n] = self.steps[n.all_input_nodes[0]]
            elif n.op != "output" and not self.steps.keys().isdisjoint(n.all_input_nodes):
                self._compare(n, value, random=not torch.equal(drawn, torch.get_rng_state()))
        except (IndexError, RuntimeError, ValueError) as error:
            reason = in_a_line(error)
            raise UsageError(
                f"{name_of(n)!r} fails on {_IMAGES} images over {_TIMESTEPS} timesteps ({reason}); a network must "
                "accept batches of any size."
            ) from error
        return value

    def _compare(self, node: fx.Node, value: Any, *, random: bool) -> None:
        def at(t: int) -> Any:
            arguments, options = fx.node.map_arg(
                (node.args, node.kwargs),
                lambda source: self.steps[source][t] if source in self.steps else self.env[source],
            )
            return getattr(self, node.op)(node.target, arguments, options)

        if random and isinstance(value, Tensor):  # a dropout that drops in eval mode too
            self.steps[node] = [step.clone() for step in value.chunk(_TIMESTEPS)]
            return
        self.steps[node] = steps = [at(t) for t in range(_TIMESTEPS)]
        if not isinstance(value, Tensor):
            return
        expected = torch.cat(steps) if steps[0].dim() else value
        scale = float(expected.abs().max()) if expected.numel() and expected.is_floating_point() else 0.0
        if value.shape != expected.shape or not torch.allclose(value, expected, rtol=1e-3, atol=1e-4 * scale):
            self.mixing[node] = next((self.mixing[i] for i in node.all_input_nodes if i in self.mixing), node)

    def _refuse_mixing(self, node: fx.Node) -> None:
        for source in node.all_input_nodes:
            if source in self.mixing:
                raise UsageError(
                    f"{name_of(self.mixing[source])!r} mixes the rows of a batch, so {name_of(node)!r} would mix "
                    "timesteps; keep the batch in the first dimension from one neuron to the next."
                )
