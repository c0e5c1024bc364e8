import math

import pytest
import torch

from hiresnn.errors import UsageError
from hiresnn.models import Normalise


def test_mean_is_subtracted_and_std_divides_channel_by_channel():
    normalise = Normalise((0.5, 0.25), (0.25, 0.5))
    images = torch.tensor([1.0, 0.75]).view(1, 2, 1, 1)
    # (1 - 0.5) / 0.25 = 2 and (0.75 - 0.25) / 0.5 = 1
    assert normalise(images).flatten().tolist() == [2.0, 1.0]


def test_mean_and_std_are_buffers_that_broadcast_over_images_and_pixels():
    buffers = dict(Normalise((0.1, 0.2, 0.3), (1.0, 1.0, 1.0)).named_buffers())
    assert {name: tuple(buffer.shape) for name, buffer in buffers.items()} == {
        "mean": (1, 3, 1, 1),
        "std": (1, 3, 1, 1),
    }


def test_the_two_vectors_are_printed():
    assert "mean=[0.5], std=[0.25]" in repr(Normalise([0.5], [0.25]))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((0.5, 0.5), (0.2,), "mean has 2 and std has 1 numbers"),
        ((), (), "mean has 0 and std has 0 numbers"),
        ((0.5, math.nan), (0.2, 0.2), r"mean\[1\] is nan; give a finite number"),
        ((0.5, 0.5), (0.2, 0.0), r"std\[1\] is 0.0; give a finite number above 0"),
        ((0.5,), (math.inf,), r"std\[0\] is inf"),
    ],
)
def test_numbers_that_cannot_normalise_are_refused(mean, std, message):
    with pytest.raises(UsageError, match=message):
        Normalise(mean, std)
