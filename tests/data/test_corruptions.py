"""Corruptions: the same bytes everywhere, and what each does, by hand or by another implementation."""

import hashlib
import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from hiresnn.data import CORRUPTIONS, EVENT_CORRUPTIONS, corrupt, load
from hiresnn.data.corruptions import _bell, _directions, _normal, _poisson
from hiresnn.errors import UsageError

DIGESTS: dict[str, str] = {
    "gaussian-noise": "729eed934ba0",
    "shot-noise": "daec38fd3bcc",
    "impulse-noise": "a23c108a206e",
    "speckle-noise": "34fe9c16a1a4",
    "defocus-blur": "c32043b15c05",
    "gaussian-blur": "8e023b10eac7",
    "glass-blur": "b26c6364fa75",
    "motion-blur": "6bd703612dc0",
    "fog": "b43e3162a565",
    "brightness": "b4b7ad2ab3da",
    "contrast": "63bddaa25b57",
    "pixelate": "0dca2be12964",
    "dead-pixels": "53808840926f",
    "hot-pixels": "74d41df1e623",
    "rate": "02f511fa1cfb",
    "jitter": "0b593318c7d2",
    "dropped-packets": "028ab085f321",
    "polarity-errors": "7ca9d247ff6f",
}
"""First 12 digits of the SHA-256 over all severities of the images, or grids, below."""


def drawn(*shape, most=256):
    """Whole numbers below `most`, the same on every machine."""
    words = np.random.Philox(key=1).random_raw(math.prod(shape))
    return torch.from_numpy((words % np.uint64(most)).astype(np.uint8).reshape(shape))


