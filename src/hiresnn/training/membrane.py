"""MPPD-TV: adversarial training that keeps the readout's membranes on both images together, step by step."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hiresnn.errors import UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.training.adversarial import Adversarial
from hiresnn.training.losses import Presentation


class MembraneDistance(Adversarial):
    """The noise and the loss of MPPD-TV (Ding et al., ICML 2024), on logits averaged over time, m = logits / T.

        1/2 CE(m(x), y) + 1/2 CE(m(x'), y) + strength * mean |Y_t|,   Y_t = decay Y_(t-1) + c_t(x) - c_t(x')

    c_t is the input of the readout at step t, [B, K], and the mean is over steps, images and classes. A hook on the
    network's layers collects c; the passes are those of training.

    Args:
        step, options: see `Adversarial`.
        strength: rho.
        decay: of the membranes whose difference Y is.
    """

    def __init__(self, step: float, *, strength: float = 2.5, decay: float = 0.99, **options: Any) -> None:
        super().__init__(step, **options)
        self.strength, self.decay = strength, decay
        self.hook: RemovableHandle | None = None  # from the start of a batch to its loss
        self.readout: Tensor | None = None  # [T * B, K] of the latest pass

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Craft the noise of a batch, and listen to the readout until its loss."""
        if not isinstance(model, SpikingNetwork) or model.recomputes:
            raise UsageError("mppd-tv needs the readout of a spiking network at every step; leave snn.recompute off.")
        self._forget()
        super().begin(model, images, labels)
        self.hook = model.layers.register_forward_hook(self._listen)

    def _listen(self, _: nn.Module, __: object, rows: Tensor) -> None:
        self.readout = rows

    def _forget(self) -> None:
        if self.hook is not None:
            self.hook.remove()
        self.hook = self.readout = None  # a network that holds on to a graph cannot be copied

    def loss(self, seen: Presentation) -> Tensor:
        """Return the loss of one period."""
        t = seen.timesteps
        shown = self._steps(t)
        clean = seen.model(seen.images)
        both = F.cross_entropy(clean / t, seen.labels) + F.cross_entropy(seen.logits / t, seen.labels)
        distance = y = torch.zeros_like(clean)
        for unperturbed, perturbed in zip(self._steps(t), shown, strict=True):
            y = self.decay * y + unperturbed - perturbed
            distance = distance + y.abs()
        self._forget()
        return both / 2 + self.strength * (distance / t).mean()

    def _steps(self, timesteps: int) -> Tensor:
        assert self.readout is not None
        return self.readout.float().view(timesteps, -1, self.readout.shape[-1])
