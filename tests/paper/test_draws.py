"""FGSM and PGD along the mean gradient over draws."""

import pytest
import torch
from torch import Tensor, nn

from hiresnn.attacks import fgsm, parse, pgd
from hiresnn.errors import UsageError
from hiresnn.paper.draws import expected

IMAGES, LABELS = torch.full((1, 1, 1, 1), 0.5), torch.tensor([0])


class Drawing:
    """Logits (w (x - 0.5), 0), the weight w the next of a list at every call."""

    def __init__(self, *weights: float) -> None:
        self.weights, self.calls = weights, 0

    def __call__(self, images: Tensor) -> Tensor:
        weight = self.weights[self.calls % len(self.weights)]
        self.calls += 1
        first = weight * (images.flatten(1).sum(1) - 0.5)
        return torch.stack([first, torch.zeros_like(first)], 1)


def test_the_step_follows_the_mean_gradient_and_not_that_of_one_draw() -> None:
    # At x = 0.5 both classes have probability 1/2, so the loss of label 0 has the gradient -w / 2:
    # -0.5, -0.5 and +1.5 for the three draws, on average +1/6: up. The first draw alone says down.
    model = Drawing(1.0, 1.0, -3.0)
    spec = parse("fgsm", eps=0.1)
    assert expected(spec, 1)(Drawing(1.0), IMAGES, LABELS).item() == pytest.approx(0.4)
    assert expected(spec, 3)(model, IMAGES, LABELS).item() == pytest.approx(0.6)
    assert model.calls == 3


def test_pgd_takes_its_steps_and_stays_in_its_bound() -> None:
    model = Drawing(1.0, -2.0)  # mean gradient upward wherever it stands
    found = expected(parse("pgd", eps=0.1, step=0.04, iterations=2), 2)(model, IMAGES, LABELS)
    assert found.item() == pytest.approx(0.58)
    assert model.calls == 4
    far = expected(parse("pgd", eps=0.1, step=0.04, iterations=5), 2)(Drawing(1.0, -2.0), IMAGES, LABELS)
    assert far.item() == pytest.approx(0.6)


def test_where_nothing_is_drawn_it_is_the_attack_itself() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(9, 5), nn.Tanh(), nn.Linear(5, 3))
    images, labels = torch.rand(4, 1, 3, 3), torch.tensor([0, 1, 2, 0])
    options = {"eps": 0.1, "step": 0.03, "iterations": 5}
    # Two draws: their mean is the gradient bit for bit.
    assert torch.equal(
        expected(parse("pgd", **options), 2)(model, images, labels), pgd(model, images, labels, **options)
    )
    assert torch.equal(expected(parse("fgsm", eps=0.1), 2)(model, images, labels), fgsm(model, images, labels, eps=0.1))


@pytest.mark.parametrize("text", ["apgd", "pgd:random_start=true", "pgd:rule=arctan"])
def test_what_has_no_mean_over_draws_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="take fgsm or pgd"):
        expected(parse(text), 2)
