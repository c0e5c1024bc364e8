"""Data sets in a folder: train/<class>/<image> and test/<class>/<image>."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile
from torch import Tensor

from hiresnn.data.dataset import MAX_SIDE, DataSet, Split, require_memory
from hiresnn.data.resize import fitted
from hiresnn.errors import DataError

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
