"""Data-parallel training: one process a rank, as torchrun starts them, each with its share of every batch.

Gradients are averaged by DistributedDataParallel, over gloo on CPUs and NCCL on GPUs. The noise kappa belongs to the
rows of a batch, so each rank keeps that of its own share.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hiresnn.errors import HiresnnError, UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import Window
from hiresnn.torchrun import processes

Value = TypeVar("Value")

SETS = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What torchrun sets beside WORLD_SIZE, and several processes need."""
GRACE = 3.0
"""Seconds that the leading rank has to say what all raised, before torchrun ends it because another has ended."""


class Ranks:
    """This process among those that train together; `ALONE` is one that trains by itself.

    Attributes:
        rank: from 0; rank 0 leads: it alone writes files and speaks.
        size: number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._averaging: DistributedDataParallel | None = None  # holds its model, so only the latest is kept

    @property
    def lead(self) -> bool:
        """Whether this is rank 0."""
        return self.rank == 0

    def present(self, model: nn.Module, images: Tensor, window: Window) -> Tensor:
        """Logits of this rank's images; the backward pass averages the gradients of the weights over all ranks."""
        if self.size == 1:
            return _present(model, images, window)
        if self._averaging is None or self._averaging.module.model is not model:
            self._averaging = DistributedDataParallel(_Presented(model), broadcast_buffers=False)
        logits: Tensor = self._averaging(images, window)
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

    def forget(self) -> None:
        """Let go of the model presented last, which holds on to the connections between the ranks."""
        self._averaging = None
        gc.collect()


@contextmanager
def joined() -> Iterator[Ranks]:
    """The processes that torchrun started, from its environment variables; alone where it started none.

    Raises:
        UsageError: WORLD_SIZE says that there are several, but the rest of what torchrun sets is missing.
    """
    size = processes()
    if size == 1:
        yield ALONE
        return
    if missing := [name for name in SETS if name not in os.environ]:
        raise UsageError(
            f"the environment has WORLD_SIZE={size} without {', '.join(missing)}; start several processes by "
            "torchrun, or unset WORLD_SIZE for one."
        )
    local = int(os.environ["LOCAL_RANK"])
    if local < torch.cuda.device_count():
        torch.cuda.set_device(local)
    # Rank 0 may have to wait long for a download, or for another training of the same ANN.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=timedelta(days=1))
    ranks = Ranks(dist.get_rank(), size)
    try:
        yield ranks
        ranks.wait()  # whoever left first would break the connections that the others still use
    except HiresnnError:
        if not ranks.lead:
            time.sleep(GRACE)
        raise
    finally:
        ranks.forget()
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