def smooth(images=3, size=32):
    """Colour images of all levels without edges, from integer arithmetic."""
    pixels = torch.arange(images * 3 * size * size).view(images, 3, size, size)
    return (pixels * pixels // 977 % 511 - 255).abs().clamp(max=255).to(torch.uint8)


def digest(name):
    """Colour, grey and a picture; sparse binary grids and counts."""
    if name in CORRUPTIONS:
        batches = [(batch, False) for batch in (drawn(2, 3, 32, 32), drawn(2, 1, 7, 10), smooth())]
    else:
        batches = [((drawn(2, 6, 2, 9, 7) < 20).to(torch.uint8), True), (drawn(2, 6, 2, 9, 7, most=5), False)]
    parts = (
        corrupt(batch, name, severity, seed=3, binary=binary).numpy().tobytes()
        for batch, binary in batches
        for severity in range(1, 6)
    )
    return hashlib.sha256(b"".join(parts)).hexdigest()[:12]


@pytest.mark.parametrize("name", [*CORRUPTIONS, *EVENT_CORRUPTIONS])
def test_the_bytes_are_those_of_every_other_machine(name):
    assert digest(name) == DIGESTS[name]


def test_no_entry_of_a_table_is_so_near_to_a_tie_that_the_last_bit_of_a_function_matters():
    from scipy.special import ndtri

    exact = [65536 * ndtri((np.arange(65536) + 0.5) / 65536)]
    sigmas = {*(0.4, 0.5, 0.6, 0.2, 0.1), *CORRUPTIONS["gaussian-blur"][1], 0.05, 0.25, 1.5, 2, 2.5}
    exact += [np.array([65536 * math.exp(-(x * x) / (2 * s * s)) for x in range(20)]) for s in sigmas]
    exact += [65536 * np.sin(np.radians(np.arange(-45, 46))), 65536 * np.cos(np.radians(np.arange(-45, 46)))]
    for table in exact:
        assert np.abs(table - np.floor(table) - 0.5).min() > 1e-9  # the functions err by 1e-15 times 65536 * 4.3
    assert (_normal() == np.rint(exact[0])).all()
    assert _bell(2.5, 1).tolist() == [round(65536 * math.exp(-0.08)), 65536, round(65536 * math.exp(-0.08))]
    assert _directions()[:, 45].tolist() == [0, 65536]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_is_corrupted_alike_alone_and_in_a_batch_as_floats_and_as_bytes(name):
    images = drawn(130, 3, 5, 4)  # more than one chunk
    together = corrupt(images, name, 4, seed=5)
    assert together.dtype == torch.uint8
    assert torch.equal(corrupt(images[120:122], name, 4, seed=5), together[120:122])
    floats = corrupt(images.float() / 255, name, 4, seed=5)
    assert torch.equal(floats, together.float() / 255)
    assert not torch.equal(together, images)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_of_every_size_and_number_of_channels_keep_their_shape(name):
    for shape in ((2, 1, 1, 1), (1, 2, 1, 6), (0, 3, 8, 8), (1, 5, 40, 33)):
        assert corrupt(drawn(*shape), name, 5).shape == shape


def test_another_seed_or_severity_draws_anew():
    images = torch.full((1, 1, 64, 64), 128, dtype=torch.uint8)
    noisy = [corrupt(images, "impulse-noise", severity, seed=seed) != images for severity, seed in ((5, 0), (5, 1))]
    assert 0 < (noisy[0] & noisy[1]).float().mean() < 0.02  # 0.07 ** 2 by chance, not 0.07


@pytest.mark.parametrize("level", [60, 200])
def test_noise_has_the_published_strength(level):
    images = torch.full((1, 3, 128, 128), level, dtype=torch.uint8)

    def deviation(name):
        noise = corrupt(images, name, 2).double() - level
        assert abs(noise.mean()) < 0.4
        return float(noise.std()) / 255

    assert deviation("gaussian-noise") == pytest.approx(0.06, rel=0.03)
    assert deviation("speckle-noise") == pytest.approx(0.10 * level / 255, rel=0.03)
    assert deviation("shot-noise") == pytest.approx(math.sqrt(level / 255 / 250), rel=0.03)
    changed = corrupt(images, "impulse-noise", 5)
    assert float((changed != level).double().mean()) == pytest.approx(0.07, rel=0.05)
    assert set(changed.unique().tolist()) == {0, level, 255}
    assert float((changed == 255).double().mean()) == pytest.approx(0.035, rel=0.08)


def test_the_table_of_shot_noise_is_the_poisson_distribution():
    from scipy.stats import poisson

    for rate, level in ((500, 255), (500, 3), (50, 128), (250, 0)):
        expected = 65536 * poisson.cdf(np.arange(700), level / 255 * rate)
        assert np.abs(_poisson(rate)[level] - expected).max() < 1e-6


def test_blurs_are_weighted_means():
    image = smooth(1)
    for severity, sigma in enumerate((0.4, 0.6, 0.7, 0.8, 1), 1):
        expected = gaussian_filter(image[0].double().numpy(), (0, sigma, sigma), mode="nearest", truncate=4)
        assert np.abs(corrupt(image, "gaussian-blur", severity)[0].numpy() - expected).max() < 0.51
    point = torch.zeros(1, 1, 9, 9, dtype=torch.uint8)
    point[0, 0, 4, 4] = 255
    # Severity 5: a disc of radius 1.5 is the square of 3 x 3; the bell of 0.1 is one pixel. 255 / 9 = 28.3.
    assert corrupt(point, "defocus-blur", 5)[0, 0, 2:7, 2:7].tolist() == [
        [0] * 5, *[[0, 28, 28, 28, 0]] * 3, [0] * 5,
    ]  # fmt: skip
    # Severity 1: exp(-x**2 / 0.32) for three pixels is 0.0439, 1, 0.0439; 255 / 1.0879**2 = 215.5.
    assert corrupt(point, "defocus-blur", 1)[0, 0, 3:6, 3:6].tolist() == [[0, 9, 0], [9, 215, 9], [0, 9, 0]]


def smeared(level, degrees):
    """A point at (9, 9) under a one-sided bell of sigma 1 along a line, pixel by pixel."""
    weights, canvas = [math.exp(-(step**2) / 2) for step in range(13)], np.zeros((19, 19))
    for step, weight in enumerate(weights):
        down, right = (math.ceil(step * part(math.radians(degrees)) - 0.5 - 1e-9) for part in (math.sin, math.cos))
        if max(abs(down), right) <= 9:
            canvas[9 - down, 9 - right] += level * weight / sum(weights)
    return canvas


def test_motion_smears_along_a_line_of_whole_degrees_from_minus_45_to_45():
    levels, angles = torch.arange(216, 256), set()
    point = torch.zeros(40, 1, 19, 19, dtype=torch.uint8)
    point[:, 0, 9, 9] = levels  # other images, other angles
    for level, image in zip(levels.tolist(), corrupt(point, "motion-blur", 1)[:, 0].numpy(), strict=True):
        near = [degrees for degrees in range(-45, 46) if np.abs(image - smeared(level, degrees)).max() < 0.51]
        assert near
        angles.add(near[0])
    assert (min(angles) < -30, max(angles) > 25, len(angles) > 5) == (True, True, True)


def test_glass_moves_pixels_to_neighbours():
    image = drawn(2, 3, 12, 12)
    moved = corrupt(image, "glass-blur", 1)  # its blur of 0.05 pixels changes nothing
    colours = [sorted(map(tuple, picture.flatten(1).T.tolist())) for picture in (*image, *moved)]
    assert (colours[0], colours[1]) == (colours[2], colours[3])
    assert torch.equal(moved[:, :, 0], image[:, :, 0])  # the released code never reaches the first row and column
    assert 0.3 < (moved != image).any(1).double().mean() < 0.95


def test_fog_is_bright_smooth_and_keeps_the_brightest_level():
    black, white = torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)
    assert not corrupt(black, "fog", 5).any()  # the released code scales by the brightest pixel
    fog = corrupt(white, "fog", 3)  # (1 + 0.75 f) / 1.75 for a fractal f from 0 to 1
    assert float(fog.max()) == 1
    assert float(fog.min()) == pytest.approx(1 / 1.75, abs=1 / 255)
    assert torch.equal(fog[:, 0], fog[:, 2])
    pixels = fog[0, 0]
    assert (pixels[1:] - pixels[:-1]).abs().mean() < 0.5 * (pixels - pixels.flip(0)).abs().mean()


