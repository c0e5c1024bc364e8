import pytest
import torch
from torch import nn

from hiresnn.attacks import pgd, transfer
from hiresnn.attacks.losses import WorstCandidates, best_of
from hiresnn.errors import UsageError


def two_classes(images):
    """Class 0 where the one pixel is below 0.5; margin loss 2 x - 1 for label 0."""
    x = images.flatten(1)
    return torch.cat([1 - x, x], 1)


def pixels(*values):
    return torch.tensor(values).view(-1, 1, 1, 1)


LABELS = torch.tensor([0, 0, 0])


def test_an_image_misclassified_without_attack_counts_as_broken():
    worst = WorstCandidates(two_classes, pixels(0.1, 0.7, 0.3), LABELS)
    assert worst.broken.tolist() == [False, True, False]
    assert worst.standing.tolist() == [0, 2]


def test_the_first_misclassified_candidate_is_not_replaced_later():
    worst = WorstCandidates(two_classes, pixels(0.1, 0.1, 0.1), LABELS)
    everyone = worst.standing
    assert worst.query(everyone, pixels(0.6, 0.2, 0.3)).tolist() == [True, False, False]
    assert worst.query(everyone, pixels(0.9, 0.4, 0.2)).tolist() == [True, False, False]
    torch.testing.assert_close(worst.adversarial.flatten(), torch.tensor([0.6, 0.4, 0.3]))
    assert worst.standing.tolist() == [1, 2]


def test_rows_say_which_images_the_candidates_belong_to():
    worst = WorstCandidates(two_classes, pixels(0.1, 0.2, 0.3), LABELS)
    worst.query(torch.tensor([2, 1]), pixels(0.8, 0.25))
    torch.testing.assert_close(worst.adversarial.flatten(), torch.tensor([0.1, 0.25, 0.8]))
    assert worst.standing.tolist() == [0, 1]


def brighter(by):
    def attack(model, images, labels):
        attack.seen.append(len(images))
        return images + by

    attack.seen = []
    return attack


def test_best_of_gives_each_attack_only_the_unbroken_images():
    first, second = brighter(0.25), brighter(0.3)
    found = best_of([first, second])(two_classes, pixels(0.3, 0.1, 0.22), LABELS)
    torch.testing.assert_close(found.flatten(), torch.tensor([0.55, 0.4, 0.52]))
    assert first.seen == [3]
    assert second.seen == [2]


def test_best_of_no_attack_is_refused():
    with pytest.raises(UsageError, match="at least one attack"):
        best_of([])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_count_as_misclassified(value):
    def failing(images):  # argmax would call NaN class 0, which is the label
        x = images.flatten(1)
        return torch.where(x > 0.3, value, two_classes(images))

    worst = WorstCandidates(failing, pixels(0.1, 0.1, 0.4), LABELS)
    assert worst.broken.tolist() == [False, False, True]
    worst.query(worst.standing, pixels(0.2, 0.35))
    assert worst.broken.tolist() == [False, True, True]
    assert worst.adversarial.flatten().tolist() == pytest.approx([0.2, 0.35, 0.4])


NOISE = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 1, 2, 0])


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 3))


def untouchable(images):
    raise AssertionError("a black-box attack looked at its model")


def test_a_transfer_attack_queries_only_the_twin():
    twin = network(1)
    assert torch.equal(transfer(pgd, twin)(untouchable, NOISE, CLASSES), pgd(twin, NOISE, CLASSES))
    assert not torch.equal(pgd(network(2), NOISE, CLASSES), pgd(twin, NOISE, CLASSES))


def test_the_twin_is_frozen_during_any_attack():
    twin, seen = nn.Sequential(nn.Dropout(0.5), network(1)).train(), []

    def attack(model, images, labels):
        seen.append((model is twin, model.training, any(each.requires_grad for each in model.parameters())))
        return images

    transfer(attack, twin)(untouchable, NOISE, CLASSES)
    assert seen == [(True, False, False)]
    assert all(module.training for module in twin.modules())
    assert all(parameter.requires_grad for parameter in twin.parameters())
