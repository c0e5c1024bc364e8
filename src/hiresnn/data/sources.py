"""The embedded digits: 1,797 handwritten digits of 8 x 8 pixels, in a file of the package.

They are the test set of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998), which scikit-learn
ships as well; digits-license.txt has the source, the licence and the changes.

Data sets in one NumPy archive (.npz): x_train, y_train, x_test, y_test, or the same in MedMNIST's names.

Images of other sizes: scaled until the shorter side fits, then cropped to a square in the middle.

Data sets in a folder: train/<class>/<image> and test/<class>/<image>.

Data sets by name or path: embedded, downloaded, a folder of images or an .npz archive.
"""

from __future__ import annotations

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

from hiresnn.data.dataset import MAX_SIDE, DataSet, Split, rank_in_class, require_memory
from hiresnn.errors import DataError, HiresnnError, UsageError, in_a_line, quoted
from hiresnn.plugins import find, offered
from hiresnn.process import cache_folder

FILE = Path(__file__).with_name("digits.npz")
INK = 16
"""Largest value of a pixel in the file: each counts the dark pixels in a block of 4 x 4."""
TEST_EVERY = 5
"""The digits have no official split: every fifth image of a class is a test image."""


def read_digits() -> tuple[UInt8[Tensor, "image 8 8"], Int64[Tensor, image]]:
    """Return the images, with pixels from 0 (paper) to 16 (ink), and their classes, in the order of the original."""
    with np.load(FILE, allow_pickle=False) as arrays:
        return torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"].astype(np.int64))


def load_digits() -> DataSet:
    """Return the digits as a data set of grey levels: 1,442 training and 355 test images."""
    pixels, labels = read_digits()
    # In double precision: half-way values round to even, as they always have.
    images = (pixels.double() * (255 / INK)).round().to(torch.uint8)[:, None]
    test = rank_in_class(labels) % TEST_EVERY == TEST_EVERY - 1
    names = tuple(str(number) for number in range(10))
    return DataSet("digits", Split(images[~test], labels[~test]), Split(images[test], labels[test]), names)


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


def _labels(field: str, y: Array, images: int) -> Int64[Tensor, image]:
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


def _class_names(path: Path, field: str, names: Array | None, labels: Int64[Tensor, image]) -> tuple[str, ...]:
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


def fitted(image: Image.Image, size: int | None) -> Image.Image:
    """Return a grey or RGB image of `size` x `size` pixels; unchanged where `size` is None or the image has that size.

    The shorter side is scaled to `size` by Pillow's bilinear filter, which averages when it makes an image smaller, and
    of the longer side the middle remains.
    """
    if size is None or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), method=Image.Resampling.BILINEAR)


def resized_split(split: Split, size: int | None) -> Split:
    """Return a split whose images are `fitted` to `size`."""
    count, channels, height, width = split.images.shape
    if size is None or (height, width) == (size, size):
        return split
    require_memory(2 * count * channels * size**2, f"{count:,} images of {size} x {size}")
    planes = split.images.flatten(0, 1).numpy()  # of any number of channels, each scaled as a grey image
    stacked = np.stack([np.asarray(fitted(Image.fromarray(plane), size)) for plane in planes])
    return Split(torch.from_numpy(stacked).view(count, channels, size, size), split.labels)


def resized(dataset: DataSet, size: int | None) -> DataSet:
    """Return a data set whose images are `fitted` to `size`."""
    return replace(dataset, train=resized_split(dataset.train, size), test=resized_split(dataset.test, size))


Pixels = np.ndarray[Any, np.dtype[np.uint8]]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
LARGEST_SOURCE = 9_000
"""Largest side of an image that is scaled down when it is read; Pillow warns of squares that are slightly larger."""
GREY_MODES = frozenset({"1", "L", "LA"})
DEEP_MODES = ("I", "F")  # more than 8 bits per channel: I, I;16, F
DEEP_STORAGE = re.compile(r";16[BLN]")  # RGB;16B: Pillow would drop the lower 8 bits without a warning


