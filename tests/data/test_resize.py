"""Images of other sizes: the shorter side is scaled, the middle is cropped."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hiresnn.data import load
from hiresnn.errors import DataError


def photo(path: Path, width: int, height: int) -> None:
    """A picture whose left and right quarters are white and whose middle is black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 4] = pixels[:, -(width // 4) :] = 255
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for part, name, width, height in (
        ("train", "cat", 64, 32),
        ("train", "dog", 32, 16),
        ("test", "cat", 128, 64),
        ("test", "dog", 24, 48),
    ):
        photo(tmp_path / part / name / "a.png", width, height)
    return tmp_path


def test_images_of_a_folder_get_one_size(photos: Path) -> None:
    data = load(str(photos), size=8)
    assert data.train.images.shape == data.test.images.shape == (2, 3, 8, 8)
    # Twice as wide as high: the middle half remains, which is black but for what the filter mixes in at its edge.
    assert data.train.images[..., 1:7].max() == data.test.images[0, ..., 1:7].max() == 0
    assert data.train.images.max() < 64
    upright = data.test.images[1, 0]
    assert (upright[:, 0].min(), upright[:, 7].min(), upright[:, 3].max()) == (255, 255, 0)


def test_mixed_sizes_are_refused_by_the_key_that_helps(photos: Path) -> None:
    with pytest.raises(DataError, match=r"dog.a\.png: the image is 16x32 .*; scale and crop all .* data\.size=32"):
        load(str(photos))


@pytest.mark.parametrize("shape", [(6, 9, 12), (6, 9, 12, 3), (6, 9, 12, 1)])
def test_images_of_an_archive_get_the_size_in_the_same_way(tmp_path: Path, shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    arrays = {f"{part}_images": generator.integers(0, 256, shape, dtype=np.uint8) for part in ("train", "val", "test")}
    arrays |= {f"{part}_labels": np.arange(6)[:, None] % 3 for part in ("train", "val", "test")}
    np.savez(tmp_path / "mnist.npz", **arrays)
    data = load(str(tmp_path / "mnist.npz"), size=9)
    plain = load(str(tmp_path / "mnist.npz"))
    assert (plain.height, plain.width) == (9, 12)
    channels = plain.in_channels
    assert data.train.images.shape == (6, channels, 9, 9)
    # The height is the size already, so the images are only cropped: a column and a half on each side.
    whole = plain.train.images.float()
    between = (whole[..., 1:10] + whole[..., 2:11]) / 2
    assert (data.train.images - between).abs().max() <= 1
    assert data.digest != plain.digest
    smaller = load(str(tmp_path / "mnist.npz"), size=4).test.images
    assert smaller.shape == (6, channels, 4, 4)
    assert smaller.is_contiguous()


def test_a_size_that_the_images_have_changes_nothing() -> None:
    assert load("digits", size=8).digest == load("digits").digest
    assert load("digits", size=4).train.images.shape[2:] == (4, 4)


def test_each_of_many_channels_is_scaled(tmp_path: Path) -> None:
    levels = np.arange(5, dtype=np.uint8) * 50
    images = np.broadcast_to(levels[None, :, None, None], (4, 5, 12, 16))
    labels = [0, 1, 0, 1]
    np.savez(tmp_path / "bands.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    data = load(str(tmp_path / "bands.npz"), size=6)
    assert data.train.images.shape == (4, 5, 6, 6)
    assert (data.train.images == torch.tensor(levels)[None, :, None, None]).all()
