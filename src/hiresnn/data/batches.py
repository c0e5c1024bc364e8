"""Batches of images on the device: of a split, with augmentation, or of what a caller passes from Python."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from hiresnn.checks import require_batch
from hiresnn.data.dataset import Split
from hiresnn.errors import DataError, UsageError, in_a_line

Batch = tuple[Float[Tensor, "batch channel height width"], Int64[Tensor, "batch"]]

PADDING = 4  # pixels by which training images are moved at most in each direction


class Batches:
    """Batches (images, labels) of one epoch per iteration: float32 images in [0, 1] and labels, both on `device`.

    Every image comes once; the last batch may be shorter. All random numbers of an epoch come from `generator` when its
    iteration starts, before the first batch: `generator.get_state()` from before an epoch repeats it exactly, and other
    code may use the generator between the batches.

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
            yield images[mine].to(torch.float32).div_(255), self.labels[rows][mine]


def flip_and_crop(
    images: Shaped[Tensor, "batch channel height width"], *, padding: int = PADDING, generator: torch.Generator
) -> Shaped[Tensor, "batch channel height width"]:
    """Pad every image by reflection, crop it back to its size at random, and flip half of them horizontally.

    The padded images are never built: one gather reads every pixel from where the reflection puts it.

    Args:
        images: of any type and device; the result has the same.
        padding: pixels on each side, 0 or more; at most one less than the side, so small images are padded by less. The
            crop starts at each of the 2 * padding + 1 rows and columns with equal probability.
        generator: a CPU generator, so that the random numbers do not depend on the device of the images.
    """
    batch, channels, height, width = images.shape
    flips = torch.randint(0, 2, (batch, 1), generator=generator)
    rows = _crop(height, min(padding, height - 1), batch, generator)
    columns = _crop(width, min(padding, width - 1), batch, generator)
    columns = torch.where(flips == 1, columns.flip(1), columns)
    rows = rows.to(images.device, non_blocking=True)
    columns = columns.to(images.device, non_blocking=True)
    sources = (rows[:, :, None] * width + columns[:, None, :]).view(batch, 1, height * width)
    return images.flatten(2).gather(2, sources.expand(batch, channels, -1)).view(images.shape)


def _crop(size: int, padding: int, batch: int, generator: torch.Generator) -> Int64[Tensor, "batch size"]:
    """Return the source of each of `size` pixels, for crops at random places of a reflected axis."""
    start = torch.randint(-padding, padding + 1, (batch, 1), generator=generator)
    position = (start + torch.arange(size)).abs()  # reflected at the first pixel
    return (size - 1) - ((size - 1) - position).abs()  # and at the last


LabelledImages = tuple[Tensor, Tensor] | Split | Dataset[Any] | Iterable[tuple[Tensor, Tensor]]  # see `tensors`


class UserBatches:
    """Batches of a user's images: float32 in [0, 1] and int64 labels on `device`; everything is checked."""

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
                split = Split(pixels, labels.long())
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
                    "label) with the image as a tensor, for example with transform=torchvision.transforms.ToTensor()."
                ) from error
            pixels, labels = _checked((pixels, labels), f"batch {number} of {self.name}")
            images = pixels.to(self.device, torch.float32)
            yield images.div_(255) if pixels.dtype == torch.uint8 else images, labels.to(self.device, torch.int64)


def labelled(images: Tensor | LabelledImages, labels: Tensor | None, batch_size: int = 200) -> tuple[Tensor, Tensor]:
    """Return images and labels as tensors; without `labels`, `images` must have them, see `tensors`."""
    if labels is None:
        return tensors(images, batch_size=batch_size)
    return torch.as_tensor(images), torch.as_tensor(labels)


def tensors(images: LabelledImages, *, name: str = "images", batch_size: int = 200) -> tuple[Tensor, Tensor]:
    """Read all images and labels of a Dataset, a DataLoader, a Split or a pair of arrays.

    Args:
        images: (images [N, C, H, W], labels [N]); a Split; a Dataset of (image, label); or batches with a length, such
            as a DataLoader. Images are uint8, or floats in [0, 1].
        name: what to call them in a message. batch_size: how many images of a Dataset are read at a time.

    Returns:
        Images as float32 in [0, 1] and labels as int64, on the CPU. All of them must fit into memory.

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
