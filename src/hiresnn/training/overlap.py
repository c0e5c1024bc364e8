"""MPD-SGR: training that moves membrane potentials out of the window in which the surrogate gradient is not zero."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hiresnn.errors import UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import Linear, Window
from hiresnn.neurons.lif import lif_steps
from hiresnn.training.losses import Presentation
from hiresnn.training.noise import Noise


class MembraneOverlap(Noise):
    """The loss of MPD-SGR (Jiang et al., AAAI 2026), on logits averaged over time, m = logits / T.

        CE(m, y) + strength * mean over layers of P(|z| < width),   z ~ N(mean, std) of the layer

    z = u / v_t - 1 is the normalised membrane over all steps, images and neurons of a layer, and `width` is where its
    surrogate ends. The probability under the normal distribution has a gradient; the counted share has none. Spikes
    inside the reset are constants. The images are those without noise.

    A network with few membranes near the threshold has small surrogate gradients. That misleads an attacker who uses
    the same surrogate, and only that attacker: docs/robust.md has what the audit finds.

    Args:
        strength: eta, at least 0.

    Raises:
        UsageError: the strength is negative.
    """

    def __init__(self, strength: float = 1.0) -> None:
        if not strength >= 0:
            raise UsageError(f"mpd-sgr: strength is {strength}; it must be at least 0.")
        self.strength = strength
        self.hooks: list[RemovableHandle] = []  # during the forward pass of a batch
        self.shares: list[Tensor] = []  # of each layer in that pass

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Listen to the layers of neurons during the next forward pass."""
        if not isinstance(model, SpikingNetwork) or model.recomputes:
            raise UsageError("mpd-sgr needs the membranes of a spiking network; leave snn.recompute off.")
        self._forget()
        for layer in model.neurons.values():
            if not isinstance(layer.surrogate, Linear):
                raise UsageError(f"mpd-sgr needs a surrogate with a window, but that of {layer.name} is not linear.")
            self.hooks.append(layer.register_forward_hook(self._listen))

    def _listen(self, layer: nn.Module, inputs: tuple[Any, ...], _: object) -> None:
        self.shares.append(share_inside(layer, *inputs))

    def _forget(self) -> None:
        for hook in self.hooks:
            hook.remove()
        self.hooks.clear()
        self.shares.clear()

    def loss(self, seen: Presentation) -> Tensor:
        """Return the loss of one period, whose forward pass is over."""
        share = torch.stack(self.shares).mean()
        self._forget()
        return F.cross_entropy(seen.logits / seen.timesteps, seen.labels) + self.strength * share


def share_inside(layer: Any, current: Tensor, window: Window, timed: bool = True) -> Tensor:
    """Return P(|z| < width) of a layer, a scalar, from its input current as `LIF` takes it."""
    current = layer.input_of(current, window, timed)
    rows = window.by_step(current) if timed else current
    steps = lif_steps(rows, None, layer.threshold, layer.leak, layer.scan(window.timesteps, timed))
    z = torch.stack([each for _, each, _, _ in steps])
    normal = torch.distributions.Normal(z.mean(), z.std().clamp(min=1e-6))
    edge = z.new_tensor(layer.surrogate.width)
    inside: Tensor = normal.cdf(edge) - normal.cdf(-edge)  # type: ignore[no-untyped-call]
    return inside
