"""Data sets: two splits of uint8 images with integer labels; stratified parts of a split, the same every time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from hiresnn.checks import require_batch, require_classes
from hiresnn.errors import DataError, UsageError


@dataclass(frozen=True, eq=False)
class Split:
    """Images as 8-bit pixel values, 0 to 255, and the class of each, counted from 0; all else is a DataError."""

    images: UInt8[Tensor, "image channel height width"]
    labels: Int64[Tensor, image]

    def __post_init__(self) -> None:
        require_batch(self.images, self.labels, pixels="uint8", error=DataError)
        if self.labels.dtype != torch.int64:
            raise DataError(f"labels are {self.labels.dtype}; give int64, one class number per image.")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Training and test images of one shape; `class_names` has one name per class, in the order of the labels.

    Raises:
        DataError: the splits differ in shape, there is only one class, or a label is no class.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        shapes = [tuple(split.images.shape[1:]) for split in (self.train, self.test)]
        if shapes[0] != shapes[1]:
            colours = shapes[0][0] != shapes[1][0]
            remedy = "store all in colour, or all in grey" if colours else "crop and resize them with data.size"
            raise DataError(
                f"{self.name}: images are {list(shapes[0])} in the training split and {list(shapes[1])} in the test "
                f"split (channels, height, width), but all must have one shape; {remedy}."
            )
        if self.num_classes < 2:
            raise DataError(f"{self.name}: there is only one class, {self.class_names[0]}; add images of another one.")
        for part, split in (("training", self.train), ("test", self.test)):
            require_classes(split.labels, self.num_classes, f"{self.name}, {part} split", DataError)

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.class_names)

    @property
    def in_channels(self) -> int:
        """C: 1 for grey images, 3 for colour."""
        return self.train.images.shape[1]

    @property
    def height(self) -> int:
        return self.train.images.shape[2]

    @property
    def width(self) -> int:
        return self.train.images.shape[3]

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hexadecimal of the shapes and the content of both splits and of the class names, not of `name`."""
        digest = hashlib.sha256(repr(self.class_names).encode())
        for split in (self.train, self.test):
            for tensor in (split.images, split.labels):
                digest.update(repr(tuple(tensor.shape)).encode())
                digest.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
        return digest.hexdigest()


def channel_statistics(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, std) of each channel over all pixels and images, for images in [0, 1].

    The values are exact, from the histogram of the 256 grey levels. The standard deviation is that of the population;
    it is at least 1/255, one grey level, so that a constant channel is not divided by zero.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in split.images.unbind(1):
        share = torch.bincount(channel.flatten(), minlength=256).cpu().double() / channel.numel()
        mean = (levels * share).sum()
        means.append(float(mean))
        stds.append(max(float(((levels - mean) ** 2 * share).sum().sqrt()), 1 / 255))
    return tuple(means), tuple(stds)


def rank_in_class(labels: Int64[Tensor, image]) -> Int64[Tensor, image]:
    """Return for each image how many images of its class come before it."""
    order = labels.argsort(stable=True)
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels), device=labels.device) - starts[labels[order]]
    return rank


def first(split: Split, count: int, *, key: str = "count") -> Split:
    """Select `count` images, round-robin over the classes: the first of each class before the second of any.

    When a class runs out of images, the others fill up. The images stay in their order.

    Args:
        count: how many images, at most those of the split; 0 means all.
        key: what the user calls the count, for the message: an option or the key of a recipe.
    """
    return _select(split, _turns(split, count, key).sort().values) if count else split


def in_turn(split: Split, count: int) -> Split:
    """Select the images of `first`, in round-robin order: a smaller count gives the start of a larger one."""
    return _select(split, _turns(split, count or len(split), "count"))


def _turns(split: Split, count: int, key: str) -> Int64[Tensor, selected]:
    if not 0 <= count <= len(split):
        raise UsageError(f"{key} is {count}, but the data hold {len(split)} images; give at most that, or 0 for all.")
    num_classes = int(split.labels.max()) + 1 if len(split) else 0
    return (rank_in_class(split.labels) * num_classes + split.labels).argsort()[:count]


def holdout(split: Split, count: int, seed: int = 0, *, key: str = "count") -> tuple[Split, Split]:
    """Divide a split at random into (rest, held out), in both of which every class keeps its share.

    Shares that are not whole numbers are rounded so that the sum is `count`, the largest fractions up first. In both
    parts the images stay in their order. The global random state is neither read nor changed.

    Args:
        count: images that are held out; neither of the parts may be empty.
        seed: of the random choice.
        key: what the user calls the count, for the message.
    """
    if not 0 < count < len(split):
        raise UsageError(f"{key} is {count}, but the data hold {len(split)} images; hold out 1 to {len(split) - 1}.")
    shuffled = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    labels = split.labels.cpu()
    sizes = torch.bincount(labels)
    # Integers, because float shares would round ties differently on different machines.
    quotas, remainders = sizes * count // len(split), sizes * count % len(split)
    largest = remainders.argsort(descending=True, stable=True)
    quotas[largest[: count - int(quotas.sum())]] += 1

    held = torch.zeros(len(split), dtype=torch.bool)
    held[shuffled] = rank_in_class(labels[shuffled]) < quotas[labels[shuffled]]
    return _select(split, (~held).nonzero()[:, 0]), _select(split, held.nonzero()[:, 0])


def _select(split: Split, index: Int64[Tensor, selected]) -> Split:
    index = index.to(split.labels.device)
    return Split(split.images[index], split.labels[index])