def test_brightness_and_contrast_by_hand():
    pixels = torch.tensor([[200, 0, 240], [100, 0, 240], [0, 0, 120]], dtype=torch.uint8).view(1, 3, 1, 3)
    # V grows by 0.1 * 255 = 25.5 to 225.5, 25.5 and 255; all channels by its ratio.
    assert corrupt(pixels, "brightness", 2)[0, :, 0].T.tolist() == [[226, 113, 0], [26, 26, 26], [255, 255, 128]]
    grey = torch.tensor([0, 100, 200, 20], dtype=torch.uint8).view(1, 1, 2, 2)  # mean 80
    assert corrupt(grey, "contrast", 2).flatten().tolist() == [40, 90, 140, 50]


def test_pixelate_is_that_of_pillow():
    image = load("digits").test.images[:1]
    for batch, small in ((smooth(1), (30, 28, 27, 24, 20)), (image, (7, 7, 6, 6, 5))):
        size = batch.shape[-1]
        for severity, pixels in enumerate(small, 1):
            picture = Image.fromarray(batch[0, 0].numpy()).resize((pixels, pixels), Image.Resampling.BOX)
            expected = np.asarray(picture.resize((size, size), Image.Resampling.BOX)).astype(int)
            result = corrupt(batch, "pixelate", severity)[0, 0].numpy().astype(int)
            assert np.abs(result - expected).max() <= 1  # Pillow rounds rows and columns one after the other


@pytest.fixture
def grids():
    """Counts of 0 to 3, 4 grids of 6 bins."""
    return drawn(4, 6, 2, 20, 30, most=4)


@pytest.mark.parametrize("name", EVENT_CORRUPTIONS)
def test_grids_of_every_type_hold_whole_numbers_and_binary_ones_0_and_1(name, grids):
    counts = corrupt(grids, name, 4)
    assert counts.dtype == torch.uint8
    assert torch.equal(corrupt(grids.float(), name, 4), counts.float())
    assert torch.equal(corrupt(grids[2:3], name, 4), counts[2:3])
    binary = grids.clamp(max=1)
    assert set(corrupt(binary, name, 4, binary=True).unique().tolist()) == {0, 1}
    assert torch.equal(corrupt(binary.bool(), name, 4, binary=True), corrupt(binary, name, 4, binary=True).bool())
    assert corrupt(grids[:, :1, :1, :1, :1], name, 5).shape == (4, 1, 1, 1, 1)


