"""Data-parallel training: one process per rank, started by torchrun, each with its rows of every batch.

Every rank keeps the rows of kappa that belong to its rows, so any number of ranks trains the network of one process,
apart from random draws and from batch norm, whose statistics are those of a rank's own rows.
"""

import gc
import inspect
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hiresnn.errors import HiresnnError, LostProcessError, UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import Window
from hiresnn.process import processes

Value = TypeVar("Value")
Present = Callable[[Tensor, Window], Tensor]

VARIABLES = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # torchrun sets them besides WORLD_SIZE
MEETING = timedelta(seconds=50)
"""How long the ranks wait for each other when they start."""
GRACE = 3.0
"""Seconds that rank 0 has to print an error that all ranks raise, before torchrun stops it because another ended."""
_NEW = "forward_sync_buffers" in inspect.signature(DistributedDataParallel.__init__).parameters  # since torch 2.13
_OPTIONS: dict[str, Any] = {"forward_sync_buffers" if _NEW else "broadcast_buffers": False}


class Ranks:
    """This process, `rank` of `size`, among those that train together; only rank 0 writes files and prints."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self._averaging: DistributedDataParallel | None = None  # keeps its model alive: only the latest is stored

    @property
    def lead(self) -> bool:
        return self.rank == 0

    def presenter(self, model: nn.Module) -> Present:
        """Return what maps images and window to logits, with a backward pass that averages gradients over all ranks."""
        if self.size == 1:
            return model.present if isinstance(model, SpikingNetwork) else lambda images, window: model(images)
        if self._averaging is None or self._averaging.module.model is not model:
            self._averaging = DistributedDataParallel(_Presenter(model), **_OPTIONS)
        return self._averaging

    def weighted(self, loss: Tensor, rows: int, count: int) -> Tensor:
        """Scale the mean loss over this rank's `rows`, so that the ranks' average is the mean over all `count`."""
        return loss if self.size == 1 else loss * (rows * self.size / count)

    def summed(self, *values: float) -> list[float]:
        total = torch.tensor(values, dtype=torch.float64)
        if self.size > 1:
            dist.all_reduce(total)
        sums: list[float] = total.tolist()
        return sums

    def from_lead(self, value: Value) -> Value:
        """Return the value of rank 0, so that all ranks decide alike what depends on files."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values)
        return values[0]

    def gathered(self, value: Value) -> list[Value]:
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def agree(self, values: Mapping[str, Any] | HiresnnError) -> None:
        """Raise on all ranks the error that is the value of one, or UsageError where values by name differ."""
        known: list[Mapping[str, Any]] = []
        for value in self.gathered(values):
            if isinstance(value, HiresnnError):
                raise value
            known.append(value)
        for rank, other in enumerate(known):
            for key, first in known[0].items():
                if first != other.get(key):
                    values_of = f"{first!r} in process 0 but {other.get(key)!r} in process {rank}"
                    raise UsageError(f"{key} is {values_of}; start all processes with the same settings.")

    def wait(self) -> None:
        if self.size > 1:
            dist.barrier()


@contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that torchrun started, as its environment variables say; without them, train alone.

    Raises LostProcessError where another process ended before its work was done.
    """
    size = processes()
    if size == 1:
        yield ALONE
        return
    if missing := [name for name in VARIABLES if name not in os.environ]:
        raise UsageError(f"WORLD_SIZE is {size} without {', '.join(missing)}; start torchrun, or unset WORLD_SIZE.")
    if (local := int(os.environ["LOCAL_RANK"])) < torch.cuda.device_count():
        torch.cuda.set_device(local)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    ranks = Ranks(int(os.environ["RANK"]), size)
    try:
        store, *_ = next(dist.rendezvous("env://", timeout=MEETING))  # type: ignore[attr-defined]
        store = dist.PrefixStore("hiresnn", store)  # type: ignore[attr-defined]
        store.set(f"{ranks.rank}", "arrived")
        store.wait([f"{rank}" for rank in range(size)], MEETING)
        longest = timedelta(days=1)  # rank 0 may wait for a download, or for an ANN
        dist.init_process_group(backend, store=store, rank=ranks.rank, world_size=size, timeout=longest)
        yield ranks
        ranks.wait()  # A rank that left first would break connections that the others still use.
    except HiresnnError:
        if not ranks.lead:
            time.sleep(GRACE)
        raise
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "gloo" not in str(error).lower():
            raise
        hint = "see what that one printed (none: it was killed, often for lack of memory), then run hiresnn resume"
        message = f"another of the {size} training processes ended, so process {ranks.rank} stops too"
        raise LostProcessError(f"{message}; {hint}.") from None
    finally:
        ranks._averaging = None  # it holds on to the connections between the ranks
        gc.collect()
        if dist.is_initialized():
            dist.destroy_process_group()


class _Presenter(nn.Module):
    """Presents images in `forward`, because only calls of forward average gradients."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, window: Window) -> Tensor:
        return ALONE.presenter(self.model)(images, window)


ALONE = Ranks()
"""A process that trains by itself."""
