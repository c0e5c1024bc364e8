import re
import zipfile

import numpy as np
import pytest
import torch

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
    ],
)
def test_grey_and_channels_first_images_are_understood(write, shape, becomes):
    x = np.arange(6 * np.prod(shape), dtype=np.uint8).reshape(6, *shape)
    data = load_archive(write(x_train=x, x_test=x[:3]))
    assert data.train.images.shape == (6, *becomes)
    if shape != (3, 3, 3):
        assert data.train.images.flatten().tolist() == x.flatten().tolist()
    else:  # both ends could be channels: the last axis is taken
        assert data.train.images[0, :, 0, 0].tolist() == [0, 1, 2]


def test_floats_are_rounded_to_the_nearest_grey_level(write):
    x = np.zeros((6, 4, 4))
    x[0, 0] = [1.0, 0.5019, 0.0019, 0.0020]  # times 255: 255, 127.98, 0.48, 0.51
    data = load_archive(write(x_train=x, x_test=np.zeros((3, 4, 4), dtype=np.float32)))
    assert data.train.images[0, 0, 0].tolist() == [255, 128, 0, 1]


def test_class_names_tell_the_number_of_classes(write):
    data = load_archive(write(class_names=np.array(["cat", "dog", "owl", "yak"])))
    assert data.class_names == ("cat", "dog", "owl", "yak")
    assert data.num_classes == 4


def test_only_the_five_fields_are_read(write):
    assert load_archive(write(notes=np.array([None], dtype=object))).num_classes == 3


GREY = np.zeros((6, 4, 4), dtype=np.uint8)
NOT_SQUARE = {"x_train": np.zeros((6, 4, 5, 3), np.uint8), "x_test": np.zeros((3, 4, 5, 3), np.uint8)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"x_test": None, "y_test": None},
            "x_test and y_test missing; the file holds x_train, y_train: save",
        ),
        ({"x_train": np.zeros((6, 4), np.uint8)}, r"x_train has the shape \[6, 4\], but images must be"),
        ({"x_train": np.zeros((6, 4, 4, 2), np.uint8)}, r"x_train has the shape \[6, 4, 4, 2\], but"),
        ({"x_train": GREY.astype(np.int64)}, "x_train is of type int64: save uint8"),
        ({"x_train": GREY + 1.5}, "x_train is of type float64 and runs from 1.5 to 1.5, but floats must be"),
        ({"x_test": np.full((3, 4, 4), -0.1)}, "x_test is of type float64 and runs from -0.1 to -0.1"),
        ({"x_test": np.full((3, 4, 4), np.nan)}, "x_test is of type float64 and runs from nan to nan"),
        ({"x_test": np.full((3, 4, 4), 1.0000001, np.float32)}, "x_test .* runs from 1.0000001.* and clip, or"),
        ({"x_test": np.zeros((0, 4, 4, 3), np.uint8), "y_test": np.zeros(0, int)}, "x_test .* no image: add"),
        ({"y_train": np.zeros(5, int)}, "y_train has 5 labels for the 6 images of x_train: save one"),
        ({"y_train": np.zeros((6, 3), int)}, r"y_train has the shape \[6, 3\], but labels must be \[N\]"),
        ({"y_train": np.zeros(6)}, "y_train is of type float64: save class numbers of an integer type"),
        ({"y_test": np.array([0, -1, 1])}, r"y_test\[1\] is -1: count the classes from 0"),
        ({"y_test": np.array([0, 1, 3])}, r"y_test\[2\] is 3, but there are 3 classes, 0 to 2: correct"),
        ({"y_test": np.array([0, 2**63, 1], np.uint64)}, r"y_test\[1\] is 9223372036854775808: count"),
        ({"y_train": np.array([0, 1, 2, 0, 9, 1])}, r"y_train\[4\] is 9, a class number above the count of"),
        ({"class_names": np.array(["a", "b"])}, r"y_train\[2\] is 2, but there are 2 classes, 0 to 1"),
        ({"class_names": np.array([1, 2, 3])}, r"class_names is of type int64 and shape \[3\]: save a list"),
        ({"class_names": np.array(["a", None])}, "class_names is an array of Python objects.*array of str"),
        ({"x_train": np.array([None] * 6)}, "x_train is an array of Python objects.*could run code"),
        ({"y_train": np.full(6, 2)}, "y_train holds only the class 2: a classifier needs"),
        (NOT_SQUARE, r"images are \[3, 4, 5\] in x_train .* as high as wide: crop or resize"),
        ({"x_test": GREY[:3]}, r"images are \[3, 4, 4\] in x_train and \[1, 4, 4\] in x_test"),
    ],
)
def test_a_field_that_is_wrong_is_named_with_the_file_and_the_mend(write, changes, message):
    path = write(**changes)
    with pytest.raises(DataError, match=f"{re.escape(str(path))}: {message}"):
        load_archive(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.npz: there is no such file"):
        load_archive(tmp_path / "none.npz")


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "table.npz"
    path.write_text("x_train,y_train\n")
    with pytest.raises(DataError, match=r"table\.npz: this is not an \.npz archive, or it was cut short"):
        load_archive(path)


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(write, keep):
    path = write()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(DataError, match="cut short"):
        load_archive(path)


def test_a_flipped_byte_is_found_and_its_field_named(write):
    path = write()
    content = bytearray(path.read_bytes())
    content[content.index(fields()["x_train"].tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="x_train cannot be read, the file is damaged"):
        load_archive(path)


def test_a_flipped_byte_of_a_header_is_found_before_the_checksum_can_tell(write):
    path = write(x_train=np.zeros((6, 64, 64, 3), np.uint8))  # more than is read together with the header
    content = path.read_bytes()
    for was, becomes in ((b"3), }", b"3), |"), (b"3), }", b"3, ,}"), (b"(6, ", b"(06,"), (b"'shape'", b"b'shap'")):
        path.write_bytes(content.replace(was, becomes, 1))
        with pytest.raises(DataError, match="x_train cannot be read, the file is damaged"):
            load_archive(path)


def test_a_member_that_is_no_array_is_refused(write):
    path = write(y_test=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("y_test", b"2, 1, 0")
    with pytest.raises(DataError, match="y_test is not a NumPy array"):
        load_archive(path)
