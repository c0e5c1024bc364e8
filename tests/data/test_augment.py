import pytest
import torch

from hiresnn.data import flip_and_crop
from hiresnn.errors import UsageError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def one_by_one(images, padding, draws):
    """The same draws, applied with torch's own padding to one image at a time."""
    batch, _, height, width = images.shape
    vertical, horizontal = min(padding, height - 1), min(padding, width - 1)
    flips = torch.randint(0, 2, (batch, 1), generator=draws)
    tops = torch.randint(-vertical, vertical + 1, (batch, 1), generator=draws) + vertical
    lefts = torch.randint(-horizontal, horizontal + 1, (batch, 1), generator=draws) + horizontal
    results = []
    for image, flip, top, left in zip(images.double(), flips, tops, lefts, strict=True):
        padded = torch.nn.functional.pad(image[None], (horizontal, horizontal, vertical, vertical), mode="reflect")[0]
        crop = padded[:, int(top) : int(top) + height, int(left) : int(left) + width]
        results.append(crop.flip(-1) if flip else crop)
    return torch.stack(results).to(images.dtype)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(
    ("shape", "padding"),
    [((40, 3, 32, 32), 4), ((40, 1, 8, 8), 4), ((1, 3, 5, 7), 2), ((40, 2, 3, 3), 4), ((9, 1, 1, 1), 4)],
)
def test_a_batch_equals_the_images_augmented_one_by_one(shape, padding, dtype):
    images = (torch.rand(shape, generator=generator(7)) * 255).to(dtype)
    augmented = flip_and_crop(images, padding=padding, generator=generator())
    assert augmented.dtype == dtype
    assert torch.equal(augmented, one_by_one(images, padding, generator()))


def test_the_border_is_reflected_without_repeating_the_edge():
    row = torch.tensor([0, 1, 2, 3], dtype=torch.uint8).view(1, 1, 1, 4).expand(400, 1, 1, 4)
    seen = {tuple(image.flatten().tolist()) for image in flip_and_crop(row, padding=2, generator=generator())}
    windows = {(2, 1, 0, 1), (1, 0, 1, 2), (0, 1, 2, 3), (1, 2, 3, 2), (2, 3, 2, 1)}  # of 2 1 0 1 2 3 2 1
    assert seen == windows | {window[::-1] for window in windows}


def test_half_of_the_images_are_flipped():
    images = torch.tensor([1.0, 2.0]).view(1, 1, 1, 2).expand(4000, 1, 1, 2)
    flipped = flip_and_crop(images, padding=0, generator=generator())[:, 0, 0, 0] == 2
    # the standard deviation of the share is 0.5 / sqrt(4000) = 0.008
    assert 0.46 < flipped.double().mean() < 0.54


def test_all_offsets_of_both_axes_are_equally_likely_and_independent():
    images = torch.arange(81, dtype=torch.float32).view(1, 1, 9, 9).expand(8100, 1, 9, 9)
    centre = flip_and_crop(images, padding=4, generator=generator())[:, 0, 4, 4]
    counts = centre.long().bincount(minlength=81)
    # each of the 81 pixels is expected at the centre 100 times, standard deviation 10
    assert counts.min() > 55
    assert counts.max() < 145


def test_images_of_a_batch_are_augmented_independently():
    image = torch.rand(1, 3, 32, 32, generator=generator()).expand(64, 3, 32, 32)
    augmented = flip_and_crop(image, generator=generator())
    # of 2 * 81 variants, 64 draws give about 53 different ones
    assert len({tuple(one.flatten().tolist()) for one in augmented}) > 40


def test_the_same_generator_state_gives_the_same_batch():
    images = torch.rand(16, 3, 8, 8)
    assert torch.equal(flip_and_crop(images, generator=generator(1)), flip_and_crop(images, generator=generator(1)))
    assert not torch.equal(flip_and_crop(images, generator=generator(1)), flip_and_crop(images, generator=generator(2)))


def test_the_input_is_not_modified():
    images = torch.rand(16, 3, 8, 8)
    before = images.clone()
    flip_and_crop(images, generator=generator())
    assert torch.equal(images, before)


def test_negative_padding_is_refused():
    with pytest.raises(UsageError, match="padding is -1"):
        flip_and_crop(torch.rand(1, 1, 4, 4), padding=-1, generator=generator())
