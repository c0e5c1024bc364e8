"""Random noise as an attack: the control that no gradient attack may fall behind (Athalye et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from hiresnn.attacks.ball import perturbed, project
from hiresnn.attacks.best_of import Worst
from hiresnn.attacks.gate import Model, check, frozen
from hiresnn.attacks.options import check_options
from hiresnn.errors import UsageError


def uniform(images: Tensor, eps: float, generator: torch.Generator | None) -> Tensor:
    """Uniform in [-eps, eps], independent for each pixel; drawn on the CPU."""
    return (torch.rand(images.shape, generator=generator) * 2 - 1).to(images) * eps


def sign(images: Tensor, eps: float, generator: torch.Generator | None) -> Tensor:
    """-eps or +eps, a corner of the ball."""
    return (torch.randint(0, 2, images.shape, generator=generator) * 2 - 1).to(images) * eps


def gaussian(images: Tensor, eps: float, generator: torch.Generator | None) -> Tensor:
    """Normal with standard deviation eps, clipped to [-eps, eps]."""
    return project(torch.randn(images.shape, generator=generator).to(images) * eps, eps)


KINDS: dict[str, Callable[[Tensor, float, torch.Generator | None], Tensor]] = {
    "uniform": uniform,
    "sign": sign,
    "gaussian": gaussian,
}


def random_noise(
    model: Model,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, " batch"],
    *,
    eps: float = 8 / 255,
    draws: int = 100,
    kind: str = "uniform",
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch channel height width"]:
    """The worst of many random perturbations, for each image; broken images leave the batch.

    Args:
        model, images, labels, eps: as in `pgd`.
        draws: perturbations tried, at least 1.
        kind: "uniform", "sign" or "gaussian".
        generator: CPU generator of the noise.

    Raises:
        UsageError: a value out of range.
    """
    check_options("noise", eps=eps)
    check_options("noise", draws=draws)
    if kind not in KINDS:
        raise UsageError(f"noise: kind is {kind!r}; choose one of {', '.join(KINDS)}.")
    with frozen(model):
        worst = Worst(model, images, labels)
        for _ in range(draws):
            rows = worst.standing
            worst.show(rows, perturbed(images[rows], KINDS[kind](images[rows], eps, generator)))
    check(images, worst.adversarial, eps=eps)
    return worst.adversarial
