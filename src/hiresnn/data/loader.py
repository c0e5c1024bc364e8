"""Batches of a split that is stored on the device as uint8, and their augmentation there."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from hiresnn.data.dataset import Split
from hiresnn.errors import UsageError

Batch = tuple[Float[Tensor, "batch channel height width"], Int64[Tensor, "batch"]]

PADDING = 4
"""Pixels by which training images are moved at most in each direction."""


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

    Attributes:
        latest: where the latest batch comes from; None before the first. The row of the split of each image, [B], and
            the index of the source of each pixel in its image, [B, 1, H * W], or None without `augment`.

    Raises:
        UsageError: a batch size below 1, a missing generator, or one that is not on the CPU.
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
        if generator is not None and generator.device.type != "cpu":
            raise UsageError(f"generator is on {generator.device}; give one on the CPU, which every device can use.")
        self.images, self.labels = split.images.to(device), split.labels.to(device)
        self.batch_size, self.shuffle, self.augment = batch_size, shuffle, augment
        self.generator, self.part = generator, part
        self.latest: tuple[Tensor, Tensor | None] | None = None

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        count, augmentation = len(self.labels), None
        order = torch.randperm(count, generator=self.generator) if self.shuffle else torch.arange(count)
        if self.augment:
            seed = torch.randint(2**63 - 1, (), generator=self.generator)
            augmentation = torch.Generator().manual_seed(int(seed))
        return self._epoch(order.to(self.labels.device), augmentation)

    def _epoch(self, order: Int64[Tensor, "image"], augmentation: torch.Generator | None) -> Iterator[Batch]:
        which, parts = self.part
        whole = min(self.batch_size, len(self.labels))
        mine = slice(whole * which // parts, whole * (which + 1) // parts)
        for start in range(0, len(self.labels), self.batch_size):
            rows = order[start : start + self.batch_size]
            images, pixels = self.images[rows], None
            if augmentation is not None:
                pixels = _pixels(images, PADDING, augmentation)
                images = gathered(images, pixels)
            self.latest = rows[mine], None if pixels is None else pixels[mine]
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

    Raises:
        UsageError: the padding is negative.
    """
    if padding < 0:
        raise UsageError(f"padding is {padding}; give a number of pixels, 0 or more.")
    return gathered(images, _pixels(images, padding, generator))


def gathered(images: Shaped[Tensor, "batch channel height width"], pixels: Tensor) -> Tensor:
    """Move pixels as the second part of `Batches.latest` says; returns a tensor like `images`."""
    batch, channels = images.shape[:2]
    return images.flatten(2).gather(2, pixels.expand(batch, channels, -1)).view(images.shape)


def _pixels(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Draw crops and flips; return the source of each pixel, [B, 1, H * W]."""
    batch, _, height, width = images.shape
    flips = torch.randint(0, 2, (batch, 1), generator=generator)
    rows = _window(height, min(padding, height - 1), batch, generator)
    columns = _window(width, min(padding, width - 1), batch, generator)
    columns = torch.where(flips == 1, columns.flip(1), columns)

    rows = rows.to(images.device, non_blocking=True)
    columns = columns.to(images.device, non_blocking=True)
    return (rows[:, :, None] * width + columns[:, None, :]).view(batch, 1, height * width)


def _window(size: int, padding: int, batch: int, generator: torch.Generator) -> Int64[Tensor, "batch size"]:
    """Return the source of each of `size` pixels, for windows at random places on a reflected axis."""
    start = torch.randint(-padding, padding + 1, (batch, 1), generator=generator)
    position = (start + torch.arange(size)).abs()  # reflected at the first pixel
    return (size - 1) - ((size - 1) - position).abs()  # and at the last
