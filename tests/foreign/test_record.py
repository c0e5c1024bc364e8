"""Spikes of foreign networks by timestep and image, whatever the order in which a library keeps them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.foreign import Unrolled, record
from hiresnn.foreign.unrolled import in_steps

T, B = 3, 2
STEPS = torch.arange(T * B * 4.0).reshape(T, B, 4)


@pytest.mark.parametrize(
    ("layout", "rows", "expected"),
    [
        ("steps", STEPS[0], STEPS[:1]),
        ("any", STEPS[0], STEPS[:1]),
        ("sequence", STEPS, STEPS),
        ("any", STEPS, STEPS),
        ("sequence", STEPS.flatten(0, 1), STEPS),
        ("any", STEPS.flatten(0, 1), STEPS),
        ("batch first", STEPS.transpose(0, 1), STEPS),
        ("batch first", STEPS.transpose(0, 1).flatten(0, 1), STEPS),
        ("sequence", STEPS[0], STEPS[:1]),  # computed once, before the images are repeated
    ],
)
def test_rows_are_sorted_by_step_and_image(layout: Any, rows: Tensor, expected: Tensor) -> None:
    assert torch.equal(in_steps("layer", rows, T, B, layout), expected)


def test_a_sequence_of_one_step_is_a_sequence() -> None:
    assert torch.equal(in_steps("layer", STEPS[:1], 1, B, "sequence"), STEPS[:1])
    assert torch.equal(in_steps("layer", STEPS[0], 1, B, "sequence"), STEPS[:1])


@pytest.mark.parametrize(
    ("layout", "rows"), [("steps", torch.ones(5, 4)), ("any", torch.ones(5, 4)), ("any", torch.ones(2, 2))]
)
def test_rows_that_do_not_tell_images_from_steps_are_refused(layout: Any, rows: Tensor) -> None:
    with pytest.raises(UsageError, match=r"layer 'conv' has rows of shape"):
        in_steps("conv", rows, 2 if rows.shape == (2, 2) else T, B, layout)


class Counter(nn.Module):
    """Spikes at every second step: stores how often it was called."""

    def __init__(self, amplitude: float = 1.0) -> None:
        super().__init__()
        self.calls, self.amplitude = 0, amplitude

    def reset(self) -> None:
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return torch.full_like(x, self.calls % 2 * self.amplitude)


def adapted(network: nn.Module, neuron: nn.Module, timesteps: int = T, **options: Any) -> Unrolled:
    return Unrolled(network, timesteps, library="mine", reset=lambda _: neuron.reset(), spiking=[neuron], **options)


def test_each_forward_pass_fills_the_dictionary() -> None:
    neuron = Counter()
    model = adapted(nn.Sequential(nn.Flatten(), neuron), neuron)
    with record(model) as spikes:
        for size in (2, 5):
            model(torch.rand(size, 1, 2, 2))
            assert spikes["1"].shape == (T, size, 4)
            assert spikes["1"][:, 0, 0].tolist() == [1, 0, 1]
        found = spikes["1"]
    model(torch.rand(3, 1, 2, 2))
    assert spikes["1"] is found


class Loop(nn.Module):
    def __init__(self, steps: int, neuron: nn.Module) -> None:
        super().__init__()
        self.steps, self.neuron = steps, neuron

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.neuron(images.flatten(1)) for _ in range(self.steps)]).mean(0)


def test_what_cannot_be_recorded_is_refused() -> None:
    neuron = Counter()
    model = adapted(Loop(4, neuron), neuron, own_loop=True)
    with record(model), pytest.raises(UsageError, match=r"'neuron' is called for 4 timesteps.*timesteps=3"):
        model(torch.rand(2, 1, 2, 2))
    neuron = Counter(0.5)
    model = adapted(nn.Sequential(nn.Flatten(), neuron), neuron)
    with record(model), pytest.raises(UsageError, match="'1' returns numbers that are not whole"):
        model(torch.rand(2, 1, 2, 2))
    with pytest.raises(UsageError, match=r"mine network names no layers of neurons.*spiking="):
        record(Unrolled(nn.Flatten(), T, library="mine")).__enter__()
