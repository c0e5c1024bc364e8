"""Data sets by name or path: the embedded digits, downloads, a folder of images or events, or a NumPy archive (.npz).

The digits are the test set of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998), which
scikit-learn ships as well; digits-license.txt has the source, the licence and the changes.
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from torch import Tensor

from hiresnn.data.dataset import DataSet, Events, Split, rank_in_class
from hiresnn.data.events import load_recordings, rebinned, simulated
from hiresnn.errors import DataError, UsageError, quoted
from hiresnn.files import write_atomically
from hiresnn.process import cache_folder

Array = np.ndarray[Any, np.dtype[Any]]
Pixels = np.ndarray[Any, np.dtype[np.uint8]]

DOWNLOADED = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
DOWNLOADED["svhn"] = "SVHN"  # name of a data set -> class of torchvision.datasets
SACCADE_DIGITS = "saccade-digits"
NAMES = ("digits", SACCADE_DIGITS, *DOWNLOADED)
"""Data sets that are always the same; all others are the user's."""


def load(source: str, *, size: int | None = None, cache: Path | None = None, bins: int | None = None) -> DataSet:
    """Load the data set that `source` names.

    Args:
        source: digits (8x8, grey, part of the package); saccade-digits (the same as simulated events); cifar10,
            cifar100, mnist, fashion-mnist or svhn (downloaded once by torchvision); a folder with train/<class>/ and
            test/<class>/, of images or of recordings of events (see `load_recordings`); a folder with x_train.npy,
            y_train.npy, x_test.npy and y_test.npy; or the path of an .npz archive. Write ./digits for a folder that has
            the name of a data set.
        size: scale every image until its shorter side has that many pixels, and crop the middle to a square; None keeps
            the images as they are. Only with it may the images differ in size.
        cache: folder of downloads; None takes the folder data in hiresnn's cache ($HIRESNN_CACHE or ~/.cache/hiresnn).
        bins: of event grids, whose adjacent bins are merged to so many, see `rebin`; recordings of events are divided
            into as many bins of equal time, binary. None keeps the bins of grids. Images ignore it.

    Raises:
        UsageError: `source` is none of these, `bins` does not divide the bins of the grids, or events have a `size`.
        DataError: the data are missing, unreadable or damaged.
    """
    if size is not None and size < 1:
        raise UsageError(f"size is {size}; give a whole number of pixels, at least 1.")
    dataset = rebinned(_load(source, size, cache, bins), bins)
    if size is not None and dataset.events is not None:
        raise UsageError(f"{dataset.name} has event grids, which are not scaled; leave out size (data.size).")
    return dataset


def _load(source: str, size: int | None, cache: Path | None, bins: int | None) -> DataSet:
    if source == SACCADE_DIGITS:
        return simulated(load_digits())
    if source == "digits" or source in DOWNLOADED:
        dataset = load_digits() if source == "digits" else _download(source, cache or cache_folder("data"))
        return replace(dataset, train=_resized(dataset.train, size), test=_resized(dataset.test, size))
    path = Path(os.path.expanduser(source))  # noqa: PTH111  pathlib raises an error for an unknown user
    try:
        if all((path / f"{field}.npy").is_file() for field in FIELDS):
            return load_archive(path, size)
        if next(path.glob("train/*/*.np[yz]"), None) is not None:
            if bins is None:
                raise UsageError(f"{path} has recordings of events; say into how many bins, such as bins=12.")
            return load_recordings(path, bins=bins)
        if path.is_dir():
            return load_folder(path, size)
        if path.is_file() or path.suffix == ".npz":
            return load_archive(path, size)
    except OSError as error:
        raise DataError(f"{quoted(source, 200)} cannot be read ({error.strerror}); give another path.") from error
    raise UsageError(
        f"there is no data set, folder or .npz file {quoted(source, 200)}; give digits, "
        f"{SACCADE_DIGITS}, {', '.join(DOWNLOADED)}, or "
        "the path of a folder with train/<class>/ and test/<class>/, or of an .npz file."
    )


def read_digits() -> tuple[UInt8[Tensor, "image 8 8"], Int64[Tensor, image]]:
    """Return the images, with pixels from 0 (paper) to 16 (ink), and their classes, in the order of the original."""
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as arrays:
        return torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"].astype(np.int64))


