import torch
from torch import nn

from hiresnn.attacks import pgd, transfer

IMAGES = torch.rand(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0])


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(9, 3))


def untouchable(images):
    raise AssertionError("a black-box attack looked at its model")


def test_a_transfer_attack_queries_only_the_twin():
    twin = network(1)
    assert torch.equal(transfer(pgd, twin)(untouchable, IMAGES, LABELS), pgd(twin, IMAGES, LABELS))
    assert not torch.equal(pgd(network(2), IMAGES, LABELS), pgd(twin, IMAGES, LABELS))


def test_the_twin_is_frozen_during_any_attack():
    twin, seen = nn.Sequential(nn.Dropout(0.5), network(1)).train(), []

    def attack(model, images, labels):
        seen.append((model is twin, model.training, any(each.requires_grad for each in model.parameters())))
        return images

    transfer(attack, twin)(untouchable, IMAGES, LABELS)
    assert seen == [(True, False, False)]
    assert all(module.training for module in twin.modules())
    assert all(parameter.requires_grad for parameter in twin.parameters())
