"""Adversarial examples as training noise: FGSM, N-FGSM, PGD and TRADES, crafted on the network in training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn.attacks.ball import ascend, perturbed, uniform
from hiresnn.attacks.gate import frozen
from hiresnn.attacks.losses import summed_steps
from hiresnn.errors import UsageError
from hiresnn.neurons import gradient_rule
from hiresnn.training.noise import CraftedNoise, Noise


@dataclass(eq=False)
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
        timesteps: T of the passes that craft the noise, of a spiking network; None is the network's own.
        rules: texts of gradient rules that take turns, one per batch; empty for the network's own. A network that is
            trained against a single rule fits that rule, and others break it.
        evaluating: craft in eval mode, without dropout.

    Raises:
        UsageError: a value is negative or NaN.
    """

    step: float
    _: KW_ONLY
    start: float = 0.0
    bound: float = math.inf
    iterations: int = 1
    divergence: bool = False
    timesteps: int | None = None
    rules: Sequence[str] = ()
    evaluating: bool = False
    turn: int = field(default=0, init=False)
    delta: Tensor = field(init=False)  # of the batch that began last

    def __post_init__(self) -> None:
        if not (self.step >= 0 and self.start >= 0 and self.bound >= 0):
            raise UsageError(
                f"adversarial noise: step {self.step}, start {self.start}, bound {self.bound}; none may be negative."
            )

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Craft the noise of a batch on the network as it is now."""
        rule = gradient_rule(model, self.rules[self.turn % len(self.rules)]) if self.rules else nullcontext()
        with rule, frozen(model) if self.evaluating else nullcontext():
            self.delta = self.crafted(model, images, labels)
        self.turn += 1

    def crafted(self, model: Callable[..., Tensor], images: Tensor, labels: Tensor) -> Tensor:
        """Return delta [B, C, H, W], crafted on `model`."""
        target, steps = None, summed_steps(model)
        if self.divergence:
            with torch.no_grad():
                target = (model(images).float() / steps).log_softmax(1)
        delta = uniform(images, self.start, None) if self.start else torch.zeros_like(images)
        for _ in range(self.iterations):
            shown = images + delta if math.isinf(self.bound) else perturbed(images, delta)
            shown = shown.detach().requires_grad_()
            logits = (model(shown) if self.timesteps is None else model(shown, timesteps=self.timesteps)).float()
            if target is None:
                loss = F.cross_entropy(logits, labels)
            else:
                loss = F.kl_div((logits / steps).log_softmax(1), target, reduction="batchmean", log_target=True)
            (gradient,) = torch.autograd.grad(loss, shown)
            delta = ascend(shown.detach() - images, gradient, self.step, self.bound)
        return delta

    def apply(self, images: Tensor) -> Tensor:
        """Return clip(images + delta, 0, 1)."""
        return perturbed(images, self.delta)

    def state_dict(self) -> dict[str, Tensor]:
        """Return whose turn it is, if rules take turns."""
        return {"turn": torch.tensor(self.turn)} if self.rules else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.turn = int(state.get("turn", 0))


class NoiseInTime(CraftedNoise):
    """N-FGSM spread over the periods of a batch, so that no pass is spent on crafting (hire-nfgsm).

    The first period sees x + eta, eta uniform in [-2 bound, 2 bound]. Every later one sees
    x + eta + step * sign(gradient of the period before), which is not projected. Nothing continues to the next batch.
    """

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: each batch starts anew."""
        return {}

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Draw eta."""
        self.eta = self.kappa = uniform(images, 2 * self.bound, None)

    def update(self, gradient: Tensor) -> None:
        """Set the noise to eta + step * sign(gradient)."""
        self.kappa = ascend(self.eta, gradient, self.step, math.inf)
