"""Data sets in one NumPy archive (.npz): x_train, y_train, x_test, y_test, or the same in MedMNIST's names."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from hiresnn.data.dataset import MAX_SIDE, DataSet, Split, require_memory
from hiresnn.data.resize import resized_split
from hiresnn.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]

FIELDS = ("x_train", "y_train", "x_test", "y_test")
MEDMNIST = ("train_images", "train_labels", "test_images", "test_labels")
CHANNELS = (1, 3)
"""Numbers of channels that are looked for first; any other number must be smaller than both sides."""


def load_archive(path: Path, size: int | None = None) -> DataSet:
    """Load the data set in the archive `path`; its name is that of the file. With `size`, images become square.

    Images: integers in 0..255, or floats in [0, 1], which are rounded to 1/255; of shape [N, H, W], [N, H, W, C] or
    [N, C, H, W]. The last axis holds the channels if it is 1 or 3, else the second if that is, else the one of the two
    that is smaller than both sides.
    Labels: integers, shape [N] or [N, 1], classes counted from 0.
    class_names: strings, one per class; without it the training labels must be 0 to the largest without gaps.
    MedMNIST's field names (train_images, train_labels, ...) are understood; its val_images are not used.

    No code in the file can run: arrays of Python objects are refused.

    Raises:
        DataError: names the file and the field, and says how to fix it.
    """
    arrays = _read(path)
    train_x, train_y, test_x, test_y = list(arrays)[:4]
    train = resized_split(_split(path, arrays, train_x, train_y), size)
    test = resized_split(_split(path, arrays, test_x, test_y), size)
    if (train.labels == train.labels[0]).all():
        raise DataError(f"{path}: {train_y} holds only class {int(train.labels[0])}; add images of another class.")
    class_names = _class_names(path, train_y, arrays.get("class_names"), train.labels)
    for field, labels in ((train_y, train.labels), (test_y, test.labels)):
        index = int(labels.argmax())
        if labels[index] >= len(class_names):
            raise DataError(
                f"{path}: {field}[{index}] is {int(labels[index])}, but there are {len(class_names)} classes, 0 to "
                f"{len(class_names) - 1}; correct the label, or name all classes in class_names."
            )
    return DataSet(path.stem, train, test, class_names)


def _read(path: Path) -> dict[str, Array]:
    """Return the arrays by field: those of the training and test images and labels, then class_names if given."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; give the path of an .npz archive.")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: this is not an .npz archive, or it is cut short; write it again with numpy.savez.")
    arrays: dict[str, Array] = {}
    field = "the table of contents"
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:  # closed even if np.load fails
            fields = next((names for names in (FIELDS, MEDMNIST) if set(names) <= set(archive.files)), FIELDS)
            missing = [name for name in fields if name not in archive.files]
            if missing:
                raise DataError(
                    f"{path}: {' and '.join(missing)} missing; the file holds {', '.join(archive.files) or 'nothing'}; "
                    f"save {', '.join(FIELDS)}."
                )
            wanted = [field for field in (*fields, "class_names") if field in archive.files]
            members = [each for each in archive.zip.infolist() if each.filename.removesuffix(".npy") in wanted]
            # Each array is read once, and the images are copied once.
            require_memory(2 * sum(each.file_size for each in members), f"{path}: its arrays")
            for field in wanted:
                arrays[field] = archive[field]
    except DataError:
        raise
    except Exception as error:  # NumPy and zipfile raise errors of many types for damaged files
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path}: {field} is an array of Python objects, which could run code and is never loaded; save an "
                "array of numbers with rows of equal length, and class_names as an array of str."
            ) from error
        raise DataError(f"{path}: {field} cannot be read, the file is damaged ({error}); write it again.") from error
    for field, value in arrays.items():
        if not isinstance(value, np.ndarray):  # NumPy returns the raw bytes of any other member
            raise DataError(f"{path}: {field} is not a NumPy array; write the file with numpy.savez.")
    return arrays


def _split(path: Path, arrays: dict[str, Array], x: str, y: str) -> Split:
    images = _images(f"{path}: {x}", arrays[x])
    return Split(images, _labels(f"{path}: {y}", arrays[y], len(images)))


