"""FGSM and PGD on a network that draws (Poisson input): every gradient is a mean over draws (EOT, Athalye 2018).

The attacks of the paper otherwise, Eq. 3 and 4: K steps, the last iterate. `pgd-restarts` has the option `draws` too,
but counts any misclassified iterate, which is a stronger attack than the one that the paper's numbers are of.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hiresnn.attacks import LOSSES, Attack, AttackSpec, Model, frozen, over_draws
from hiresnn.errors import UsageError
from hiresnn.noise import ascend, perturbed


def expected(spec: AttackSpec, draws: int) -> Attack:
    """The attack `spec`, fgsm or pgd, along the mean gradient of `draws` draws; with one draw, `spec` itself.

    Raises:
        UsageError: another attack with more than one draw, or one with a random start.
    """
    if draws == 1:
        return spec
    if spec.name not in ("fgsm", "pgd") or spec.options.get("random_start") or spec.rule is not None:
        raise UsageError(
            f"attack {spec.label!r} has no mean over draws here; take fgsm or pgd without random start and rule."
        )
    eps = spec.eps
    step, iterations = spec.options.get("step", eps), spec.options.get("iterations", 1)
    if spec.name == "fgsm":
        step, iterations = eps, 1
    gradient, loss = over_draws(draws), LOSSES["cross-entropy"]

    def attack(model: Model, images: Tensor, labels: Tensor) -> Tensor:
        adversarial = perturbed(images, torch.zeros_like(images))
        with frozen(model):
            for _ in range(iterations):
                climb = gradient(model, adversarial, labels, loss)
                adversarial = perturbed(images, ascend(adversarial - images, climb.gradient, step, eps))
        return adversarial.detach()

    return attack