def load_digits() -> DataSet:
    """Return the digits as a data set of grey levels: 1,442 training and 355 test images, every fifth of a class."""
    pixels, labels = read_digits()
    # In double precision: half-way values round to even, as they always have.
    images = (pixels.double() * (255 / 16)).round().to(torch.uint8)[:, None]
    test = rank_in_class(labels) % 5 == 4
    names = tuple(str(number) for number in range(10))
    return DataSet("digits", Split(images[~test], labels[~test]), Split(images[test], labels[test]), names)


def _download(source: str, cache: Path) -> DataSet:
    from torchvision import datasets  # imported late: it takes seconds

    collection: Callable[..., Any] = getattr(datasets, DOWNLOADED[source])
    parts: list[dict[str, Any]] = [{"train": True}, {"train": False}]
    if source == "svhn":
        parts = [{"split": "train"}, {"split": "test"}]
    try:
        cache.mkdir(parents=True, exist_ok=True)
        train, test = (collection(root=str(cache), download=True, **part) for part in parts)
    except (OSError, RuntimeError, HTTPException, EOFError, ValueError) as error:
        raise DataError(
            f"{source} could not be downloaded to, or read from, {cache} ({error}); check the network and the free "
            "space there and try again, or give the path of an .npz file with x_train, y_train, x_test and y_test."
        ) from error
    train_split = _downloaded_split(train)
    names = getattr(train, "classes", None) or range(int(train_split.labels.max()) + 1)
    return DataSet(source, train_split, _downloaded_split(test), tuple(str(name) for name in names))


def _downloaded_split(collection: Any) -> Split:
    """Convert a torchvision data set to a split: it holds [N, H, W], [N, H, W, 3] or, only SVHN, [N, 3, H, W]."""
    pixels = torch.as_tensor(collection.data)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.shape[1] != 3:
        pixels = pixels.permute(0, 3, 1, 2)
    labels = collection.targets if hasattr(collection, "targets") else collection.labels
    return Split(pixels.contiguous(), torch.as_tensor(labels, dtype=torch.int64))


FIELDS = ("x_train", "y_train", "x_test", "y_test")
MEDMNIST = ("train_images", "train_labels", "test_images", "test_labels")


def load_archive(path: Path, size: int | None = None) -> DataSet:
    """Load the data set in the archive `path`; its name is that of the file. With `size`, images become square.

    A folder of .npy files with the names of the fields is read alike.

    Images: integers in 0..255, or floats in [0, 1], which are rounded to 1/255; of shape [N, H, W], [N, H, W, C] or
    [N, C, H, W]. The last axis holds the channels if it is 1 or 3, else the second if that is, else the one of the two
    that is smaller than both sides.
    Event grids: whole numbers 0 to 255 of any type, shape [N, T, P, H, W]. The field `events` says whether they are
    "binary" or "integer"; without it they are integer if any cell of the file exceeds 1.
    Labels: integers, shape [N] or [N, 1], classes counted from 0.
    class_names: strings, one per class; without it the training labels must be 0 to the largest without gaps.
    MedMNIST's field names (train_images, train_labels, ...) are understood; its val_images are not used.

    No code in the file can run: arrays of Python objects are refused.

    Raises:
        DataError: names the file and the field, and says how to fix it.
    """
    arrays = _read_npy(path) if path.is_dir() else _read_archive(path)
    train_x, train_y, test_x, test_y = list(arrays)[:4]
    events = _events(f"{path}: events", arrays, train_x, test_x)
    train, test = (
        _resized(Split(_images(f"{path}: {x}", arrays[x]), _labels(f"{path}: {y}", arrays[y]), events), size)
        for x, y in ((train_x, train_y), (test_x, test_y))
    )
    if (names := arrays.get("class_names")) is None:
        classes = np.unique(train.labels.numpy())
        if len(classes) <= classes[-1]:
            raise DataError(f"{path}: {train_y} counts classes with gaps; count from 0, or save class_names.")
        names = classes
    elif names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(f"{path}: class_names is {names.dtype} {list(names.shape)}; save strings, one per class.")
    return DataSet(path.stem, train, test, tuple(str(name) for name in names))


