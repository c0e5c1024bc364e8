"""Noise that training adds to its images, in pixel units: crafted (Eq. 6), Gaussian (Fig. 9), or adversarial."""

import math
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn.attacks.gate import ascend, frozen, perturbed, uniform
from hiresnn.attacks.losses import summed_steps


class Noise:
    """No noise: the images as they are. Base class of every training noise."""

    needs_gradient = False  # whether `update` uses the gradient of the loss in the noisy images

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Prepare for a batch of images [B, C, H, W] in [0, 1]; called before its first period."""

    def apply(self, images: Tensor) -> Tensor:
        """Return the noisy images of one period, in [0, 1], which the network may write into."""
        return images.clone()

    def update(self, gradient: Tensor) -> None:
        """Use the gradient of the period's loss with respect to the noisy images, [B, C, H, W]."""

    def end(self) -> None:
        """Let go of the batch; called after its last period, and when it fails."""

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None: ...


class CraftedNoise(Noise):
    """The crafted noise kappa of HIRE-SNN (Eq. 6, Algorithm 1).

    kappa starts at zero once and continues from period to period and from batch to batch. Row i of kappa belongs to
    row i of every batch, so a shorter batch uses and updates the first rows.

    Args:
        step: eps_s, the step along the sign of the input gradient, in pixel units; at least 0.
        bound: eps_t, the largest absolute value of kappa, in pixel units; at least 0.
    """

    needs_gradient = True

    def __init__(self, step: float, bound: float) -> None:
        self.step, self.bound = step, bound
        self.kappa: Tensor | None = None

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        kappa = images[:0] if self.kappa is None else self.kappa
        self.kappa = torch.cat([kappa, torch.zeros_like(images[len(kappa) :])])

    def apply(self, images: Tensor) -> Tensor:
        assert self.kappa is not None
        return perturbed(images, self.kappa[: len(images)])

    def update(self, gradient: Tensor) -> None:
        """Apply Eq. 6: kappa = clip(kappa + eps_s * sign(gradient), -eps_t, eps_t)."""
        assert self.kappa is not None
        rows = len(gradient)
        self.kappa[:rows] = ascend(self.kappa[:rows], gradient, self.step, self.bound)

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self.kappa is None else {"kappa": self.kappa}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.kappa = state["kappa"].clone() if "kappa" in state else None


class GaussianNoise(Noise):
    """Gaussian noise with zero mean and deviation `std` >= 0 (eps_s in Fig. 9), drawn anew in every period."""

    def __init__(self, std: float) -> None:
        self.std = std

    def apply(self, images: Tensor) -> Tensor:
        return perturbed(images, self.std * torch.randn_like(images))


@dataclass(eq=False)
class Adversarial(Noise):
    """Adversarial examples that are crafted anew at the beginning of each batch.

        delta = eta, uniform in [-start, start]
        delta = clip(delta + step * sign(gradient of the loss at x + delta), -bound, bound), `iterations` times

    N-FGSM (de Jorge et al., NeurIPS 2022) starts in twice the ball and never projects: start = 2 eps, step = eps and
    no bound. The network stays in training mode while the noise is crafted, as in the authors' code; gradients of
    weights are not computed.

    Args:
        step, start: alpha, and the radius of the random start, in pixel units; at least 0.
        bound: radius of the ball, in pixel units; infinite for none. With a bound, x + delta is clipped to [0, 1].
        iterations: gradients per batch.
        divergence: ascend KL(p(x) || p(x + delta)), as TRADES does, and not the cross-entropy.
        evaluating: craft in eval mode, without dropout.
    """

    step: float
    _: KW_ONLY
    start: float = 0.0
    bound: float = math.inf
    iterations: int = 1
    divergence: bool = False
    evaluating: bool = False
    delta: Tensor = field(init=False)  # of the batch that began last

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        with frozen(model) if self.evaluating else nullcontext():
            target, steps = None, summed_steps(model)
            if self.divergence:
                with torch.no_grad():
                    target = (model(images).float() / steps).log_softmax(1)
            delta = uniform(images, self.start, None) if self.start else torch.zeros_like(images)
            for _ in range(self.iterations):
                noisy = images + delta if math.isinf(self.bound) else perturbed(images, delta)
                noisy = noisy.detach().requires_grad_()
                logits = model(noisy).float()
                if target is None:
                    loss = F.cross_entropy(logits, labels)
                else:
                    loss = F.kl_div((logits / steps).log_softmax(1), target, reduction="batchmean", log_target=True)
                (gradient,) = torch.autograd.grad(loss, noisy)
                delta = ascend(noisy.detach() - images, gradient, self.step, self.bound)
            self.delta = delta

    def apply(self, images: Tensor) -> Tensor:
        return perturbed(images, self.delta)


class NoiseInTime(CraftedNoise):
    """N-FGSM spread over the periods of a batch, so that no pass is spent on crafting (hire-nfgsm).

    The first period sees x + eta, eta uniform in [-2 bound, 2 bound]. Every later one sees
    x + eta + step * sign(gradient of the period before), which is not projected. Nothing continues to the next batch.
    """

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        self.eta = self.kappa = uniform(images, 2 * self.bound, None)

    def update(self, gradient: Tensor) -> None:
        self.kappa = ascend(self.eta, gradient, self.step, math.inf)
