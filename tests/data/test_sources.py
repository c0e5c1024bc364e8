from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from hiresnn.data import load
from hiresnn.errors import DataError, UsageError


def test_a_path_is_loaded_as_an_archive_or_a_folder(tmp_path):
    images = np.zeros((2, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "toy.npz", x_train=images, y_train=[0, 1], x_test=images, y_test=[0, 1])
    assert load(str(tmp_path / "toy.npz")).name == "toy"
    for place in ("train/a", "train/b", "test/a"):
        (tmp_path / "faces" / place).mkdir(parents=True)
        Image.new("L", (4, 4)).save(tmp_path / "faces" / place / "0.png")
    assert load(str(tmp_path / "faces")).class_names == ("a", "b")


def test_an_unknown_name_is_a_usage_error():
    with pytest.raises(UsageError, match=r"no data set 'cifar11'; give digits, cifar10, .*folder.*\.npz"):
        load("cifar11")
    with pytest.raises(UsageError, match=r"no folder and no \.npz file '~nobody_at_all/x'; check the path"):
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
        data=torch.full((3, 28, 28), 7, dtype=torch.uint8),
        targets=torch.tensor([0, 1, 1]),
        classes=["0", "1"],
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
def test_a_size_below_one_pixel_is_refused(size: int) -> None:
    with pytest.raises(UsageError, match=f"size is {size}; give a whole number of pixels"):
        load("digits", size=size)
