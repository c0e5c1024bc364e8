import pytest
import torch
from torch import Tensor

from hiresnn.attacks import fgsm, parse
from hiresnn.attacks.losses import expected_logits, loss_gradient, margin, over_draws
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


def test_logits_loss_and_gradient_are_means_over_draws() -> None:
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


def test_zero_draws_are_refused() -> None:
    with pytest.raises(UsageError, match="draws is 0"):
        over_draws(0)


class Drawing:
    """Logits (w (x - 0.5), 0), the weight w the next of a list at every call."""

    def __init__(self, *weights: float) -> None:
        self.weights, self.calls = weights, 0

    def __call__(self, images: Tensor) -> Tensor:
        weight = self.weights[self.calls % len(self.weights)]
        self.calls += 1
        first = weight * (images.flatten(1).sum(1) - 0.5)
        return torch.stack([first, torch.zeros_like(first)], 1)


GREY, FIRST = torch.full((1, 1, 1, 1), 0.5), torch.tensor([0])


def test_fgsm_follows_the_mean_gradient_and_not_that_of_one_draw() -> None:
    # At x = 0.5 both classes have probability 1/2, so the loss of label 0 has the gradient -w / 2:
    # -0.5, -0.5 and +1.5 for the three draws, on average +1/6: up. The first draw alone says down.
    model = Drawing(1.0, 1.0, -3.0)
    assert fgsm(Drawing(1.0), GREY, FIRST, eps=0.1).item() == pytest.approx(0.4)
    assert fgsm(model, GREY, FIRST, eps=0.1, draws=3).item() == pytest.approx(0.6)
    assert model.calls == 3


def test_pgd_follows_the_mean_gradient() -> None:
    model = Drawing(1.0, -2.0)  # mean gradient upward wherever it stands
    found = parse("pgd:draws=2", eps=0.1, step=0.04, iterations=2)(model, GREY, FIRST)
    assert found.item() == pytest.approx(0.58)
    assert model.calls == 4
