import pytest
import torch

from hiresnn.data import Split, channel_statistics


def test_mean_and_std_are_those_of_all_pixels_of_a_channel():
    images = torch.randint(0, 256, (50, 3, 6, 6), generator=torch.Generator().manual_seed(0))
    images[:, 1] //= 2
    mean, std = channel_statistics(Split(images.to(torch.uint8), torch.zeros(50, dtype=torch.int64)))
    pixels = images.double().transpose(0, 1).flatten(1) / 255
    assert mean == pytest.approx(pixels.mean(1).tolist(), abs=1e-12)
    assert std == pytest.approx(pixels.std(1, correction=0).tolist(), abs=1e-12)


def test_by_hand_on_two_pixels():
    images = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
    assert channel_statistics(Split(images, torch.tensor([0, 1]))) == ((0.5,), (0.5,))


def test_a_channel_that_never_changes_has_the_std_of_one_grey_level():
    images = torch.full((4, 1, 2, 2), 51, dtype=torch.uint8)
    mean, std = channel_statistics(Split(images, torch.tensor([0, 1, 0, 1])))
    assert mean == pytest.approx((0.2,))
    assert std == (1 / 255,)
