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

from hiresnn.data.dataset import DataSet, Split
from hiresnn.errors import DataError

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
GREY_MODES = frozenset({"1", "L", "LA"})
DEEP_MODES = ("I", "F")  # more than 8 bits a channel: I, I;16, F
DEEP_STORAGE = re.compile(r";16[BLN]")  # RGB;16B: Pillow would drop the lower 8 bits without a word
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def load_folder(path: Path) -> DataSet:
    """The data set in the folder `path`, named after it.

    A class is a folder in train/; classes are numbered in the order of their names, images are read in the
    order of theirs. Grey images give one channel, colour images three; where both occur, all become colour.
    Transparency is dropped, and what EXIF says of the orientation is done. Files whose suffix is not that of an
    image are passed over.

    Raises DataError, which names the file or folder and the mend: a missing or empty folder, fewer than two
    classes, a test class that train/ lacks, an unreadable image, an image of more than 8 bits a channel, and
    images that differ in size or are not square.
    """
    classes = {part: _image_files(path / part) for part in ("train", "test")}
    class_names = tuple(classes["train"])
    if len(class_names) < 2:
        raise DataError(
            f"{path / 'train'}: there is only one class, {class_names[0]}: a classifier needs the images of "
            "two classes or more, each in a folder of its own."
        )
    for name in classes["test"]:
        if name not in class_names:
            raise DataError(
                f"{path / 'test' / name}: train has no class of this name: add {path / 'train' / name}, or "
                "remove this folder."
            )
    parts = {
        part: [(name, file) for name, files in members.items() for file in files] for part, members in classes.items()
    }
    reader = _Reader()
    pixels = {part: [reader.read(file) for _, file in files] for part, files in parts.items()}
    colour = any(image.ndim == 3 for images in pixels.values() for image in images)
    train, test = (
        Split(
            images=_stacked(pixels[part], colour),
            labels=torch.tensor([class_names.index(name) for name, _ in parts[part]], dtype=torch.int64),
        )
        for part in ("train", "test")
    )
    return DataSet(path.resolve().name, train, test, class_names)


def _image_files(part: Path) -> dict[str, list[Path]]:
    """Class name -> its image files, both in the order of their names."""
    if not part.is_dir():
        raise DataError(f"{part}: there is no such folder: put images in {part}/<class>/.")
    folders = sorted(entry for entry in part.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise DataError(f"{part}: there are no class folders: put images in {part}/<class>/.")
    files: dict[str, list[Path]] = {}
    for folder in folders:
        files[folder.name] = sorted(
            file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")
        )
        if not files[folder.name]:
            raise DataError(
                f"{folder}: there is no image in this class ({', '.join(sorted(SUFFIXES))}): add some, or "
                "remove the folder."
            )
    return files


class _Reader:
    """Decodes images one by one and compares the size of each with that of the first."""

    def __init__(self) -> None:
        self.first: Path | None = None
        self.size = (0, 0)

    def read(self, file: Path) -> Pixels:
        """Grey levels, [H, W] for a grey image and [H, W, 3] for one in colour."""
        try:
            with Image.open(file) as image:
                if _is_deep(image):
                    raise DataError(
                        f"{file}: its pixels have more than 8 bits a channel ({image.mode}): save it with 8."
                    )
                image.load()
                if image.format != "TIFF":  # which Pillow turns by itself
                    with suppress(Exception):  # EXIF that cannot be read does not make the image unreadable
                        ImageOps.exif_transpose(image, in_place=True)
                image.info.pop("transparency", None)  # Pillow would warn that it drops that of a palette
                pixels = np.asarray(image.convert("L" if image.mode in GREY_MODES else "RGB"))
        except UNREADABLE as error:
            raise DataError(f"{file}: this image cannot be read ({error}): replace or remove it.") from error
        height, width = pixels.shape[:2]
        if self.first is None:
            self.first, self.size = file, (height, width)
            if height != width:
                raise DataError(
                    f"{file}: the image is {height}x{width} (height x width), not square: crop or resize all "
                    "images to equal height and width."
                )
        if (height, width) != self.size:
            raise DataError(
                f"{file}: the image is {height}x{width} (height x width), but {self.first} is "
                f"{self.size[0]}x{self.size[1]}: crop or resize all images to one size."
            )
        return pixels


def _is_deep(image: ImageFile) -> bool:
    return image.mode.startswith(DEEP_MODES) or any(DEEP_STORAGE.search(str(tile[3])) for tile in image.tile)


def _stacked(images: list[Pixels], colour: bool) -> UInt8[Tensor, "image channel height width"]:
    if colour:
        images = [np.stack([image] * 3, axis=2) if image.ndim == 2 else image for image in images]
        return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return torch.from_numpy(np.stack(images))[:, None]
