"""Fast gradient sign method (Eq. 3; Goodfellow et al. 2015): one step of PGD, as long as the bound."""

from __future__ import annotations

from jaxtyping import Float, Int64
from torch import Tensor

from hiresnn.attacks.gate import Model
from hiresnn.attacks.pgd import pgd


def fgsm(
    model: Model,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, " batch"],
    *,
    eps: float = 8 / 255,
    draws: int = 1,
) -> Float[Tensor, "batch channel height width"]:
    """x + eps * sign(gradient of the loss in x), clipped to [0, 1].

    `eps` is in pixel units, at least 0 (paper: 8/255). Model, images, labels, draws and the result as in `pgd`.
    """
    return pgd(model, images, labels, eps=eps, step=eps, iterations=1, draws=draws)
