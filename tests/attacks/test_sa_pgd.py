import math

import pytest
import torch
from torch import Tensor

from hiresnn.attacks import sa_pgd

WEIGHT = torch.tensor([3.0, -0.5, 0.0, 1e-15])


def model(images: Tensor) -> Tensor:
    """Logits (0, w.x - 9): label 0 is never lost, the gradient of the margin is w."""
    score = images.flatten(1) @ WEIGHT[:, None] - 9
    return torch.cat([torch.zeros_like(score), score], 1)


IMAGES, LABEL = torch.full((1, 1, 2, 2), 0.5), torch.tensor([0])


def test_the_first_sa_pgd_step_equals_the_one_worked_out_by_hand() -> None:
    # mean |w| = 0.875, mean w^2 = 2.3125: m / sqrt v = (w / 0.875) / (|w| / 1.520691) = sign(w) 1.737932,
    # clipped at eta = eps; a pixel without gradient stays
    found = sa_pgd(model, IMAGES, LABEL, eps=0.1, iterations=1, loss="margin")
    assert found.flatten().tolist() == pytest.approx([0.6, 0.4, 0.5, 0.6])


def test_the_step_shrinks_where_the_gradient_changes_sign() -> None:
    """One pixel that oscillates about the top of its loss: hand-rolled moments against the iterates."""
    seen = list[float]()

    def valley(images: Tensor) -> Tensor:
        x = images.flatten(1)
        seen.append(x[0, 0].item())
        return torch.cat([torch.zeros_like(x), -2 * (x - 0.53).abs()], 1)

    found = sa_pgd(valley, IMAGES[:, :, :1, :1], LABEL, eps=0.1, iterations=30, loss="margin")
    x, first, second, eta, best, at_best = 0.5, 0.0, 0.0, 0.1, -0.06, 0.5
    for k in range(5):  # of 30 iterations the first checkpoint is at 6
        slope = 1.0 if x < 0.53 else -1.0
        first, second = 0.5 * first + slope, 0.8 * second + 1
        x = min(max(x + max(-eta, min(eta, eta * first / math.sqrt(second))), 0.4), 0.6)
        assert seen[2 + k] == pytest.approx(x, abs=1e-6)
        if -2 * abs(x - 0.53) > best:
            best, at_best = -2 * abs(x - 0.53), x
    assert abs(found.item() - 0.53) <= abs(at_best - 0.53) + 1e-6
    assert abs(found.item() - 0.53) < 0.01


def test_the_step_does_not_depend_on_the_size_of_the_gradient() -> None:
    def scaled(images: Tensor) -> Tensor:
        return 1e-30 * model(images)

    found = sa_pgd(scaled, IMAGES, LABEL, eps=0.1, iterations=1, loss="margin")
    assert found.flatten()[:3].tolist() == pytest.approx([0.6, 0.4, 0.5])
