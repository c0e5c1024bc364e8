"""Data sets, stratified parts of them (the same every time), and batches on the device, also of a user's images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from hiresnn.checks import as_floats, require_batch, require_classes
from hiresnn.errors import DataError, UsageError, in_a_line

Events = Literal["binary", "integer"]
"""What a cell of an event grid says: whether there was an event (0 or 1), or how many there were."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images as 8-bit pixel values, 0 to 255, and the class of each, counted from 0; all else is a DataError.

    Event grids [N, T, P, H, W] of T bins and P polarities are held alike: a cell counts the events, 0 to 255.

    Attributes:
        events: None for images; for event grids "binary", cells of 0 and 1, or "integer".
    """

    images: UInt8[Tensor, "image ..."]
    labels: Int64[Tensor, image]
    events: Events | None = None

    def __post_init__(self) -> None:
        require_batch(self.images, self.labels, pixels="uint8", error=DataError)
        if (self.events is not None) != (self.images.dim() == 5):
            raise DataError(
                f"events is {self.events!r} for a tensor {list(self.images.shape)}; it is None for images "
                '[N, C, H, W], and "binary" or "integer" for event grids [N, T, P, H, W].'
            )
        if self.events == "binary" and self.images.numel() and int(self.images.max()) > 1:
            raise DataError(f'a cell has {int(self.images.max())} events, but the grids are "binary"; use "integer".')
        if self.labels.dtype != torch.int64:
            raise DataError(f"labels are {self.labels.dtype}; give int64, one class number per image.")

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Training and test images of one shape; `class_names` has one name per class, in the order of the labels.

    `notes` says what happened to the images when they were read, such as "3 grey images converted to colour".

    Raises:
        DataError: the splits differ in shape or in `events`, there is only one class, or a label is no class.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shapes = [tuple(split.images.shape[1:]) for split in (self.train, self.test)]
        if self.train.events != self.test.events or (self.events and shapes[0] != shapes[1]):
            parts = " and ".join(f"{split.events or 'no'} {[*split.images.shape]}" for split in (self.train, self.test))
            raise DataError(f"{self.name}: the splits have {parts} events; both must have one form and shape.")
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
    def events(self) -> Events | None:
        """None for images, "binary" or "integer" for event grids."""
        return self.train.events

    @property
    def bins(self) -> int | None:
        """T, the bins of event grids; None for images."""
        return self.train.images.shape[1] if self.events else None

    @property
    def in_channels(self) -> int:
        """C: 1 for grey images, 3 for colour; of event grids P, the polarities."""
        return self.train.images.shape[-3]

    @property
    def height(self) -> int:
        return self.train.images.shape[-2]

    @property
    def width(self) -> int:
        return self.train.images.shape[-1]

    def __repr__(self) -> str:
        return f"<DataSet {self.name}: {self.summary}>"

    @property
    def summary(self) -> str:
        """What is in the data set, in one line: classes, images, their shape, classes without images, and `notes`."""
        colour = {1: "grey", 3: "RGB"}.get(self.in_channels, f"with {self.in_channels} channels")
        colour = f"with {self.bins} bins of {self.events} events" if self.events else colour
        counts = f"{len(self.train):,} training and {len(self.test):,} test images"
        parts = [f"{self.num_classes} classes, {counts}, {self.width}x{self.height} {colour}"]
        for part, split in (("training", self.train), ("test", self.test)):
            present = torch.bincount(split.labels.cpu(), minlength=self.num_classes) > 0
            absent = [name for name, present in zip(self.class_names, present.tolist(), strict=True) if not present]
            if absent:
                first, more = ", ".join(absent[:3]), f" and {len(absent) - 3} more" * (len(absent) > 3)
                subject = f"class {first} has" if len(absent) == 1 else f"classes {first}{more} have"
                parts.append(f"{subject} no {part} image")
        return "; ".join([*parts, *self.notes])

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
    it is at least 1/255, one grey level, so that a constant channel is not divided by zero. UsageError for event grids.
    """
    if split.events is not None:
        raise UsageError(
            "event grids are not normalised, because a cell without events has to stay 0; set model.normalise = false."
        )
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
    return Split(split.images[index], split.labels[index], split.events)


Batch = tuple[Float[Tensor, "batch ..."], Int64[Tensor, "batch"]]

PADDING = 4  # pixels by which training images are moved at most in each direction


