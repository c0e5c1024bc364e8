import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hiresnn.data import load_archive
from hiresnn.errors import DataError


def fields(**changes):
    random = np.random.default_rng(0)
    good = {
        "x_train": random.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": random.integers(0, 256, (3, 4, 4, 3), dtype=np.uint8),
        "y_test": np.array([2, 1, 0], dtype=np.uint8),
    }
    good.update(changes)
    return {name: value for name, value in good.items() if value is not None}


@pytest.fixture
def write(tmp_path):
    def write(**changes):
        path = tmp_path / "toy.npz"
        np.savez(path, **fields(**changes))
        return path

    return write


def test_channels_last_become_channels_first(write):
    data = load_archive(write())
    assert data.name == "toy"
    assert data.class_names == ("0", "1", "2")
    assert torch.equal(data.train.images, torch.tensor(fields()["x_train"]).permute(0, 3, 1, 2))
    assert data.train.images.dtype == torch.uint8
    assert data.train.images.is_contiguous()
    assert data.test.labels.tolist() == [2, 1, 0]
    assert data.test.labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("shape", "becomes"),
    [
        ((4, 4), (1, 4, 4)),
        ((4, 4, 1), (1, 4, 4)),
        ((1, 4, 4), (1, 4, 4)),
        ((3, 4, 4), (3, 4, 4)),
        ((3, 3, 3), (3, 3, 3)),
        ((2, 4, 4), (2, 4, 4)),
        ((13, 16, 20), (13, 16, 20)),
    ],
)
def test_grey_and_channels_first_images_are_loaded(write, shape, becomes):
    x = np.arange(6 * np.prod(shape), dtype=np.uint8).reshape(6, *shape)
    data = load_archive(write(x_train=x, x_test=x[:3]))
    assert data.train.images.shape == (6, *becomes)
    if shape != (3, 3, 3):
        assert data.train.images.flatten().tolist() == x.flatten().tolist()
    else:  # both ends could be channels: the last axis is taken
        assert data.train.images[0, :, 0, 0].tolist() == [0, 1, 2]


def test_medmnist_names_and_label_columns_are_loaded(tmp_path):
    x, y = fields()["x_train"], np.array([[0], [1], [2], [0], [1], [2]], dtype=np.uint8)
    names = {f"{part}_images": x for part in ("train", "val", "test")}
    names |= {f"{part}_labels": y for part in ("train", "val", "test")}
    np.savez_compressed(tmp_path / "pathmnist.npz", **names)
    data = load_archive(tmp_path / "pathmnist.npz")
    assert (data.name, data.num_classes, len(data.train), len(data.test)) == ("pathmnist", 3, 6, 6)
    assert data.test.labels.tolist() == [0, 1, 2, 0, 1, 2]
    np.savez(tmp_path / "chestmnist.npz", **{**names, "train_labels": np.zeros((6, 14), np.uint8)})
    with pytest.raises(DataError, match=r"train_labels is uint8 \[6, 14\]; save one class number per image"):
        load_archive(tmp_path / "chestmnist.npz")


@settings(derandomize=True, max_examples=25, deadline=None)
@given(data=st.data())
def test_a_saved_data_set_is_loaded_unchanged_in_every_layout(data):
    channels, side = data.draw(st.sampled_from([1, 3])), data.draw(st.integers(2, 5).filter(lambda side: side != 3))
    classes = data.draw(st.integers(2, 4))
    labels = st.lists(st.integers(0, classes - 1), min_size=1, max_size=6)
    y = {"train": [*range(classes), *data.draw(labels)], "test": data.draw(labels)}
    source = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = {part: source.integers(0, 256, (len(y[part]), channels, side, side), dtype=np.uint8) for part in y}
    x["train"][0, 0, 0, 0] = 255  # at most 1 would be refused as a wrong scale
    x["test"][0, 0, 0, 0] = 255
    as_float, first = data.draw(st.booleans()), data.draw(st.booleans())

    def stored(images):
        images = images if first else images.transpose(0, 2, 3, 1)
        return images / np.float32(255) if as_float else images

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "toy.npz"
        arrays = {f"x_{part}": stored(x[part]) for part in y} | {f"y_{part}": np.array(y[part]) for part in y}
        np.savez(path, **arrays)
        loaded = load_archive(path)
    for part, split in (("train", loaded.train), ("test", loaded.test)):
        assert np.array_equal(split.images.numpy(), x[part])
        assert split.labels.tolist() == y[part]
    assert loaded.num_classes == classes