def load_folder(path: Path, size: int | None = None) -> DataSet:
    """Load the data set in the folder `path`; its name is that of the folder.

    A class is a folder in train/. Classes are numbered in the order of their names, and images are read in the order of
    theirs. Grey images give one channel, colour images three; if both occur, all become colour. Transparency is
    dropped, and images are rotated as their EXIF data say. Files without the suffix of an image are ignored.
    With `size`, every image is scaled until its shorter side has that many pixels, and the middle is cropped to a
    square; without it, all must have one size.

    Raises:
        DataError: names the file or folder and says how to fix it: a missing or empty folder, fewer than two classes, a
            test class that train/ lacks, an image outside the folders of the classes, an unreadable image,
            an image of more than 8 bits per channel, images that differ in size, or more pixels than fit into memory.
    """
    classes = {part: _image_files(path / part) for part in ("train", "test")}
    names = list(classes["train"])
    if len(names) < 2:
        raise DataError(f"{path / 'train'}: there is only one class, {names[0]}; add the folder of another class.")
    labels = {name: label for label, name in enumerate(names)}
    if unknown := [path / "test" / name for name in classes["test"] if name not in labels]:
        raise DataError(f"{unknown[0]}: train has no class of this name; add it there, or remove it here.")

    files = {part: [(labels[name], file) for name in of for file in of[name]] for part, of in classes.items()}
    first, count = files["train"][0][1], sum(map(len, files.values()))
    shape = _pixels(first, size).shape[:2]
    # Three channels, twice: the decoded images, and all of them in one tensor.
    require_memory(6 * count * shape[0] * shape[1], f"{path}: {count:,} images")
    pixels = {part: [_of_shape(file, size, shape, first) for _, file in of] for part, of in files.items()}
    colour = any(image.ndim == 3 for images in pixels.values() for image in images)
    train, test = (
        Split(_stacked(images, colour), torch.tensor([label for label, _ in files[part]]))
        for part, images in pixels.items()
    )
    return DataSet(path.resolve().name, train, test, tuple(names))


