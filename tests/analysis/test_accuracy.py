"""Accuracy, clean or attacked: by hand on a network that looks at one pixel."""

import pytest
import torch
from torch import nn

from hiresnn.analysis import corruption_accuracy, evaluate, mean_accuracy
from hiresnn.analysis.accuracy import accuracy
from hiresnn.attacks import pgd
from hiresnn.data import CORRUPTIONS, EVENT_CORRUPTIONS, Split
from hiresnn.errors import AttackError, UsageError


class Bright(nn.Module):
    """Class 1 where the first pixel is above one half."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(1.0))

    def forward(self, images):
        first = images.flatten(1)[:, :1] - 0.5
        return self.slope * torch.cat([-first, first], dim=1)


# Four images of one pixel, 100 and 200 of 255 and two near the border; the last label is wrong.
SPLIT = Split(torch.tensor([100, 200, 120, 140], dtype=torch.uint8).view(4, 1, 1, 1), torch.tensor([0, 1, 0, 0]))
IMAGES = SPLIT.images.float() / 255


@pytest.mark.parametrize("batch_size", [1, 3, 200])
def test_clean_accuracy_does_not_depend_on_the_batch_size(batch_size):
    assert accuracy(Bright(), SPLIT, batch_size=batch_size) == 75


@pytest.mark.parametrize(
    ("eps", "expected"),
    # 120 crosses 127.5 from 8 grey levels on, 100 from 28, 200 from 73; 140 is wrong already.
    [(4, 75), (10, 50), (30, 25), (80, 0)],
)
def test_accuracy_under_attack_counts_what_the_bound_cannot_reach(eps, expected):
    def attack(model, images, labels):
        return pgd(model, images, labels, eps=eps / 255, step=eps / 255)

    assert accuracy(Bright(), SPLIT, attack=attack, eps=eps / 255) == expected


def test_the_network_is_evaluated_in_eval_mode_and_its_mode_is_restored():
    network = nn.Sequential(Bright(), nn.Dropout(1.0)).train()  # in training mode every logit is dropped
    assert accuracy(network, SPLIT) == 75
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_evaluate_takes_an_attack_as_a_function_or_as_text():
    assert evaluate(Bright(), IMAGES, SPLIT.labels, attack="fgsm:eps=10/255") == 50
    assert evaluate(Bright(), IMAGES, SPLIT.labels, attack=lambda model, images, labels: 1 - images) == 25
    with pytest.raises(AttackError, match="pixels"):
        evaluate(Bright(), IMAGES, SPLIT.labels, attack=lambda model, images, labels: images + 1)


def test_logits_that_are_not_finite_count_as_wrong():
    nan = torch.full((4, 2), float("nan"))
    assert evaluate(lambda images: nan, IMAGES, torch.zeros(4, dtype=torch.int64)) == 0


@pytest.mark.parametrize(
    ("images", "labels", "options", "message"),
    [
        (IMAGES * 255, SPLIT.labels, {}, "divide by 255"),
        (IMAGES[:3], SPLIT.labels, {}, "one whole number per image"),
        (IMAGES, torch.tensor([0, 7, 0, 0]), {}, "labels reach from 0 to 7"),
        (IMAGES, SPLIT.labels, {"batch_size": 0}, "batch_size is 0"),
    ],
)
def test_invalid_input_of_evaluate_is_refused(images, labels, options, message):
    with pytest.raises(UsageError, match=message):
        evaluate(Bright(), images, labels, **options)


@pytest.mark.parametrize("measure", [lambda net: evaluate(net, IMAGES, SPLIT.labels), lambda net: accuracy(net, SPLIT)])
def test_a_stateful_network_of_another_library_is_refused_without_its_adapter(measure):
    neuron = type("Leaky", (nn.Identity,), {"__module__": "snntorch._neurons.leaky", "reset_mem": lambda self: None})
    with pytest.raises(UsageError, match=r"snntorch.*hiresnn\.foreign\.snntorch\(network"):
        measure(nn.Sequential(neuron(), Bright()))


def test_accuracy_on_corrupted_images_by_hand():
    accuracies = corruption_accuracy(Bright(), SPLIT, seed=1, batch_size=3)
    assert list(accuracies) == list(CORRUPTIONS)
    # Brightness adds 12.75, 25.5, 38.25, 51 and 76.5 levels: 120 crosses 127.5 at once, 100 from the third on.
    assert accuracies["brightness"] == [50, 50, 25, 25, 25]
    assert accuracies["gaussian-blur"] == accuracies["contrast"] == [75] * 5  # of a single pixel
    assert corruption_accuracy(Bright(), SPLIT, seed=1, batch_size=1) == accuracies
    assert mean_accuracy({"a": [0, 10], "b": [20, 21.5]}) == 12.88


def test_accuracy_on_corrupted_event_grids_keeps_binary_ones_binary():
    seen = []

    def network(grids):
        seen.append(grids)
        return torch.stack([-grids.sum((1, 2, 3, 4)), grids.sum((1, 2, 3, 4))], 1)  # class 1 where there is an event

    grids, labels = torch.ones(3, 4, 2, 8, 8), torch.ones(3, dtype=torch.int64)
    accuracies = corruption_accuracy(network, grids, labels)
    assert accuracies == {name: [100] * 5 for name in EVENT_CORRUPTIONS}
    assert {float(part.max()) for part in seen} == {1}
    corruption_accuracy(network, 2 * grids, labels)
    assert max(float(part.max()) for part in seen) > 2
