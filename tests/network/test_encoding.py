import pytest
import torch

from hiresnn.network import Encoder
from hiresnn.neurons import Window


def poisson(seed=0):
    encoder = Encoder("poisson")
    encoder.generator = torch.Generator().manual_seed(seed)
    return encoder


def test_poisson_spikes_have_the_rate_and_the_sign_of_the_pixel():
    pixels = torch.tensor([0.0, 0.25, -0.6, 1.0, 1.7, -2.0]).view(1, 6, 1, 1)
    spikes = poisson()(pixels, Window(4000, 1))
    assert set(spikes.unique().tolist()) == {-1.0, 0.0, 1.0}
    # min(|x|, 1) with the sign of x; 0.03 is almost four standard deviations of a mean of 4000.
    assert spikes.mean(0).flatten().tolist() == pytest.approx([0, 0.25, -0.6, 1, 1, -1], abs=0.03)
    assert (spikes[:, 1] >= 0).all()
    assert (spikes[:, 2] <= 0).all()


def test_poisson_spikes_are_fresh_at_every_step_and_every_call():
    encoder, window = poisson(), Window(2, 1)
    pixels = torch.full((1, 1, 8, 8), 0.5)
    first, second = encoder(pixels, window), encoder(pixels, window)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)


def test_a_seed_repeats_poisson_spikes_and_spares_the_global_generator():
    pixels, window = torch.full((2, 1, 8, 8), 0.5), Window(3, 2)
    before = torch.get_rng_state()
    assert torch.equal(poisson(7)(pixels, window), poisson(7)(pixels, window))
    assert not torch.equal(poisson(7)(pixels, window), poisson(8)(pixels, window))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_gradient_of_poisson_spikes_is_that_of_the_clipped_pixel():
    pixels = torch.tensor([0.5, -0.5, 0.0, 1.5, -1.5]).view(1, 5, 1, 1).requires_grad_()
    weights = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1, 1)
    (poisson()(pixels, Window(3, 1)) * weights).sum().backward()
    # d clip(x, -1, 1) / dx is 1 inside and 0 outside; the three steps add up to 1 + 2 + 3.
    assert pixels.grad.flatten().tolist() == [6, 6, 6, 0, 0]