def _image_files(part: Path) -> dict[str, list[Path]]:
    """Return class name -> its image files, both in the order of their names."""
    if not part.is_dir():
        raise DataError(f"{part}: there is no such folder; put images in {part}/<class>/.")
    folders = sorted(entry for entry in part.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise DataError(f"{part}: there are no class folders; put images in {part}/<class>/.")
    loose = [each for each in part.iterdir() if each.suffix.lower() in SUFFIXES and not each.name.startswith(".")]
    if files := sorted(each for each in loose if each.is_file()):
        raise DataError(f"{files[0]}: this image is in no class; move it into the folder of a class, or remove it.")
    images = {}
    for folder in folders:
        entries = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
        images[folder.name] = [file for file in entries if file.suffix.lower() in SUFFIXES]
        nested = (file for inner in entries if inner.is_dir() for file in sorted(inner.rglob("*")))
        if inner := next((file for file in nested if file.suffix.lower() in SUFFIXES), None):
            raise DataError(f"{inner}: this image is in a folder within its class; move it to {folder}, or remove it.")
        if not images[folder.name]:
            raise DataError(f"{folder}: there is no image in this class ({', '.join(sorted(SUFFIXES))}); add some.")
    return images


def _of_shape(file: Path, size: int | None, shape: tuple[int, ...], first: Path) -> Pixels:
    """Decode an image, which must have the height and width of the first."""
    pixels = _pixels(file, size)
    if pixels.shape[:2] != shape:
        raise DataError(
            f"{file}: the image is {_text(pixels.shape)} (height x width), but {first} is {_text(shape)}; scale "
            f"and crop all to one size with data.size, such as --set data.size={min(shape)}."
        )
    return pixels


def _text(shape: tuple[int, ...]) -> str:
    return f"{shape[0]}x{shape[1]}"


def _pixels(file: Path, size: int | None) -> Pixels:
    """Decode an image, and scale and crop it if there is a size: [H, W] for a grey image and [H, W, 3] for colour."""
    try:
        with Image.open(file) as image:
            if _is_deep(image):
                raise DataError(f"{file}: its pixels have more than 8 bits per channel ({image.mode}); save it with 8.")
            if max(image.size) > (MAX_SIDE if size is None else LARGEST_SOURCE):
                raise DataError(
                    f"{file}: the image is {image.height}x{image.width} (height x width), but a side may have at most "
                    f"{MAX_SIDE} pixels, or {LARGEST_SOURCE} with data.size; scale it down."
                )
            image.load()
            if image.format != "TIFF":  # which Pillow rotates by itself
                with suppress(Exception):  # unreadable EXIF does not make the image unreadable
                    ImageOps.exif_transpose(image, in_place=True)
            image.info.pop("transparency", None)  # Pillow would warn that it drops the palette's transparency
            return np.asarray(fitted(image.convert("L" if image.mode in GREY_MODES else "RGB"), size))
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise errors of many types
        raise DataError(f"{file}: this image cannot be read ({error}); replace or remove it.") from error


def _is_deep(image: ImageFile) -> bool:
    if image.mode.startswith(DEEP_MODES) or any(DEEP_STORAGE.search(str(tile[3])) for tile in image.tile):
        return True
    return image.format == "PPM" and any(isinstance(tile[3], tuple) and tile[3][-1] > 255 for tile in image.tile)


def _stacked(images: list[Pixels], colour: bool) -> UInt8[Tensor, "image channel height width"]:
    if colour:
        images = [np.stack([image] * 3, axis=2) if image.ndim == 2 else image for image in images]
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return torch.from_numpy(np.stack(images))[:, None]


DOWNLOADED = {
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "svhn": "SVHN",
}
"""Name of a data set -> class of torchvision.datasets."""


def load(source: str, *, size: int | None = None, cache: Path | None = None) -> DataSet:
    """Load the data set that `source` names.

    Args:
        source: digits (8x8, grey, part of the package); cifar10, cifar100, mnist, fashion-mnist or svhn (downloaded
            once by torchvision); the name of a plug-in (see `hiresnn.plugins`); a folder with train/<class>/ and
            test/<class>/; or the path of an .npz archive. Write ./digits for a folder that has the name of a data set.
        size: scale every image until its shorter side has that many pixels, and crop the middle to a square; None keeps
            the images as they are. Only with it may the images differ in size.
        cache: folder of downloads; None takes the folder data in hiresnn's cache ($HIRESNN_CACHE or ~/.cache/hiresnn).

    Raises:
        UsageError: `source` is none of these.
        DataError: the data are missing, unreadable or damaged.
    """
    if size is not None and not 1 <= size <= MAX_SIDE:
        raise UsageError(f"size is {size}; give a whole number of pixels from 1 to {MAX_SIDE}.")
    if source == "digits":
        return resized(load_digits(), size)
    try:
        if source in DOWNLOADED:
            return resized(_download(source, cache or cache_folder("data")), size)
        if (plugin := find("data", source)) is not None:
            return resized(_of_plugin(source, plugin), size)
        path = Path(source).expanduser()
        if path.is_dir():
            return load_folder(path, size)
        if path.is_file() or path.suffix == ".npz":
            return load_archive(path, size)
    except (OSError, RuntimeError, ValueError) as error:  # no such user, a name too long, a removed working directory
        cause = getattr(error, "strerror", None) or error
        raise DataError(f"data source {quoted(source, 200)} cannot be read ({cause}); give another path.") from error
    if "/" in source:
        raise UsageError(
            f"there is no folder and no .npz file {quoted(source, 200)}; check the path, or give another with --data."
        )
    raise UsageError(
        f"there is no data set {quoted(source, 200)}; give digits, {', '.join((*DOWNLOADED, *offered('data')))}, the "
        "path of a folder with train/<class>/ and test/<class>/, or the path of an .npz file."
    )


def _of_plugin(source: str, make: Callable[[], Any]) -> DataSet:
    """Call the function of a plug-in."""
    try:
        found = make()
    except HiresnnError:
        raise
    except (Exception, SystemExit) as error:  # the code is the plug-in's
        raise DataError(f"the plug-in for the data set {source!r} failed: {in_a_line(error)}.") from error
    if not isinstance(found, DataSet):
        kind = type(found).__name__
        raise DataError(f"the plug-in for the data set {source!r} returned {kind}; it must return a DataSet.")
    return found


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
    train_split = _split_of_sources(train)
    names = getattr(train, "classes", None) or range(int(train_split.labels.max()) + 1)
    return DataSet(source, train_split, _split_of_sources(test), tuple(str(name) for name in names))


def _split_of_sources(collection: Any) -> Split:
    """Convert a torchvision data set to a split: it holds [N, H, W], [N, H, W, 3] or, only SVHN, [N, 3, H, W]."""
    pixels = torch.as_tensor(collection.data)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.shape[1] != 3:
        pixels = pixels.permute(0, 3, 1, 2)
    labels = collection.targets if hasattr(collection, "targets") else collection.labels
    return Split(pixels.contiguous(), torch.as_tensor(labels, dtype=torch.int64))
