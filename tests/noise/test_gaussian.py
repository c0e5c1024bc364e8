import pytest
import torch

from hiresnn.errors import UsageError
from hiresnn.noise import GaussianNoise, NoNoise

GREY = torch.full((100, 1, 20, 20), 0.5)


def test_no_noise_hands_the_batch_on():
    noise = NoNoise()
    assert noise.apply(GREY) is GREY
    noise.update(GREY)
    assert noise.apply(GREY) is GREY


def test_gaussian_noise_has_zero_mean_and_its_standard_deviation():
    torch.manual_seed(0)
    noise = GaussianNoise(0.03).apply(GREY) - GREY
    # 40,000 pixels: the mean is known to 0.00015, the deviation to 0.0001 (one sigma). Grey is 16 of them from black.
    assert noise.mean().item() == pytest.approx(0, abs=6e-4)
    assert noise.std().item() == pytest.approx(0.03, abs=4e-4)
    assert ((noise.abs() < 0.03).double().mean().item()) == pytest.approx(0.6827, abs=0.01)  # the normal law


def test_gaussian_noise_is_fresh_in_every_period_and_repeated_by_a_seed():
    noise, draws = GaussianNoise(0.1), []
    for seed in (0, None, 0):
        if seed is not None:
            torch.manual_seed(seed)
        draws.append(noise.apply(GREY))
    assert not torch.equal(draws[0], draws[1])
    assert torch.equal(draws[0], draws[2])


def test_gaussian_noise_stays_in_the_range_of_pixels():
    torch.manual_seed(0)
    noisy = GaussianNoise(2.0).apply(GREY)
    assert (noisy.min().item(), noisy.max().item()) == (0, 1)


@pytest.mark.parametrize("noise", [NoNoise(), GaussianNoise(0.1)])
def test_noise_that_is_not_crafted_wants_no_gradient_and_has_no_state(noise):
    assert not noise.crafted
    noise.load_state_dict(noise.state_dict())
    assert noise.state_dict() == {}


def test_a_negative_deviation_is_refused():
    with pytest.raises(UsageError, match=r"std is -0\.1"):
        GaussianNoise(-0.1)
