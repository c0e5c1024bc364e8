"""Data sets by name: digits, downloads, a path; images of other sizes are scaled, and their middle is cropped."""

from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from hiresnn.data import load
from hiresnn.data.sources import read_digits
from hiresnn.errors import DataError, UsageError

DIGEST = "20e96492aeb693b2f86e4708bc3dccec9184f79f5205340931576a3125f303f7"
"""Of the data set as version 0.1.0 built it from scikit-learn: the keys of stored audits depend on it."""


def test_every_fifth_digit_of_a_class_is_a_test_image():
    data = load("digits")
    assert (data.name, data.num_classes, data.in_channels, data.height) == ("digits", 10, 1, 8)
    pixels, labels = (tensor.numpy() for tensor in read_digits())
    train, test, seen = [], [], dict.fromkeys(range(10), 0)
    for index, label in enumerate(labels.tolist()):
        seen[label] += 1
        (test if seen[label] % 5 == 0 else train).append(index)
    for split, indices in ((data.train, train), (data.test, test)):
        assert split.labels.tolist() == labels[indices].tolist()
        # sixteenths of ink: 16 becomes 255, 8 becomes 127.5, and the even 128 of the two nearest
        levels = np.rint(pixels[indices] * (255 / 16))
        assert np.array_equal(split.images[:, 0].numpy(), levels)
        assert split.images.max() == 255


def test_the_data_set_is_that_of_all_earlier_versions():
    assert load("digits").digest == DIGEST


def test_the_file_holds_the_digits_of_scikit_learn():
    original = pytest.importorskip("sklearn.datasets").load_digits()
    images, labels = read_digits()
    assert np.array_equal(images.numpy(), original.images)
    assert np.array_equal(labels.numpy(), original.target)
    assert [str(name) for name in original.target_names] == list(load("digits").class_names)


def test_a_path_is_loaded_as_an_archive_or_a_folder(tmp_path):
    images = np.zeros((2, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "toy.npz", x_train=images, y_train=[0, 1], x_test=images, y_test=[0, 1])
    assert load(str(tmp_path / "toy.npz")).name == "toy"
    for place in ("train/a", "train/b", "test/a"):
        (tmp_path / "faces" / place).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "faces" / place / "0.png")
    assert load(str(tmp_path / "faces")).class_names == ("a", "b")


def test_an_unknown_name_is_a_usage_error():
    with pytest.raises(
        UsageError, match=r"no data set, .* file 'cifar11'; give digits, saccade-digits, cifar10, .*folder.*\.npz"
    ):
        load("cifar11")
    with pytest.raises(UsageError, match=r"no data set, folder or \.npz file '~nobody_at_all/x'; give"):
        load("~nobody_at_all/x")


def test_a_missing_archive_and_a_file_of_another_kind_are_data_errors(tmp_path):
    with pytest.raises(DataError, match=r"nowhere/data\.npz: there is no such file"):
        load("nowhere/data.npz")
    (tmp_path / "table.npz").write_text("x_train,y_train\n")
    with pytest.raises(DataError, match=r"table\.npz: this is not an \.npz archive, or it is cut short"):
        load(str(tmp_path / "table.npz"))


@pytest.fixture
def downloads(monkeypatch):
    """Put a stand-in for a class of torchvision.datasets and collect what it is asked for."""
    asked = []

    def replace(name, train, test):
        def collection(root, download, **part):
            asked.append((root, download, part))
            return train if part in ({"train": True}, {"split": "train"}) else test

        monkeypatch.setattr(f"torchvision.datasets.{name}", collection)
        return asked

    return replace


def test_cifar_comes_from_torchvision_with_its_class_names(downloads, tmp_path):
    pixels = np.arange(2 * 32 * 32 * 3, dtype=np.uint64).astype(np.uint8).reshape(2, 32, 32, 3)
    part = SimpleNamespace(data=pixels, targets=[1, 0], classes=["cat", "dog"])
    asked = downloads("CIFAR10", part, part)
    data = load("cifar10", cache=tmp_path)
    assert asked == [(str(tmp_path), True, {"train": True}), (str(tmp_path), True, {"train": False})]
    assert data.class_names == ("cat", "dog")
    assert torch.equal(data.test.images, torch.tensor(pixels).permute(0, 3, 1, 2))
    assert data.train.labels.tolist() == [1, 0]