@settings(derandomize=True, max_examples=60, deadline=None)
@given(offset=st.integers(0, 2**16), value=st.integers(0, 255))
def test_an_archive_with_a_changed_byte_is_refused_or_loaded_unchanged(offset, value):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "toy.npz"
        np.savez(path, **fields())
        before, content = load_archive(path).digest, bytearray(path.read_bytes())
        content[offset % len(content)] = value
        path.write_bytes(content)
        try:
            digest = load_archive(path).digest
        except DataError:
            return
        assert digest == before


def test_floats_are_rounded_to_the_nearest_grey_level(write):
    x = np.zeros((6, 4, 4))
    x[0, 0] = [1.0, 0.5019, 0.0019, 0.0020]  # times 255: 255, 127.98, 0.48, 0.51
    data = load_archive(write(x_train=x, x_test=np.zeros((3, 4, 4), dtype=np.float32)))
    assert data.train.images[0, 0, 0].tolist() == [255, 128, 0, 1]


def test_class_names_give_the_number_of_classes(write):
    data = load_archive(write(class_names=np.array(["cat", "dog", "owl", "yak"])))
    assert data.class_names == ("cat", "dog", "owl", "yak")
    assert data.num_classes == 4


GREY = np.zeros((6, 4, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None, "y_test": None}, "x_test and y_test missing; the file holds x_train, y_train; save"),
        ({"x_train": np.zeros((6, 4), np.uint8)}, r"x_train has the shape \[6, 4\], but images must be"),
        ({"x_train": np.zeros((6, 4, 4, 4), np.uint8)}, r"x_train has the shape \[6, 4, 4, 4\], but .* fewer channels"),
        ({"x_train": np.zeros((6, 2, 4, 2), np.uint8)}, r"x_train has the shape \[6, 2, 4, 2\], but"),
        ({"x_train": GREY.astype(np.int64) - 1}, r"x_train is of type int64 and its pixels lie in -1\.\.-1.* 0\.\.255"),
        ({"x_train": GREY.astype(np.int16) + 256}, r"x_train .* 256\.\.256.* scale 0\.\.255"),
        ({"x_train": GREY + 1}, r"x_train .* 1\.\.1.* scale 0\.\.255"),
        ({"x_train": GREY.astype(bool)}, "x_train is of type bool; save integers"),
        ({"x_train": GREY + 1.5}, r"x_train is of type float64 .* 1\.5\.\.1\.5.*; divide by the value of white"),
        ({"x_train": GREY + 300.0}, r"x_train .* 300\.0\.\.300\.0.* normalisation"),
        ({"x_test": np.full((3, 4, 4), -0.1)}, r"x_test is of type float64 .* -0\.1\.\.-0\.1.* normalisation"),
        ({"x_test": np.full((3, 4, 4), np.nan)}, r"x_test .* floats must lie in \[0, 1\]"),
        ({"x_test": np.full((3, 4, 4), np.inf, np.float16)}, r"x_test .* floats must lie in \[0, 1\]"),
        ({"x_test": np.full((3, 4, 4), 1.0000001, np.float32)}, r"x_test .* 1\.0000001.* floats must lie in \[0, 1\]"),
        ({"x_test": np.zeros((0, 4, 4, 3), np.uint8), "y_test": np.zeros(0, int)}, "x_test .* at least one image"),
        ({"y_train": np.zeros((6, 3), int)}, r"y_train is int64 \[6, 3\]; save one class number per image"),
        ({"y_train": np.zeros(6)}, "y_train is float64"),
        ({"y_train": np.array([0, 1, 2, 0, 9, 1])}, "y_train counts classes with gaps; count from 0"),
        ({"class_names": np.array([1, 2, 3])}, r"class_names is int64 \[3\]; save strings"),
        ({"class_names": np.array(["a", None])}, "class_names is an array of Python objects.*as str"),
        ({"x_train": np.array([None] * 6)}, "x_train is an array of Python objects.*could run code"),
    ],
)
def test_an_invalid_field_is_named_with_the_file_and_the_fix(write, changes, message):
    path = write(**changes)
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: {message}"):
        load_archive(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": np.zeros(5, int)}, r"labels are torch.int64 \[5\] for 6 images"),
        ({"y_test": np.array([0, -1, 1])}, "a label is -1"),
        ({"y_test": np.array([0, 1, 3])}, "toy, test split: labels reach from 0 to 3, but there are 3 classes"),
        ({"class_names": np.array(["a", "b"])}, "toy, training split: labels reach from 0 to 2, but there are 2"),
        ({"y_train": np.zeros(6, int)}, "toy: there is only one class, 0"),
        ({"x_test": GREY[:3]}, r"toy: images are \[3, 4, 4\] in the training split and \[1, 4, 4\] in the test"),
    ],
)
def test_what_is_no_data_set_is_refused(write, changes, message):
    with pytest.raises(DataError, match=message):
        load_archive(write(**changes))


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(write, keep):
    path = write()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(DataError, match="cut short"):
        load_archive(path)
