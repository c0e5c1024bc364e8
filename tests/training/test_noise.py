"""Training noise: kappa by hand (Eq. 6), the Gaussian control, and no noise."""

import pytest
import torch
from torch import nn

from hiresnn.training import CraftedNoise, GaussianNoise

GREY = torch.full((100, 1, 20, 20), 0.5)


def batch(*pixels):
    return torch.tensor(pixels).view(-1, 1, 1, 1)


def shown(noise, images):
    """The pixels of a batch of one-pixel images with noise."""
    noise.begin(nn.Identity(), images, torch.zeros(len(images), dtype=torch.int64))
    return noise.apply(images).flatten().tolist()


def kappa(noise):
    return noise.kappa.flatten().tolist()


def test_kappa_starts_at_zero_and_continues_from_batch_to_batch():
    noise = CraftedNoise(0.25, 0.5)
    assert shown(noise, batch(0.25, 1.0)) == [0.25, 1.0]
    noise.update(batch(2.0, -1.0))
    assert kappa(noise) == [0.25, -0.25]
    # Other images: 0.125 + 0.25, and 0.125 - 0.25, which is clipped to black.
    assert shown(noise, batch(0.125, 0.125)) == [0.375, 0.0]
    noise.update(batch(1.0, 1.0))
    assert kappa(noise) == [0.5, 0.0]


def test_kappa_stays_within_its_bound():
    noise = CraftedNoise(0.25, 0.375)
    for _ in range(4):
        shown(noise, batch(0.5, 0.5))
        noise.update(batch(1.0, -1.0))
    assert kappa(noise) == [0.375, -0.375]


def test_a_shorter_batch_uses_and_updates_only_the_first_rows():
    noise = CraftedNoise(0.25, 1.0)
    shown(noise, batch(0.5, 0.5, 0.5))
    noise.update(batch(1.0, -1.0, 1.0))
    assert shown(noise, batch(0.5, 0.5)) == [0.75, 0.25]
    noise.update(batch(1.0, 1.0))
    assert kappa(noise) == [0.5, 0.0, 0.25]
    assert shown(noise, batch(0.0, 0.0, 0.0)) == [0.5, 0.0, 0.25]


def test_rows_beyond_a_short_first_batch_start_at_zero():
    noise = CraftedNoise(0.25, 1.0)
    shown(noise, batch(0.5))
    noise.update(batch(1.0))
    assert shown(noise, batch(0.5, 0.5)) == [0.75, 0.5]
    assert kappa(noise) == [0.25, 0.0]


def test_noise_never_changes_the_images_themselves():
    images = batch(0.5, 0.5)
    for noise in (CraftedNoise(0.25, 1.0), GaussianNoise(0.1)):
        for _ in range(2):
            shown(noise, images)
            noise.update(batch(1.0, 1.0))
    assert images.flatten().tolist() == [0.5, 0.5]


def test_kappa_continues_from_its_saved_state():
    noise = CraftedNoise(0.25, 1.0)
    shown(noise, batch(0.5, 0.5))
    noise.update(batch(1.0, -1.0))
    resumed = CraftedNoise(0.25, 1.0)
    resumed.load_state_dict(noise.state_dict())
    for each in (noise, resumed):
        shown(each, batch(0.5, 0.5))
        each.update(batch(1.0, 1.0))
    assert kappa(resumed) == kappa(noise) == [0.5, 0.0]


def test_gaussian_noise_has_zero_mean_and_its_standard_deviation():
    torch.manual_seed(0)
    noise = GaussianNoise(0.03).apply(GREY) - GREY
    # 40,000 pixels: the standard error of the mean is 0.00015, that of the deviation 0.0001.
    assert noise.mean().item() == pytest.approx(0, abs=6e-4)
    assert noise.std().item() == pytest.approx(0.03, abs=4e-4)
    assert (noise.abs() < 0.03).double().mean().item() == pytest.approx(0.6827, abs=0.01)  # the normal distribution


def test_gaussian_noise_is_new_in_every_period_and_repeated_by_a_seed():
    noise, draws = GaussianNoise(0.1), []
    for seed in (0, None, 0):
        if seed is not None:
            torch.manual_seed(seed)
        draws.append(noise.apply(GREY))
    assert not torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[2])
