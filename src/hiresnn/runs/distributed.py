"""Steps of a run that several processes take together: checks, taking the folder, loading the data."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from hiresnn import data
from hiresnn.data import DataSet
from hiresnn.errors import HiresnnError, UsageError
from hiresnn.runs.context import device_of
from hiresnn.runs.folder import RunFolder
from hiresnn.runs.recipe import Recipe
from hiresnn.training import Ranks


def check_ranks(recipe: Recipe, ranks: Ranks) -> None:
    """Raise UsageError if the recipe's batches or this machine's GPUs are too few for so many processes."""
    if ranks.size == 1:
        return
    for section, batch_size in (("ann", recipe.ann.batch_size), ("snn", recipe.snn.batch_size)):
        if batch_size < ranks.size:
            raise UsageError(
                f"{section}.batch_size is {batch_size}, but {ranks.size} processes need at least one image each; "
                "start fewer processes or raise it."
            )
    if ":" in recipe.device:
        raise UsageError(f"device is {recipe.device!r}, a single GPU; for {ranks.size} processes use cuda or auto.")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", ranks.size))
    if device_of(recipe) == "cuda" and local > torch.cuda.device_count():
        raise UsageError(
            f"{local} processes need as many GPUs, but this machine has {torch.cuda.device_count()}; start fewer."
        )


def take_folder(ranks: Ranks, path: Path, take: Callable[[], RunFolder]) -> RunFolder:
    """Return the folder that the first rank takes by `take`, read-only on the others. All raise what it raises."""
    folder, error = RunFolder.follow(path), None
    if ranks.lead:
        try:
            folder = take()
        except HiresnnError as caught:
            error = caught
    if (error := ranks.from_lead(error)) is not None:
        raise error
    return folder


def load_data(source: str, ranks: Ranks, size: int | None = None) -> DataSet:
    """Load the data set; the first rank loads, and so downloads, before the others. All raise what any rank raises."""
    dataset: DataSet | None = None
    error: HiresnnError | None = None
    for turn in (ranks.lead, not ranks.lead):
        if turn:
            try:
                dataset = data.load(source, size=size)
            except HiresnnError as caught:
                error = caught
        for raised in ranks.gathered(error):
            if raised is not None:
                raise raised
    assert dataset is not None
    return dataset
