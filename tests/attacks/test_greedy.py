import pytest
import torch
from torch import Tensor, nn

from hiresnn.attacks import greedy
from hiresnn.errors import UsageError
from hiresnn.neurons import LIF, Linear, Window


class OneNeuron(nn.Module):
    """A pixel, a LIF of threshold 0.5 over one step, logits (0.5, spike)."""

    def __init__(self) -> None:
        super().__init__()
        self.lif = LIF(0.5)

    def forward(self, images: Tensor) -> Tensor:
        spikes = self.lif(images.flatten(1), Window(1, len(images)))
        return torch.cat([torch.full_like(spikes, 0.5), spikes], 1)


def blind(z: Tensor) -> Tensor:
    return torch.zeros_like(z)


def backwards(z: Tensor) -> Tensor:
    return -torch.ones_like(z)


IMAGES, LABELS = torch.tensor([0.3, 0.45]).view(2, 1, 1, 1), torch.tensor([0, 0])


def test_the_rule_with_the_highest_loss_is_followed() -> None:
    model = OneNeuron()
    options = {"eps": 0.3, "step": 0.1, "iterations": 3}
    assert torch.equal(greedy(model, IMAGES, LABELS, rules=[blind, backwards], **options), IMAGES)
    found = greedy(model, IMAGES, LABELS, rules=[Linear(), backwards, blind], **options)
    assert (model(found).argmax(1) == 1).all()
    assert found.flatten().tolist() == pytest.approx([0.6, 0.55])


def test_greedy_needs_rules_and_neurons() -> None:
    with pytest.raises(UsageError, match="rules is empty"):
        greedy(OneNeuron(), IMAGES, LABELS, rules=[])
    with pytest.raises(UsageError, match="has no LIF neuron"):
        greedy(
            nn.Flatten(), torch.tensor([0.6, 0.4, 0.7, 0.1]).view(2, 1, 1, 2), LABELS.new_tensor([0, 0]), loss="margin"
        )