def _read_archive(path: Path) -> dict[str, Array]:
    """Return the arrays by field: those of the training and test images and labels, then class_names if given."""
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; give the path of an .npz archive.")
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path}: this is not an .npz archive, or it is cut short; write it again with numpy.savez.")
    field = "the table of contents"
    arrays: dict[str, Array] = {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:  # closed even if np.load fails
            fields = next((names for names in (FIELDS, MEDMNIST) if set(names) <= set(archive.files)), FIELDS)
            if missing := [name for name in fields if name not in archive.files]:
                raise DataError(
                    f"{path}: {' and '.join(missing)} missing; the file holds {', '.join(archive.files) or 'nothing'}; "
                    f"save {', '.join(FIELDS)}."
                )
            for field in (*fields, "class_names", "events"):
                if field in archive.files:
                    arrays[field] = np.asarray(archive[field])
    except DataError:
        raise
    except Exception as error:  # NumPy and zipfile raise errors of many types for damaged files
        problem = f"cannot be read, the file is damaged ({error}); write it again"
        if "allow_pickle" in str(error):
            problem = "is an array of Python objects, which could run code; save numbers, and class_names as str"
        raise DataError(f"{path}: {field} {problem}.") from error
    return arrays


def _read_npy(folder: Path) -> dict[str, Array]:
    """Return the arrays of a folder as `_read_archive` does."""
    arrays: dict[str, Array] = {}
    for field in (*FIELDS, "class_names", "events"):
        if (path := folder / f"{field}.npy").is_file():
            try:
                arrays[field] = np.load(path, allow_pickle=False, mmap_mode="r" if field.startswith("x") else None)
            except (ValueError, OSError, EOFError) as error:
                raise DataError(
                    f"{path} is damaged, or an array of Python objects ({error}); write it again."
                ) from error
    return arrays


def _events(field: str, arrays: dict[str, Array], *grids: str) -> Events | None:
    """Return what the cells of event grids say, by the field `events` or by their largest count; None for images."""
    if any(arrays[name].ndim != 5 for name in grids):
        return None
    if "events" not in arrays:
        return "integer" if any(arrays[name].max(initial=0) > 1 for name in grids) else "binary"
    stated = str(arrays["events"])
    if stated not in ("binary", "integer"):
        raise DataError(f'{field} is {quoted(stated)}; save "binary" or "integer".')
    return stated  # type: ignore[return-value]


def save_archive(dataset: DataSet, path: Path) -> None:
    """Write a data set as an .npz archive that `load` reads; whole or not at all."""
    content: dict[str, Any] = {"class_names": np.array(dataset.class_names)}
    for part, split in (("train", dataset.train), ("test", dataset.test)):
        content |= {f"x_{part}": split.images.cpu().numpy(), f"y_{part}": split.labels.cpu().numpy()}
    if dataset.events is not None:
        content["events"] = np.array(dataset.events)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **content)
    write_atomically(path, buffer.getvalue())


def _images(field: str, x: Array) -> UInt8[Tensor, "image ..."]:
    if x.ndim == 5:
        if x.dtype.kind not in "fiub" or (x.size and not (x.min() >= 0 and x.max() <= 255)) or (x % 1).any():
            raise DataError(f"{field} is of type {x.dtype}; the cells of event grids are whole numbers, 0 to 255.")
        return torch.from_numpy(np.array(x, dtype=np.uint8))
    if x.ndim == 3:
        x = x[..., None]
    axis = _channel_axis(x) if x.ndim == 4 and x.size else None
    if axis is None:
        raise DataError(
            f"{field} has the shape {list(x.shape)}, but images must be [N, H, W], [N, H, W, C] or [N, C, H, W] with "
            "at least one image, and 1, 3 or fewer channels than pixels per side, and event grids [N, T, P, H, W]; "
            "reshape it."
        )
    return torch.from_numpy(np.ascontiguousarray(_grey_levels(field, np.moveaxis(x, axis, 1))))


def _channel_axis(x: Array) -> int | None:
    """Return the axis of the channels, the last or the second; None if the shape does not tell."""
    _, second, third, last = x.shape
    if last in (1, 3) or second in (1, 3):
        return 3 if last in (1, 3) else 1
    if last < min(second, third):
        return 3
    return 1 if second < min(third, last) else None


