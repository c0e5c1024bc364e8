"""Distillation from a robust teacher, which keeps a network that is trained further close to it (RSLAD)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.training.losses import Presentation


class Distillation:
    """The loss of robust soft labels (Zi et al., ICCV 2021), on logits averaged over time, m = logits / T.

        (1 - weight) CE(m(x'), y) + weight t^2 KL(softmax(teacher(x) / t) || softmax(m(x') / t))

    x' is what the method shows, the teacher sees the image x. The logits of teacher and network must have one scale, as
    after a conversion with `rescale`.

    Args:
        teacher: images -> logits; it is used in eval mode and not trained.
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
        self.teacher = teacher.eval().requires_grad_(False)
        self.weight, self.temperature = weight, temperature

    def __call__(self, seen: Presentation) -> Tensor:
        """Return the loss of one period."""
        logits, t = seen.logits / seen.timesteps, self.temperature
        with torch.no_grad():
            target = (self.teacher(seen.images).float() / t).log_softmax(1)
        divergence = F.kl_div((logits / t).log_softmax(1), target, reduction="batchmean", log_target=True)
        return (1 - self.weight) * F.cross_entropy(logits, seen.labels) + self.weight * t**2 * divergence
