import pytest
import torch

from hiresnn.errors import UsageError
from hiresnn.noise import CraftedNoise


def batch(*pixels):
    return torch.tensor(pixels).view(-1, 1, 1, 1)


def kappa(noise):
    return noise.kappa.flatten().tolist()


def test_the_first_images_are_shown_without_noise():
    noise, images = CraftedNoise(0.25, 0.5), batch(0.25, 1.0)
    assert torch.equal(noise.apply(images), images)
    assert noise.crafted


def test_kappa_is_carried_from_batch_to_batch():
    noise = CraftedNoise(0.25, 0.5)
    noise.apply(batch(0.5, 0.5))
    noise.update(batch(2.0, -1.0))
    assert kappa(noise) == [0.25, -0.25]
    # Other images: 0.125 + 0.25 and 0.125 - 0.25, which is below black.
    assert noise.apply(batch(0.125, 0.125)).flatten().tolist() == [0.375, 0.0]
    noise.update(batch(1.0, 1.0))
    assert kappa(noise) == [0.5, 0.0]


def test_kappa_never_leaves_its_bound():
    noise = CraftedNoise(0.25, 0.375)
    for _ in range(4):
        noise.apply(batch(0.5, 0.5))
        noise.update(batch(1.0, -1.0))
    assert kappa(noise) == [0.375, -0.375]


def test_a_shorter_batch_uses_and_updates_its_first_rows_only():
    noise = CraftedNoise(0.25, 1.0)
    noise.apply(batch(0.5, 0.5, 0.5))
    noise.update(batch(1.0, -1.0, 1.0))
    assert noise.apply(batch(0.5, 0.5)).flatten().tolist() == [0.75, 0.25]
    noise.update(batch(1.0, 1.0))
    assert kappa(noise) == [0.5, 0.0, 0.25]
    assert noise.apply(batch(0.0, 0.0, 0.0)).flatten().tolist() == [0.5, 0.0, 0.25]


def test_rows_beyond_a_short_first_batch_start_at_zero():
    noise = CraftedNoise(0.25, 1.0)
    noise.apply(batch(0.5))
    noise.update(batch(1.0))
    assert noise.apply(batch(0.5, 0.5)).flatten().tolist() == [0.75, 0.5]
    assert kappa(noise) == [0.25, 0.0]


def test_the_images_themselves_are_not_touched():
    noise, images = CraftedNoise(0.25, 1.0), batch(0.5, 0.5)
    for _ in range(2):
        noise.apply(images)
        noise.update(batch(1.0, 1.0))
    assert images.flatten().tolist() == [0.5, 0.5]


def test_a_step_of_zero_shows_the_images_as_they_are():
    noise, images = CraftedNoise(0.0, 0.5), torch.rand(4, 3, 2, 2)
    for _ in range(2):
        assert torch.equal(noise.apply(images), images)
        noise.update(torch.randn(4, 3, 2, 2))


def test_noise_goes_on_from_its_saved_state():
    noise = CraftedNoise(0.25, 1.0)
    noise.apply(batch(0.5, 0.5))
    noise.update(batch(1.0, -1.0))
    resumed = CraftedNoise(0.25, 1.0)
    resumed.load_state_dict(noise.state_dict())
    for each in (noise, resumed):
        each.apply(batch(0.5, 0.5))
        each.update(batch(1.0, 1.0))
    assert kappa(resumed) == kappa(noise) == [0.5, 0.0]


def test_noise_that_was_never_applied_has_no_state():
    noise = CraftedNoise(0.25, 1.0)
    noise.load_state_dict(CraftedNoise(0.25, 1.0).state_dict())
    assert noise.state_dict() == {}
    assert noise.apply(batch(0.5)).item() == 0.5


@pytest.mark.parametrize(("step", "bound"), [(-0.1, 0.5), (0.1, -0.5), (float("nan"), 0.5)])
def test_a_negative_step_or_bound_is_refused(step, bound):
    with pytest.raises(UsageError, match="neither may be negative"):
        CraftedNoise(step, bound)