def _grey_levels(field: str, x: Array) -> Array:
    """Return the pixels as uint8 in 0..255; refuse values whose scale is not certain."""
    if x.dtype.kind not in "fiu":
        raise DataError(f"{field} is of type {x.dtype}; save integers in 0..255, or floats in [0, 1].")
    low, high = x.min(), x.max()
    described = f"{field} is of type {x.dtype} and its pixels lie in {low}..{high}"
    if x.dtype.kind != "f":
        if low < 0 or high > 255 or high == 1:
            raise DataError(f"{described}, but integers must use the scale 0..255; scale them, or save floats.")
        return x.astype(np.uint8, copy=False)
    if not (low >= 0 and high <= 1):  # or not finite
        white = "divide by the value of white, such as 255" if low >= 0 and high <= 255 else "undo any normalisation"
        raise DataError(f"{described}, but floats must lie in [0, 1]; {white}.")
    grey = np.empty(x.shape, dtype=np.uint8)
    for start in range(0, len(x), 1024):  # in parts, so that no second float copy of the whole is needed
        grey[start : start + 1024] = np.rint(x[start : start + 1024].astype(np.float32) * 255)
    return grey


def _labels(field: str, y: Array) -> Int64[Tensor, image]:
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise DataError(f"{field} is {y.dtype} {list(y.shape)}; save one class number per image, of an integer type.")
    return torch.from_numpy(y.astype(np.int64))


SHOWN = 50  # files that cannot be used, in one message
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


def load_folder(path: Path, size: int | None = None) -> DataSet:
    """Load the data set in the folder `path`; its name is that of the folder.

    A class is a folder in train/. Classes are numbered in the order of their names, and images are read in the order of
    theirs. Grey images give one channel, colour images three; if both occur, all become colour. Transparency is
    dropped, and images are rotated as their EXIF data say. Files without the suffix of an image are ignored.
    With `size`, every image is scaled until its shorter side has that many pixels, and the middle is cropped to a
    square; without it, all must have one size. (torchvision's ImageFolder makes every image colour, ignores EXIF data,
    takes only the upper bits of deep images, and its transforms crop at other places.)

    Raises:
        DataError: names the file or folder and says how to fix it: a missing or empty folder, a test class that train/
            lacks, an image outside the folders of the classes, unreadable images (all of them), images of more than 8
            bits per channel, or images that differ in size.
    """
    dataset, problems = read_folder(path, size)
    if problems:
        more = [f"And {len(problems) - SHOWN:,} more files cannot be used."] if len(problems) > SHOWN else []
        raise DataError("\n".join([*problems[:SHOWN], *more]))
    return dataset