def _images(field: str, x: Array) -> UInt8[Tensor, "image channel height width"]:
    if x.ndim == 3:
        x = x[..., None]
    axis = _channel_axis(x) if x.ndim == 4 and x.size else None
    if axis is None:
        raise DataError(
            f"{field} has the shape {list(x.shape)}, but images must be [N, H, W], [N, H, W, C] or [N, C, H, W] with "
            "at least one image, and 1, 3 or fewer channels than pixels per side; reshape it."
        )
    if axis == 1:
        x = x.transpose(0, 2, 3, 1)
    if max(x.shape[1:3]) > MAX_SIDE:
        raise DataError(
            f"{field} has images of {x.shape[1]}x{x.shape[2]} (height x width), but a side may have at most {MAX_SIDE} "
            "pixels; scale them down."
        )
    return torch.from_numpy(np.ascontiguousarray(_grey_levels(field, x).transpose(0, 3, 1, 2)))


def _channel_axis(x: Array) -> int | None:
    """Return the axis of the channels, the last or the second; None if the shape does not tell."""
    _, second, third, last = x.shape
    if last in CHANNELS or second in CHANNELS:
        return 3 if last in CHANNELS else 1
    if last < min(second, third):
        return 3
    return 1 if second < min(third, last) else None


def _grey_levels(field: str, x: Array) -> Array:
    """Return the pixels as uint8 in 0..255; refuse values whose scale is not certain."""
    if x.dtype.kind not in "fiu":
        raise DataError(f"{field} is of type {x.dtype}; save integers in 0..255, or floats in [0, 1].")
    low, high = x.min(), x.max()
    found = f"{field} is of type {x.dtype} and its pixels lie in {low}..{high}"
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"{found}: some are not finite; remove or replace these images.")
    if x.dtype.kind != "f":
        if low < 0 or high > 255 or high == 1:
            raise DataError(f"{found}, but integers must use the scale 0..255; scale them, or save floats in [0, 1].")
        return x.astype(np.uint8, copy=False)
    if low < 0 or high > 1:
        fix = (
            "divide by the value of white, such as 255"
            if low >= 0 and high <= 255
            else "undo any normalisation and scale them to [0, 1]"
        )
        raise DataError(f"{found}, but floats must lie in [0, 1]; {fix}.")
    grey = np.empty(x.shape, dtype=np.uint8)
    for start in range(0, len(x), 1024):  # in parts, so that no second float copy of the whole is needed
        grey[start : start + 1024] = np.rint(x[start : start + 1024].astype(np.float32) * 255)
    return grey


def _labels(field: str, y: Array, images: int) -> Int64[Tensor, "image"]:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or len(y) != images:
        raise DataError(
            f"{field} has the shape {list(y.shape)}, but there must be one class number for each of {images} images; "
            "save one label per image, for example the argmax of one-hot rows."
        )
    if y.dtype.kind not in "iu":
        raise DataError(f"{field} is of type {y.dtype}; save class numbers of an integer type.")
    for index in (int(y.argmin()), int(y.argmax())):
        if not 0 <= y[index] <= np.iinfo(np.int64).max:
            raise DataError(f"{field}[{index}] is {y[index]}; count the classes from 0 without gaps.")
    return torch.from_numpy(y.astype(np.int64))


def _class_names(path: Path, field: str, names: Array | None, labels: Int64[Tensor, "image"]) -> tuple[str, ...]:
    if names is not None:
        if names.ndim != 1 or names.dtype.kind != "U":
            found = f"of type {names.dtype} and shape {list(names.shape)}"
            raise DataError(f"{path}: class_names is {found}; save a list of strings, one per class.")
        return tuple(str(name) for name in names)
    largest = int(labels.argmax())
    if labels[largest] >= len(labels):
        raise DataError(
            f"{path}: {field}[{largest}] is {int(labels[largest])}, a class number above the {len(labels)} training "
            "images; count the classes from 0 without gaps, or save class_names."
        )
    present = set(labels.tolist())
    if missing := [number for number in range(int(labels[largest])) if number not in present]:
        raise DataError(
            f"{path}: {field} holds class {int(labels[largest])}, but not class {missing[0]}; count the classes from 0 "
            "without gaps, or save class_names."
        )
    return tuple(str(number) for number in range(int(labels[largest]) + 1))
