"""Batches from a split that lies on the device as uint8, so that an epoch copies no image to it."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from hiresnn.data.augment import flip_and_crop
from hiresnn.data.dataset import Split
from hiresnn.errors import UsageError

Batch = tuple[Float[Tensor, "batch channel height width"], Int64[Tensor, "batch"]]


class Batches:
    """One epoch an iteration: (images, labels), images float32 in [0, 1], both on `device`.

    Every image comes once; the last batch is as short as it must be, down to one image.
    With `shuffle` the order is random, with `augment` every batch goes through `flip_and_crop`. All that is
    random in an epoch is drawn from `generator` when its iteration starts, before the first batch: whoever
    keeps `generator.get_state()` from before an epoch can repeat it exactly, and may draw from the same
    generator between the batches.

    `part` is (which, of how many) for one of several processes that split every batch. A process always gets the same
    rows of a batch, so a short last batch leaves some processes with fewer rows or with none: they then get empty
    tensors. Together the parts are the whole batch.

    Raises UsageError for a batch size below 1, and for a missing generator or one that is not on the CPU.
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
            raise UsageError(f"batch_size is {batch_size}: give a whole number of at least 1.")
        if (shuffle or augment) and generator is None:
            raise UsageError("shuffle and augment are random, but generator is missing: give a torch.Generator.")
        if generator is not None and generator.device.type != "cpu":
            raise UsageError(
                f"generator is on {generator.device}: give one on the CPU, so that batches are the same on "
                "every device."
            )
        self.images = split.images.to(device)
        self.labels = split.labels.to(device)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.augment = augment
        self.generator = generator
        self.part = part

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = augmentation = None
        if self.shuffle:
            order = torch.randperm(len(self.labels), generator=self.generator).to(self.labels.device)
        if self.augment:
            seed = torch.randint(2**63 - 1, (), generator=self.generator)
            augmentation = torch.Generator().manual_seed(int(seed))
        return self._epoch(order, augmentation)

    def _epoch(self, order: Int64[Tensor, "image"] | None, augmentation: torch.Generator | None) -> Iterator[Batch]:
        for start in range(0, len(self.labels), self.batch_size):
            here = slice(start, start + self.batch_size)
            index = here if order is None else order[here]
            images = self.images[index]
            if augmentation is not None:
                images = flip_and_crop(images, generator=augmentation)
            which, parts = self.part
            rows = min(self.batch_size, len(self.labels))
            mine = slice(rows * which // parts, rows * (which + 1) // parts)
            yield images[mine].to(torch.float32).div_(255), self.labels[index][mine]
