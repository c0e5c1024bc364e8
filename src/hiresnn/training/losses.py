"""Losses of training, as functions of what one period of a batch shows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn.attacks.gate import frozen
from hiresnn.errors import UsageError


class Presentation(NamedTuple):
    """What a loss sees of one period.

    Attributes:
        model: images -> logits [B, K], for a further pass over `timesteps` steps, in the precision of the training.
            With `same_draws` it has the dropout masks, and the other draws of the global generators, that the pass of
            `shown` had.
        images, shown: [B, C, H, W] in [0, 1], without and with the noise.
        labels: class numbers [B].
        logits: [B, K], of `shown`, sums over `timesteps` steps.
        timesteps: number of steps that `logits` sum over.
        earlier: logits per timestep of the period before, detached, or None.
    """

    model: Callable[..., Tensor]
    images: Tensor
    shown: Tensor
    labels: Tensor
    logits: Tensor
    timesteps: int
    earlier: Tensor | None


def cross_entropy(seen: Presentation, *, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy of the logits, the loss of the paper, with label `smoothing` in [0, 1)."""
    return F.cross_entropy(seen.logits, seen.labels, label_smoothing=smoothing)


def trades(seen: Presentation, *, smoothing: float = 0.0, beta: float = 6.0) -> Tensor:
    """Return CE(m(x), y) + beta KL(p(x) || p(x + delta)) (TRADES, Zhang et al. 2019), p of m = logits / T.

    Sums over T would saturate both terms; an ANN has T = 1.
    """
    clean, shown = seen.model(seen.images) / seen.timesteps, seen.logits / seen.timesteps
    natural, adversarial = clean.log_softmax(1), shown.log_softmax(1)
    divergence = F.kl_div(adversarial, natural, reduction="batchmean", log_target=True)
    return F.cross_entropy(clean, seen.labels, label_smoothing=smoothing) + beta * divergence


def consistent(seen: Presentation, *, pull: float = 1.0) -> Tensor:
    """Return CE(m, y) + pull |m - m'|^2, with m = logits / T and m' that of the period before, as it was."""
    logits = seen.logits / seen.timesteps
    loss = F.cross_entropy(logits, seen.labels)
    if seen.earlier is None:
        return loss
    return loss + pull * F.mse_loss(logits, seen.earlier)


def sparse_gradients(seen: Presentation, *, strength: float = 0.002, h: float = 0.01) -> Tensor:
    """Return CE(m) + strength * mean of ((f(x + h d) - f(x)) / h)^2, with d the sign of the gradient of f.

    SR (Liu et al., ICML 2024): f(x) is the logit of the label, m = logits / T, and the difference is the L1 norm of
    the gradient of f with respect to the image, up to the order of h. All passes share their dropout masks.
    """
    model, t = partial(seen.model, same_draws=True), seen.timesteps

    def of_label(logits: Tensor) -> Tensor:
        return logits.gather(1, seen.labels[:, None])[:, 0] / t

    images = seen.shown.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(of_label(model(images)).sum(), images)
    moved = of_label(model(images.detach() + h * gradient.sign()))
    slope = (moved - of_label(seen.logits)) / h
    return F.cross_entropy(seen.logits / t, seen.labels) + strength * slope.square().mean()


class Distillation:
    """The loss of robust soft labels (RSLAD, Zi et al., ICCV 2021), on logits averaged over time, m = logits / T.

        (1 - weight) CE(m(x'), y) + weight t^2 KL(softmax(teacher(x) / t) || softmax(m(x') / t))

    x' is what the method shows, the teacher sees the image x. The logits of teacher and network must have one scale, as
    after a conversion with `rescale`.

    Args:
        teacher: images -> logits; in each call it is in eval mode and without gradients, afterwards as before.
        weight: share of the divergence, in [0, 1].
        temperature: t, above 0.

    Raises:
        UsageError: a value is out of range.
    """

    def __init__(self, teacher: nn.Module, weight: float = 0.7, temperature: float = 1.0) -> None:
        if not 0 <= weight <= 1 or not temperature > 0:
            raise UsageError(
                f"distillation: weight is {weight} and temperature is {temperature}; the weight must lie in [0, 1], "
                "and the temperature must be above 0."
            )
        self.teacher = teacher
        self.weight, self.temperature = weight, temperature

    def __call__(self, seen: Presentation) -> Tensor:
        """Return the loss of one period."""
        logits, t = seen.logits / seen.timesteps, self.temperature
        with frozen(self.teacher), torch.no_grad():
            target = (self.teacher(seen.images).float() / t).log_softmax(1)
        divergence = F.kl_div((logits / t).log_softmax(1), target, reduction="batchmean", log_target=True)
        return (1 - self.weight) * F.cross_entropy(logits, seen.labels) + self.weight * t**2 * divergence
