"""Activations of few bits, beside values worked out by hand."""

import pytest
import torch
from torch import nn

from reproduction.quantised import best_ceiling, quantise, quantised


def test_activations_go_to_the_nearest_of_the_levels() -> None:
    # 2 bits, ceiling 6: levels 0, 2, 4, 6
    activations = torch.tensor([0.0, 0.9, 1.1, 2.9, 3.1, 5.5, 6.0, 60.0])
    assert quantise(activations, 6.0, 2).tolist() == [0, 0, 2, 2, 4, 6, 6, 6]


def test_one_bit_is_all_or_nothing() -> None:
    assert quantise(torch.tensor([0.4, 0.6, 7.0]), 1.0, 1).tolist() == [0, 1, 1]


def test_activations_that_are_levels_already_stay() -> None:
    levels = torch.arange(16) * 0.25
    assert torch.equal(quantise(levels, 3.75, 4), levels)


def test_the_ceiling_is_the_one_with_the_least_error() -> None:
    # 1 bit, levels 0 and c. Nine activations of 1 and one of 2: c = 1 leaves 1 once, c = 1.1 leaves 9 x 0.01 + 0.81
    # = 0.90, c = 1.2 leaves 9 x 0.04 + 0.64 = 1.00.
    activations = torch.tensor([1.0] * 9 + [2.0])
    assert best_ceiling(activations, 1) == pytest.approx(1.1)


def test_activations_that_are_all_zero_have_some_ceiling() -> None:
    assert best_ceiling(torch.zeros(4), 3) == 1.0


def network() -> nn.Sequential:
    """x -> relu(x) -> 2 relu(x) -> relu of it, for numbers that can be followed."""
    layers = nn.Sequential(nn.ReLU(), nn.Linear(1, 1, bias=False), nn.ReLU())
    nn.init.constant_(layers[1].weight, 2.0)
    return layers


def test_every_relu_of_a_network_is_rounded_with_the_ceiling_of_the_calibration() -> None:
    ann = network()
    # 1 bit, both calibration images 1: ceilings 1 and 2. Then 0.6 -> 1 -> 2, 0.4 -> 0, 9 -> 1 -> 2.
    with quantised(ann, torch.ones(2, 1), 1) as rounded, torch.no_grad():
        assert rounded(torch.tensor([[0.6], [0.4], [9.0], [-3.0]])).flatten().tolist() == [2, 0, 2, 0]


def test_the_network_is_as_before_afterwards() -> None:
    ann = network()
    with pytest.raises(ZeroDivisionError), quantised(ann, torch.ones(1, 1), 1):
        raise ZeroDivisionError
    assert ann(torch.tensor([[0.6]])).item() == pytest.approx(1.2)


def test_many_bits_change_nearly_nothing() -> None:
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
    images = torch.rand(64, 8)
    with torch.no_grad():
        plain = ann(images)
        with quantised(ann, images, 16):
            assert torch.allclose(ann(images), plain, atol=1e-3)
        with quantised(ann, images, 1):
            assert not torch.allclose(ann(images), plain, atol=1e-2)