def read_folder(path: Path, size: int | None = None) -> tuple[DataSet, list[str]]:
    """Return the images of a folder that can be used together, and a sentence for each file that cannot be used.

    Raises:
        DataError: the folder is not laid out as `load_folder` says, or no image of a part can be used.
    """
    files = {part: _image_files(path / part) for part in ("train", "test")}
    names = list(files["train"])
    if unknown := [path / "test" / name for name in files["test"] if name not in names]:
        raise DataError(f"{unknown[0]}: train has no class of this name; add it there, or remove it here.")
    images: dict[str, list[Pixels]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    problems: list[str] = []
    odd: list[str] = []
    first, shape = path, (0, 0)
    listed = [(part, name, file) for part in files for name in files[part] for file in files[part][name]]
    for part, name, file in listed:
        try:
            pixels = _pixels(file, size)
        except DataError as error:
            problems.append(str(error))
            continue
        if shape == (0, 0):
            first, shape = file, pixels.shape[:2]
        if pixels.shape[:2] != shape:
            sizes = "{}x{} (height x width), but {} is {}x{}".format(*pixels.shape[:2], first, *shape)
            odd.append(f"{file}: the image is {sizes}")
            continue
        images[part].append(pixels)
        labels[part].append(names.index(name))
    if odd:
        others = f", and {len(odd) - 1:,} more images are not of this size" * (len(odd) > 1)
        options = f"--set data.size={min(shape)} of hiresnn train, or --size {min(shape)} of hiresnn audit and doctor"
        remedy = f"scale and crop all to one size with {options}"
        problems.append(f"{odd[0]}{others}; {remedy}.")
    if not (images["train"] and images["test"]):
        raise DataError("\n".join(problems))
    flat = [image for part in images.values() for image in part]
    grey = sum(image.ndim == 2 for image in flat)
    colour = grey < len(flat)
    notes = [f"{grey:,} grey image{'s' * (grey > 1)} converted to colour"] if colour and grey else []
    notes += [f"{len(odd):,} image{'s' * (len(odd) > 1)} of another size left out"] if odd else []
    splits = []
    for part in ("train", "test"):
        arrays = [np.stack([image] * 3, axis=2) if colour and image.ndim == 2 else image for image in images[part]]
        stacked = torch.from_numpy(np.stack(arrays))
        stacked = stacked.permute(0, 3, 1, 2).contiguous() if colour else stacked[:, None]
        splits.append(Split(stacked, torch.tensor(labels[part])))
    return DataSet(path.resolve().name, splits[0], splits[1], tuple(names), tuple(notes)), problems


def _image_files(part: Path) -> dict[str, list[Path]]:
    """Return class name -> its image files, both in the order of their names."""
    if not part.is_dir():
        raise DataError(f"{part}: there is no such folder; put images in {part}/<class>/.")
    classes = {folder.name: _images_in(folder) for folder in _folders_in(part)}
    if not classes:
        raise DataError(f"{part}: there are no class folders; put images in {part}/<class>/.")
    if loose := _images_in(part):
        raise DataError(f"{loose[0]}: this image is in no class; move it into the folder of a class, or remove it.")
    for name, images in classes.items():
        for inner in _folders_in(part / name):
            if nested := _images_in(inner):
                raise DataError(f"{nested[0]}: this image is in a folder within its class; move it to {part / name}.")
        if not images:
            raise DataError(
                f"{part / name}: there is no image in this class; add some ({', '.join(sorted(SUFFIXES))})."
            )
    return classes


def _folders_in(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _images_in(folder: Path) -> list[Path]:
    files = (file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    return sorted(file for file in files if file.suffix.lower() in SUFFIXES)


def _pixels(file: Path, size: int | None) -> Pixels:
    """Decode an image, and scale and crop it if there is a size: [H, W] for a grey image and [H, W, 3] for colour."""
    try:
        with Image.open(file) as image:
            if _is_deep(image):
                raise DataError(f"{file}: its pixels have more than 8 bits per channel ({image.mode}); save it with 8.")
            image.load()
            if image.format != "TIFF":  # which Pillow rotates by itself
                with suppress(Exception):  # unreadable EXIF does not make the image unreadable
                    ImageOps.exif_transpose(image, in_place=True)
            image.info.pop("transparency", None)  # Pillow would warn that it drops the palette's transparency
            return np.asarray(_fitted(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"), size))
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise errors of many types
        raise DataError(f"{file}: this image cannot be read ({error}); replace or remove it.") from error


def _is_deep(image: ImageFile) -> bool:
    """Tell whether an image has more than 8 bits per channel, of which Pillow drops the lower ones (RGB;16B)."""
    if image.mode.startswith(("I", "F")) or any(re.search(r";16[BLN]", str(tile[3])) for tile in image.tile):
        return True
    return image.format == "PPM" and any(isinstance(tile[3], tuple) and tile[3][-1] > 255 for tile in image.tile)


def _fitted(image: Image.Image, size: int | None) -> Image.Image:
    """Scale a grey or RGB image until its shorter side has `size` pixels, and crop the middle to a square.

    Pillow's bilinear filter averages when it makes an image smaller.
    """
    if size is None or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), method=Image.Resampling.BILINEAR)


def _resized(split: Split, size: int | None) -> Split:
    if size is None or split.events is not None or split.images.shape[2:] == (size, size):
        return split
    count, channels = split.images.shape[:2]
    planes = split.images.flatten(0, 1).numpy()  # of any number of channels, each scaled as a grey image
    stacked = np.stack([np.asarray(_fitted(Image.fromarray(plane), size)) for plane in planes])
    return Split(torch.from_numpy(stacked).view(count, channels, size, size), split.labels)