class Batches:
    """Batches (images, labels) of one epoch per iteration: float32 images in [0, 1] and labels, both on `device`.

    Event grids [B, T, P, H, W] are float32 counts. Every image comes once; the last batch may be shorter. All random
    numbers of an epoch come from `generator` when its iteration starts, before the first batch: `generator.get_state()`
    from before an epoch repeats it exactly, and other code may use the generator between the batches.

    Args:
        split: images and labels.
        batch_size: images per batch, at least 1.
        device: where the batches are.
        shuffle: a new random order in every epoch.
        augment: crop and flip every batch at random, as `flip_and_crop` does.
        generator: a CPU generator, required for shuffle and augment.
        part: (which, of how many), for processes that share every batch. A process always gets the same rows of a
            batch, so a short last batch leaves some processes with fewer rows or with empty tensors. All parts together
            are the whole batch, and every process gets the same number of batches.

    Raises:
        UsageError: a batch size below 1, or a missing generator.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        *,
        device: str | torch.device = "cpu",
        shuffle: bool = False,
        augment: bool = False,
        generator: torch.Generator | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        if batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}; give a whole number of at least 1.")
        if (shuffle or augment) and generator is None:
            raise UsageError("shuffle and augment are random, but generator is missing; give a torch.Generator.")
        self.images, self.labels = split.images.to(device), split.labels.to(device)
        self.batch_size, self.shuffle, self.augment = batch_size, shuffle, augment
        self.generator, self.part = generator, part

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        count, augmentation = len(self.labels), None
        order = torch.randperm(count, generator=self.generator) if self.shuffle else torch.arange(count)
        if self.augment:
            seed = torch.randint(2**63 - 1, (), generator=self.generator)
            augmentation = torch.Generator().manual_seed(int(seed))
        return self._epoch(order.to(self.labels.device), augmentation)

    def _epoch(self, order: Int64[Tensor, image], augmentation: torch.Generator | None) -> Iterator[Batch]:
        (which, parts), size = self.part, min(self.batch_size, len(self.labels))
        mine = slice(size * which // parts, size * (which + 1) // parts)
        for start in range(0, len(self.labels), self.batch_size):
            rows = order[start : start + self.batch_size]
            images = self.images[rows]
            if augmentation is not None:
                images = flip_and_crop(images, generator=augmentation)
            yield as_floats(images[mine]), self.labels[rows][mine]


def flip_and_crop(
    images: Shaped[Tensor, "batch ..."], *, padding: int = PADDING, generator: torch.Generator
) -> Shaped[Tensor, "batch ..."]:
    """Pad every image by reflection, crop it back to its size at random, and flip half of them horizontally.

    All bins and polarities of an event grid move and flip alike. The padded images are never built: one gather reads
    every pixel from where the reflection puts it.

    Args:
        images: of any type and device; the result has the same.
        padding: pixels on each side, 0 or more; at most one less than the side, so small images are padded by less. The
            crop starts at each of the 2 * padding + 1 rows and columns with equal probability.
        generator: a CPU generator, so that the random numbers do not depend on the device of the images.
    """
    batch, *_, height, width = images.shape
    flips = torch.randint(0, 2, (batch, 1), generator=generator)
    rows = _crop(height, min(padding, height - 1), batch, generator)
    columns = _crop(width, min(padding, width - 1), batch, generator)
    columns = torch.where(flips == 1, columns.flip(1), columns)
    rows = rows.to(images.device, non_blocking=True)
    columns = columns.to(images.device, non_blocking=True)
    sources = (rows[:, :, None] * width + columns[:, None, :]).view(batch, 1, height * width)
    planes = images.reshape(batch, -1, height * width)
    return planes.gather(2, sources.expand(batch, planes.shape[1], -1)).view(images.shape)


def _crop(size: int, padding: int, batch: int, generator: torch.Generator) -> Int64[Tensor, "batch size"]:
    """Return the source of each of `size` pixels, for crops at random places of a reflected axis."""
    start = torch.randint(-padding, padding + 1, (batch, 1), generator=generator)
    position = (start + torch.arange(size)).abs()  # reflected at the first pixel
    return (size - 1) - ((size - 1) - position).abs()  # and at the last


LabelledImages = Split | Dataset[Any] | Iterable[Any]  # see `tensors`


class UserBatches:
    """Batches of a user's images: float32 in [0, 1], or event grids as float32 counts, and int64 labels on `device`.

    Everything is checked.
    """

    def __init__(
        self,
        name: str,
        images: LabelledImages,
        batch_size: int,
        device: torch.device,
        generator: torch.Generator | None = None,
    ) -> None:
        shuffle = generator is not None
        self._tensors: tuple[Tensor, ...] = ()
        if isinstance(images, Tensor):
            raise UsageError(f"{name} has no labels; give (images, labels), two tensors.")
        if isinstance(images, list) and images and not any(isinstance(item, (tuple, list)) for item in images):
            images = tuple(images)  # images and labels; a list of batches has pairs
        if isinstance(images, Split):
            images = (images.images, images.labels)
        if isinstance(images, tuple):
            if len(images) != 2:
                raise UsageError(f"{name} is a tuple of {len(images)}; give (images, labels).")
            pixels, labels = _checked(images, name)
            self._tensors = pixels, labels
            if pixels.dtype == torch.uint8:
                split = Split(pixels, labels.long(), "integer" if pixels.dim() == 5 else None)
                images = Batches(split, batch_size, device=device, shuffle=shuffle, generator=generator)
            else:
                images = TensorDataset(pixels, labels)
        if isinstance(images, Dataset) and not isinstance(images, IterableDataset):
            images = DataLoader(images, batch_size, shuffle=shuffle, generator=generator)
        self.name, self.device, self.source = name, device, images
        self.generator: torch.Generator | None = getattr(images, "generator", None)
        try:
            empty = not len(self)
        except TypeError:
            raise UsageError(
                f"{name} has no length; give a list of batches, a Dataset with a length, or a DataLoader over one."
            ) from None
        if empty:
            raise UsageError(f"{name} has no images.")

    def __len__(self) -> int:
        return len(self.source)  # type: ignore[arg-type]

    def content(self) -> str:
        """Return the SHA-256 of images and labels that were given as tensors; all other sources have the same."""
        digest = hashlib.sha256()  # not `fingerprint`: the states of trainings store it
        for tensor in self._tensors:
            digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self.source)
        for number in range(1, len(self) + 1):
            try:
                pixels, labels = next(batches)
            except StopIteration:
                return
            except (TypeError, ValueError) as error:
                raise DataError(
                    f"batch {number} of {self.name} cannot be read ({in_a_line(error)}); its items must be (image, "
                    "label) with the image as a tensor, for example with transform=torchvision.transforms.ToTensor(), "
                    "or with event grids [T, P, H, W], for example with transform=tonic.transforms.ToFrame(...)."
                ) from error
            pixels, labels = _checked((pixels, labels), f"batch {number} of {self.name}")
            images = as_floats(pixels.to(self.device)) if pixels.dtype == torch.uint8 else pixels
            yield images.to(self.device, torch.float32), labels.to(self.device, torch.int64)


def labelled(images: LabelledImages, labels: Any, batch_size: int = 200) -> tuple[Tensor, Tensor]:
    """Return images and labels as tensors; without `labels`, `images` must have them, see `tensors`."""
    if labels is None:
        return tensors(images, batch_size=batch_size)
    return torch.as_tensor(images), torch.as_tensor(labels)


def tensors(images: LabelledImages, *, name: str = "images", batch_size: int = 200) -> tuple[Tensor, Tensor]:
    """Read all images and labels of a Dataset, a DataLoader, a Split or a pair of arrays.

    Args:
        images: (images [N, C, H, W], labels [N]); a Split; a Dataset of (image, label); or batches with a length, such
            as a DataLoader. Images are uint8, or floats in [0, 1]. Event grids [N, T, P, H, W], or [T, P, H, W] for
            each label, such as those of tonic and SpikingJelly, are counts of any type.
        name: what to call them in a message. batch_size: how many images of a Dataset are read at a time.

    Returns:
        Images as float32 in [0, 1], event grids as float32 counts, and labels as int64, on the CPU. All of them must
        fit into memory.

    Raises:
        UsageError: no images, or images without labels.
        DataError: images or labels of the wrong type, shape or range.

    Example:
        >>> images, labels = hiresnn.data.tensors(test_loader)  # doctest: +SKIP
        >>> card = hiresnn.run_audit(network, images, labels)  # doctest: +SKIP
    """
    batches = UserBatches(name, images, batch_size, torch.device("cpu"))
    pixels, labels = zip(*batches, strict=True)
    return torch.cat(pixels), torch.cat(labels)


def _checked(pair: Iterable[Any], name: str) -> tuple[Tensor, Tensor]:
    """Return images and labels as tensors, also of NumPy; labels [N, 1], as in MedMNIST, become [N]."""
    images, labels = map(torch.as_tensor, pair)
    labels = labels[:, 0] if labels.dim() == 2 and labels.shape[1] == 1 else labels
    require_batch(images, labels, pixels="either", name=name, error=DataError)
    return images, labels