def test_mnist_gets_one_channel(downloads, tmp_path):
    part = SimpleNamespace(
        data=torch.full((3, 28, 28), 7, dtype=torch.uint8), targets=torch.tensor([0, 1, 1]), classes=["0", "1"]
    )
    downloads("MNIST", part, part)
    assert load("mnist", cache=tmp_path).train.images.shape == (3, 1, 28, 28)


def test_svhn_is_loaded_by_split_and_its_classes_are_counted(downloads, tmp_path):
    pixels = np.zeros((3, 3, 32, 32), dtype=np.uint8)
    pixels[:, 2] = 9
    part = SimpleNamespace(data=pixels, labels=np.array([0, 2, 1]))
    asked = downloads("SVHN", part, part)
    data = load("svhn", cache=tmp_path)
    assert [part for _, _, part in asked] == [{"split": "train"}, {"split": "test"}]
    assert data.class_names == ("0", "1", "2")
    assert torch.equal(data.train.images, torch.tensor(pixels))


def test_the_cache_follows_the_environment(downloads, tmp_path, monkeypatch):
    part = SimpleNamespace(data=np.zeros((2, 32, 32, 3), np.uint8), targets=[0, 1], classes=["a", "b"])
    asked = downloads("CIFAR100", part, part)
    monkeypatch.setenv("HIRESNN_CACHE", str(tmp_path / "kept"))
    load("cifar100")
    monkeypatch.delenv("HIRESNN_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    load("cifar100")
    assert [root for root, _, _ in asked[::2]] == [
        str(tmp_path / "kept" / "data"),
        str(tmp_path / ".cache/hiresnn/data"),
    ]


@pytest.mark.parametrize(
    "failure", [URLError("no route to host"), RuntimeError("File not found or corrupted."), EOFError()]
)
def test_a_failed_download_says_what_to_do(monkeypatch, tmp_path, failure):
    def offline(**_):
        raise failure

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", offline)
    message = f"fashion-mnist could not be downloaded to, or read from, {tmp_path} .*network.*npz"
    with pytest.raises(DataError, match=message):
        load("fashion-mnist", cache=tmp_path)


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_below_one_pixel_is_refused(size):
    with pytest.raises(UsageError, match=f"size is {size}; give a whole number of pixels"):
        load("digits", size=size)


def photo(path, width, height):
    """A picture whose left and right quarters are white and whose middle is black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 4] = pixels[:, -(width // 4) :] = 255
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path):
    for part, name, width, height in (
        ("train", "cat", 64, 32),
        ("train", "dog", 32, 16),
        ("test", "cat", 128, 64),
        ("test", "dog", 24, 48),
    ):
        photo(tmp_path / part / name / "a.png", width, height)
    return tmp_path


def test_images_of_a_folder_get_one_size(photos):
    data = load(str(photos), size=8)
    assert data.train.images.shape == data.test.images.shape == (2, 3, 8, 8)
    # Twice as wide as high: the middle half remains, which is black but for what the filter mixes in at its edge.
    assert data.train.images[..., 1:7].max() == data.test.images[0, ..., 1:7].max() == 0
    assert data.train.images.max() < 64
    upright = data.test.images[1, 0]
    assert (upright[:, 0].min(), upright[:, 7].min(), upright[:, 3].max()) == (255, 255, 0)


def test_mixed_sizes_are_refused_by_the_key_that_helps(photos):
    with pytest.raises(DataError, match=r"dog.a\.png: the image is 16x32 .*; scale and crop all .* data\.size=32"):
        load(str(photos))


@pytest.mark.parametrize("shape", [(6, 9, 12), (6, 9, 12, 3), (6, 9, 12, 1)])
def test_images_of_an_archive_get_the_size_in_the_same_way(tmp_path, shape):
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


def test_a_size_that_the_images_have_changes_nothing():
    assert load("digits", size=8).digest == load("digits").digest
    assert load("digits", size=4).train.images.shape[2:] == (4, 4)


def test_each_of_many_channels_is_scaled(tmp_path):
    levels = np.arange(5, dtype=np.uint8) * 50
    images = np.broadcast_to(levels[None, :, None, None], (4, 5, 12, 16))
    labels = [0, 1, 0, 1]
    np.savez(tmp_path / "bands.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    data = load(str(tmp_path / "bands.npz"), size=6)
    assert data.train.images.shape == (4, 5, 6, 6)
    assert (data.train.images == torch.tensor(levels)[None, :, None, None]).all()
