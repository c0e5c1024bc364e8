"""Adversarial examples as training noise: FGSM, N-FGSM, PGD and TRADES, crafted on the network in training."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn.attacks.ball import ascend, perturbed, uniform
from hiresnn.errors import UsageError
from hiresnn.training.noise import CraftedNoise, Noise


class Adversarial(Noise):
    """Adversarial examples that are crafted anew at the beginning of each batch.

        delta = eta, uniform in [-start, start]
        delta = clip(delta + step * sign(gradient of the loss at x + delta), -bound, bound), `iterations` times

    N-FGSM (de Jorge et al., NeurIPS 2022) starts in twice the ball and never projects: start = 2 eps, step = eps and
    no bound. The network stays in training mode while the noise is crafted, as in the authors' code; gradients of
    weights are not computed.

    Args:
        step: alpha, in pixel units; at least 0.
        start: radius of the random start, in pixel units; at least 0.
        bound: radius of the ball, in pixel units; infinite for none. With a bound, x + delta is clipped to [0, 1].
        iterations: gradients per batch.
        divergence: ascend KL(p(x) || p(x + delta)), as TRADES does, and not the cross-entropy.

    Raises:
        UsageError: a value is negative or NaN.
    """

    def __init__(
        self, step: float, *, start: float = 0.0, bound: float = math.inf, iterations: int = 1, divergence: bool = False
    ) -> None:
        if not (step >= 0 and start >= 0 and bound >= 0):
            raise UsageError(f"adversarial noise: step {step}, start {start}, bound {bound}; none may be negative.")
        self.step, self.start, self.bound = step, start, bound
        self.iterations, self.divergence = iterations, divergence
        self.delta: Tensor | None = None

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Craft the noise of a batch on the network as it is now."""
        target = None
        if self.divergence:
            with torch.no_grad():
                target = model(images).float().log_softmax(1)
        delta = uniform(images, self.start, None) if self.start else torch.zeros_like(images)
        for _ in range(self.iterations):
            shown = images + delta if math.isinf(self.bound) else perturbed(images, delta)
            shown = shown.detach().requires_grad_()
            logits = model(shown).float()
            if target is None:
                loss = F.cross_entropy(logits, labels)
            else:
                loss = F.kl_div(logits.log_softmax(1), target, reduction="batchmean", log_target=True)
            (gradient,) = torch.autograd.grad(loss, shown)
            delta = ascend(shown.detach() - images, gradient, self.step, self.bound)
        self.delta = delta

    def apply(self, images: Tensor) -> Tensor:
        """Return clip(images + delta, 0, 1)."""
        assert self.delta is not None, "begin comes before apply"
        return perturbed(images, self.delta)


class NoiseInTime(CraftedNoise):
    """N-FGSM spread over the periods of a batch, so that no pass is spent on crafting (hire-nfgsm).

    The first period sees x + eta, eta uniform in [-2 bound, 2 bound]. Every later one sees
    x + eta + step * sign(gradient of the period before), which is not projected. Nothing continues to the next batch.
    """

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Draw eta."""
        self.eta = self.kappa = uniform(images, 2 * self.bound, None)

    def update(self, gradient: Tensor) -> None:
        """Set the noise to eta + step * sign(gradient)."""
        self.kappa = ascend(self.eta, gradient, self.step, math.inf)
