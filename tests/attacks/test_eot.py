import pytest
import torch
from torch import Tensor

from hiresnn.attacks.eot import expected_logits, over_draws
from hiresnn.attacks.losses import loss_gradient, margin
from hiresnn.errors import UsageError

IMAGES = torch.tensor([0.25, 0.5]).view(2, 1, 1, 1)
LABELS = torch.tensor([0, 1])


class Alternating:
    """logits (k x, 0) with k = 1, 2, 3, ... from one call to the next: a random model whose draws are known."""

    calls = 0

    def __call__(self, images: Tensor) -> Tensor:
        self.calls += 1
        scores = images.flatten(1) * self.calls
        return torch.cat([scores, torch.zeros_like(scores)], 1)


def test_logits_loss_and_gradient_are_means_over_the_draws() -> None:
    climb = over_draws(3)(Alternating(), IMAGES, LABELS, margin)  # k = 2 on average
    assert climb.logits.tolist() == [[0.5, 0], [1, 0]]
    assert climb.loss.tolist() == [-0.5, 1]
    assert climb.gradient.flatten().tolist() == [-2, 2]


def test_expected_logits_are_a_mean_without_a_graph() -> None:
    logits = expected_logits(Alternating(), IMAGES.clone().requires_grad_(), draws=3)
    assert logits.tolist() == [[0.5, 0], [1, 0]]
    assert not logits.requires_grad


def test_one_draw_is_the_plain_gradient() -> None:
    assert over_draws(1) is loss_gradient


def test_no_draw_is_refused() -> None:
    with pytest.raises(UsageError, match="draws is 0"):
        over_draws(0)
