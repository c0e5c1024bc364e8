"""Shared dropout and the encoder."""

import pytest
import torch

from hiresnn.network import Encoder, SharedDropout
from hiresnn.neurons import Window


def dropped(dropout, window, units=1000):
    return window.by_step(dropout(torch.ones(window.timesteps * window.batch, units), window))


def test_a_unit_is_dropped_at_all_timesteps_or_at_none():
    torch.manual_seed(0)
    steps = dropped(SharedDropout(0.25), Window(4, 3))
    for step in steps[1:]:
        assert torch.equal(step, steps[0])
    # 3000 units: a share within 0.03 of 0.25 is almost four standard deviations.
    assert (steps[0] == 0).double().mean().item() == pytest.approx(0.25, abs=0.03)


def test_what_stays_is_scaled_to_keep_the_expectation():
    assert dropped(SharedDropout(0.2), Window(2, 2)).unique().tolist() == [0, 1.25]


def test_a_following_window_keeps_the_mask():
    dropout, window = SharedDropout(0.5), Window(2, 2, carried=True)
    assert torch.equal(dropped(dropout, window), dropped(dropout, window.following()))


def test_rows_without_time_keep_having_none():
    dropout, window = SharedDropout(0.5), Window(3, 2)
    assert dropout(torch.ones(2, 4, 5, 5), window, False).shape == (2, 4, 5, 5)
    assert dropout(torch.ones(6, 4, 5, 5), window).shape == (6, 4, 5, 5)


def test_evaluation_and_zero_probability_leave_rows_as_they_are():
    rows, window = torch.rand(4, 3), Window(2, 2)
    assert SharedDropout(0.5).eval()(rows, window) is rows
    assert SharedDropout(0.0)(rows, window) is rows


@pytest.mark.parametrize("p", [0.001, 0.2, 0.5, 0.9])
def test_units_are_dropped_with_the_probability_asked_for_and_independently(p):
    torch.manual_seed(0)
    gone = dropped(SharedDropout(p), Window(1, 1), 2**20)[0, 0] == 0
    deviation = (p * (1 - p) / 2**20) ** 0.5
    assert gone.double().mean().item() == pytest.approx(p, abs=5 * deviation + 2**-17)
    for lag in (1, 2, 3, 4):  # four units share a draw
        both = (gone[lag:] & gone[:-lag]).double().mean().item()
        assert both == pytest.approx(p * p, abs=5 * p / 2**10)


def test_a_mask_has_the_layout_of_its_rows():
    rows = torch.ones(3, 5, 4, 4).contiguous(memory_format=torch.channels_last)
    mask = SharedDropout(0.5).mask(rows, Window(1, 3))
    assert mask.shape == rows.shape
    assert mask.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_whole_channels_are_dropped_where_asked_for(layout):
    torch.manual_seed(0)
    like = torch.ones(3, 500, 4, 5).contiguous(memory_format=layout)
    mask = SharedDropout(0.25, channels=True).mask(like, Window(2, 3))
    assert mask.is_contiguous(memory_format=layout)
    assert torch.equal(mask, mask[:, :, :1, :1].expand_as(mask))
    # 1500 channels: a share within 0.045 of 0.25 is four standard deviations.
    assert (mask[:, :, 0, 0] == 0).double().mean().item() == pytest.approx(0.25, abs=0.045)


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