def test_dead_pixels_are_silent_and_hot_ones_always_fire(grids):
    full = grids + 1
    silent = corrupt(full, "dead-pixels", 3) == 0
    assert torch.equal(silent, silent[:, :1, :1].expand_as(silent))
    assert float(silent.double().mean()) == pytest.approx(0.2, abs=0.02)
    hot = corrupt(0 * grids, "hot-pixels", 5)
    assert torch.equal(hot, hot[:, :1].expand_as(hot))
    assert float(hot.sum(2).double().mean()) == pytest.approx(0.05, abs=0.01)
    assert hot.sum(2).max() == 1  # one polarity
    assert (corrupt(full, "hot-pixels", 5)[hot.bool().any(2, keepdim=True).expand_as(full)] <= 4).all()


def test_packets_are_bins_of_a_quarter_of_the_rows(grids):
    lost = corrupt(grids + 1, "dropped-packets", 4) == 0
    bands = lost.view(4, 6, 2, 4, 5, 30)  # 20 rows
    assert torch.equal(bands, bands[:, :, :1, :, :1, :1].expand_as(bands))
    assert float(lost.double().mean()) == pytest.approx(0.3, abs=0.1)


def test_events_are_lost_copied_moved_or_turned_one_by_one(grids):
    total = float(grids.sum())
    for severity, factor in ((1, 0.8), (2, 1.5), (3, 0.5), (5, 0.2)):
        assert float(corrupt(grids, "rate", severity).sum()) / total == pytest.approx(factor, abs=0.02)
    doubled = grids.clone()
    doubled[:, 1:] += grids[:, :-1]
    doubled[:, -1] += grids[:, -1]
    assert torch.equal(corrupt(grids, "rate", 4), doubled)
    jittered = corrupt(grids, "jitter", 1)
    assert torch.equal(jittered.sum(1), grids.sum(1))  # pixel by pixel, no event is lost
    alone = torch.zeros(1, 5, 1, 30, 30)
    alone[:, 2] = 2
    assert corrupt(alone, "jitter", 1).sum((0, 2, 3, 4)).tolist() == pytest.approx([0, 600, 600, 600, 0], abs=70)
    turned = corrupt(grids, "polarity-errors", 5)
    assert torch.equal(turned.sum(2), grids.sum(2))
    single = torch.zeros(1, 1, 2, 50, 50)
    single[:, :, 0] = 3
    assert float(corrupt(single, "polarity-errors", 2)[:, :, 1].sum()) / 7500 == pytest.approx(0.1, abs=0.015)


@pytest.mark.parametrize(
    ("images", "name", "severity", "word"),
    [
        (torch.zeros(1, 1, 2, 2), "frost", 1, "no corruption of images"),
        (torch.zeros(1, 1, 2, 2), "jitter", 1, "no corruption of images is 'jitter'"),
        (torch.zeros(1, 1, 1, 2, 2), "fog", 1, "no corruption of event grids"),
        (torch.zeros(1, 1, 2, 2), "fog", 0, "severity is 0"),
        (torch.zeros(1, 1, 2, 2), "fog", 2.5, "severity is 2.5"),
        (torch.full((1, 1, 2, 2), 2.0), "fog", 1, r"not in \[0, 1\]"),
        (torch.full((1, 1, 1, 2, 2), 0.5), "jitter", 1, "no number of events"),
        (torch.full((1, 1, 1, 2, 2), 256.0), "jitter", 1, "no number of events"),
        (torch.full((1, 1, 1, 2, 2), -1.0), "jitter", 1, "at least 0"),
    ],
)
def test_what_cannot_be_corrupted_is_refused(images, name, severity, word):
    with pytest.raises(UsageError, match=word):
        corrupt(images, name, severity)
