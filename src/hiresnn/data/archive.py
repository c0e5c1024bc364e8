"""Data sets in one NumPy archive (.npz) with x_train, y_train, x_test, y_test and perhaps class_names."""

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from hiresnn.data.dataset import DataSet, Split
from hiresnn.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]

FIELDS = ("x_train", "y_train", "x_test", "y_test")
CHANNELS = (1, 3)
# NumPy reads an array's header, a Python literal, before zip can tell that the array is damaged.
HEADER = (SyntaxError, tokenize.TokenError, TypeError, OverflowError)
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, MemoryError, *HEADER)


def load_archive(path: Path) -> DataSet:
    """The data set in the archive `path`, named after the file.

    x: uint8 in 0..255, or a float type in [0, 1], which is rounded to 1/255; shape [N, H, W],
    [N, H, W, C] or, where the last axis is not 1 or 3 but the second is, [N, C, H, W].
    y: an integer type, shape [N], classes counted from 0.
    class_names: strings, one a class; without it the largest training label tells how many classes there are.

    Nothing in the file can run code: pickled objects are refused.
    Raises DataError, which names the file, the field and the mend, for anything else.
    """
    fields = _read(path)
    x_train, x_test = (_images(path, field, fields[field]) for field in ("x_train", "x_test"))
    y_train = _labels(path, "y_train", fields["y_train"], len(x_train))
    y_test = _labels(path, "y_test", fields["y_test"], len(x_test))
    class_names = _class_names(path, fields.get("class_names"), y_train)
    for field, labels in (("y_train", y_train), ("y_test", y_test)):
        _require_below(path, field, labels, len(class_names))
    if bool((y_train == y_train[0]).all()):
        raise DataError(
            f"{path}: y_train holds only the class {int(y_train[0])}: a classifier needs images of two classes or more."
        )
    if x_train.shape[1:] != x_test.shape[1:] or x_train.shape[2] != x_train.shape[3]:
        raise DataError(
            f"{path}: images are {list(x_train.shape[1:])} in x_train and {list(x_test.shape[1:])} in x_test "
            "(channel, height, width), but all must have one shape, as high as wide: crop or resize them."
        )
    return DataSet(path.stem, Split(x_train, y_train), Split(x_test, y_test), class_names)


def _read(path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file: give the path of an .npz archive.")
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"{path}: this is not an .npz archive, or it was cut short: write it again with "
            "numpy.savez_compressed, or copy it again."
        )
    fields: dict[str, Array] = {}
    field = "the table of contents"
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in FIELDS if name not in archive.files]
            if missing:
                raise DataError(
                    f"{path}: {' and '.join(missing)} missing; the file holds "
                    f"{', '.join(archive.files) or 'nothing'}: save {', '.join(FIELDS)}."
                )
            for field in (*FIELDS, "class_names"):
                if field in archive.files:
                    fields[field] = archive[field]
    except DAMAGED as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path}: {field} is an array of Python objects, which could run code and is never loaded: "
                f"save it as an array of {'str' if field == 'class_names' else 'numbers, all rows alike'}."
            ) from error
        raise DataError(
            f"{path}: {field} cannot be read, the file is damaged ({error}): write or copy it again."
        ) from error
    for field, value in fields.items():
        # NumPy hands out the raw bytes of a member that is no array.
        if not isinstance(value, np.ndarray):
            raise DataError(f"{path}: {field} is not a NumPy array: write the file with numpy.savez.")
    return fields


def _images(path: Path, field: str, x: Array) -> UInt8[Tensor, "image channel height width"]:
    if x.ndim == 3:
        x = x[..., None]
    elif x.ndim == 4 and x.shape[3] not in CHANNELS and x.shape[1] in CHANNELS:
        x = x.transpose(0, 2, 3, 1)
    if x.ndim != 4 or x.shape[3] not in CHANNELS:
        raise DataError(
            f"{path}: {field} has the shape {list(x.shape)}, but images must be [N, H, W], [N, H, W, C] or "
            "[N, C, H, W] with 1 or 3 channels: reshape it."
        )
    if 0 in x.shape:
        raise DataError(f"{path}: {field} has the shape {list(x.shape)}, which holds no image: add images.")
    if x.dtype != np.uint8:
        x = _rounded(path, field, x)
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def _rounded(path: Path, field: str, x: Array) -> Array:
    if x.dtype.kind != "f":
        raise DataError(f"{path}: {field} is of type {x.dtype}: save uint8 in 0..255, or floats in [0, 1].")
    # Written so that NaN, which no comparison holds for, is refused too.
    if not (x.min() >= 0 and x.max() <= 1):
        raise DataError(
            f"{path}: {field} is of type {x.dtype} and runs from {x.min()} to {x.max()}, but floats must "
            "be in [0, 1]: undo any normalisation, divide by 255 and clip, or save uint8 in 0..255."
        )
    grey = np.empty(x.shape, dtype=np.uint8)
    for start in range(0, len(x), 1024):  # in parts, so that no second float copy of the whole is needed
        grey[start : start + 1024] = np.rint(x[start : start + 1024].astype(np.float32) * 255)
    return grey


def _labels(path: Path, field: str, y: Array, images: int) -> Int64[Tensor, "image"]:
    if y.ndim != 1:
        raise DataError(
            f"{path}: {field} has the shape {list(y.shape)}, but labels must be [N], one class number an "
            "image: flatten it, or take the argmax of one-hot rows."
        )
    if y.dtype.kind not in "iu":
        raise DataError(f"{path}: {field} is of type {y.dtype}: save class numbers of an integer type.")
    if len(y) != images:
        raise DataError(
            f"{path}: {field} has {len(y)} labels for the {images} images of {field.replace('y', 'x', 1)}: "
            "save one label an image."
        )
    if y.min() < 0:
        index = int(y.argmin())
        raise DataError(f"{path}: {field}[{index}] is {y[index]}: count the classes from 0.")
    if y.max() > np.iinfo(np.int64).max:
        index = int(y.argmax())
        raise DataError(f"{path}: {field}[{index}] is {y[index]}: count the classes from 0 without gaps.")
    return torch.from_numpy(y.astype(np.int64))


def _class_names(path: Path, names: Array | None, y_train: Int64[Tensor, "image"]) -> tuple[str, ...]:
    if names is not None:
        if names.ndim != 1 or names.dtype.kind != "U":
            raise DataError(
                f"{path}: class_names is of type {names.dtype} and shape {list(names.shape)}: save a list "
                "of strings, one a class."
            )
        return tuple(str(name) for name in names)
    largest = int(y_train.argmax())
    if y_train[largest] >= len(y_train):
        raise DataError(
            f"{path}: y_train[{largest}] is {int(y_train[largest])}, a class number above the count of "
            f"training images, {len(y_train)}: count the classes from 0 without gaps, or save class_names."
        )
    return tuple(str(number) for number in range(int(y_train[largest]) + 1))


def _require_below(path: Path, field: str, labels: Int64[Tensor, "image"], num_classes: int) -> None:
    index = int(labels.argmax())
    if labels[index] >= num_classes:
        raise DataError(
            f"{path}: {field}[{index}] is {int(labels[index])}, but there are {num_classes} classes, "
            f"0 to {num_classes - 1}: correct the label, or name all classes in class_names."
        )
