"""Losses of training, as functions of what one period of a batch shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor


class Presentation(NamedTuple):
    """What a loss sees of one period.

    Attributes:
        model: images -> logits [B, K], for a further pass; in the precision of the training.
        images, shown: [B, C, H, W] in [0, 1], without and with the noise.
        logits: [B, K], sums over `timesteps` steps. `earlier` are those of the period before, detached, or None.
    """

    model: Callable[[Tensor], Tensor]
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
    return loss + pull * F.mse_loss(logits, seen.earlier / seen.timesteps)
