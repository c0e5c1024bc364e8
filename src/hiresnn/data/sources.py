"""Data sets by name or path: embedded, downloaded, a folder of images or an .npz archive."""

from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch

from hiresnn.data.archive import load_archive
from hiresnn.data.dataset import MAX_SIDE, DataSet, Split
from hiresnn.data.digits import load_digits
from hiresnn.data.folder import load_folder
from hiresnn.data.resize import resized
from hiresnn.errors import DataError, HiresnnError, UsageError, in_a_line, quoted
from hiresnn.plugins import find, offered
from hiresnn.process import cache_folder

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
    train_split = _split(train)
    names = getattr(train, "classes", None) or range(int(train_split.labels.max()) + 1)
    return DataSet(source, train_split, _split(test), tuple(str(name) for name in names))


def _split(collection: Any) -> Split:
    """Convert a torchvision data set to a split: it holds [N, H, W], [N, H, W, 3] or, only SVHN, [N, 3, H, W]."""
    pixels = torch.as_tensor(collection.data)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.shape[1] != 3:
        pixels = pixels.permute(0, 3, 1, 2)
    labels = collection.targets if hasattr(collection, "targets") else collection.labels
    return Split(pixels.contiguous(), torch.as_tensor(labels, dtype=torch.int64))
