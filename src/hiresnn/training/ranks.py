"""Data-parallel training: one process a rank, as torchrun starts them, each with its share of every batch.

Gradients are averaged by DistributedDataParallel, over gloo on CPUs and NCCL on GPUs. The noise kappa belongs to the
rows of a batch, so each rank keeps that of its own share.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hiresnn.network import SpikingNetwork
from hiresnn.neurons import Window

Value = TypeVar("Value")


class Ranks:
    """This process among those that train together; `ALONE` is one that trains by itself.

    Attributes:
        rank: from 0; rank 0 leads: it alone writes files and speaks.
        size: number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._spread: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()

    @property
    def lead(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def present(self, model: nn.Module, images: Tensor, window: Window) -> Tensor:
        """Logits of this rank's images; the backward pass averages the gradients of the weights over all ranks."""
        if self.size == 1:
            return _present(model, images, window)
        if model not in self._spread:
            self._spread[model] = DistributedDataParallel(_Presented(model), broadcast_buffers=False)
        logits: Tensor = self._spread[model](images, window)
        return logits

    def over_batch(self, loss: float, right: int, rows: int) -> tuple[float, int, int]:
        """(mean loss, right answers, rows) of the whole batch, from those of this rank's share."""
        if self.size == 1:
            return loss, right, rows
        summed = torch.tensor([loss * rows, right, rows], dtype=torch.float64)
        dist.all_reduce(summed)
        losses, hits, count = summed.tolist()
        return losses / count, int(hits), int(count)

    def weighted(self, loss: Tensor, rows: int, count: int) -> Tensor:
        """A rank's mean loss over `rows`, so that the ranks' average is the mean over all `count` rows."""
        return loss if self.size == 1 else loss * (rows * self.size / count)

    def from_lead(self, value: Value) -> Value:
        """The value that rank 0 has, so that all decide alike what depends on files."""
        if self.size == 1:
            return value
        held: list[Any] = [value]
        dist.broadcast_object_list(held)
        found: Value = held[0]
        return found

    def gathered(self, value: Value) -> list[Value]:
        """The values of all ranks, in their order."""
        if self.size == 1:
            return [value]
        held: list[Any] = [None] * self.size
        dist.all_gather_object(held, value)
        return held

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined() -> Iterator[Ranks]:
    """The processes that torchrun started, from its environment variables; alone where it started none."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    local = int(os.environ["LOCAL_RANK"])
    if local < torch.cuda.device_count():
        torch.cuda.set_device(local)
    # Rank 0 may have to wait long for a download, or for another training of the same ANN.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=timedelta(days=1))
    try:
        yield Ranks(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()


class _Presented(nn.Module):
    """A module whose forward is a presentation, since only calls of forward average gradients."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, window: Window) -> Tensor:
        return _present(self.model, images, window)


ALONE = Ranks()
"""One process that trains by itself."""


def _present(model: nn.Module, images: Tensor, window: Window) -> Tensor:
    logits: Tensor = model.present(images, window) if isinstance(model, SpikingNetwork) else model(images)
    return logits
