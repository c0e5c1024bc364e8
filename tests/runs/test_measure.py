"""Accuracy, clean or attacked: by hand on a network that looks at one pixel."""

import pytest
import torch
from torch import Tensor, nn

from hiresnn.attacks import pgd
from hiresnn.data import Split
from hiresnn.errors import AttackError
from hiresnn.runs.measure import Accuracy, accuracy


class Bright(nn.Module):
    """Class 1 where the first pixel is above one half."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(1.0))

    def forward(self, images: Tensor) -> Tensor:
        first = images.flatten(1)[:, :1] - 0.5
        return self.slope * torch.cat([-first, first], dim=1)


# Four images of one pixel, 100 and 200 of 255 and two near the border; the last label is wrong.
SPLIT = Split(
    torch.tensor([100, 200, 120, 140], dtype=torch.uint8).view(4, 1, 1, 1),
    torch.tensor([0, 1, 0, 0]),
)


def test_accuracy_adds_batches_up() -> None:
    measure = Accuracy()
    measure.update(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    measure.update(torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
    measure.update(torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
    assert measure.compute() == 75


def test_accuracy_of_nothing_is_zero() -> None:
    assert Accuracy().compute() == 0


@pytest.mark.parametrize("batch_size", [1, 3, 200])
def test_clean_accuracy_does_not_depend_on_the_batch_size(batch_size: int) -> None:
    assert accuracy(Bright(), SPLIT, batch_size=batch_size) == 75


@pytest.mark.parametrize(
    ("eps", "expected"),
    # 120 crosses 127.5 from 8 grey levels on, 100 from 28, 200 from 73; 140 is wrong already.
    [(4, 75), (10, 50), (30, 25), (80, 0)],
)
def test_accuracy_under_attack_counts_what_the_bound_cannot_reach(eps: int, expected: float) -> None:
    def attack(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return pgd(model, images, labels, eps=eps / 255, step=eps / 255)

    assert accuracy(Bright(), SPLIT, attack=attack, eps=eps / 255) == expected


def test_an_attack_that_leaves_its_bound_is_caught() -> None:
    with pytest.raises(AttackError):
        accuracy(Bright(), SPLIT, attack=lambda model, images, labels: images + 0.1, eps=0.05)


def test_the_network_is_measured_in_eval_mode_and_left_as_it_was() -> None:
    network = nn.Sequential(Bright(), nn.Dropout(1.0)).train()  # in training mode every logit is dropped
    assert accuracy(network, SPLIT) == 75
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
