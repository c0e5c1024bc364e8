"""Several processes in one run: what they may ask for, one that takes the folder, one that downloads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from hiresnn import data
from hiresnn.data import DataSet
from hiresnn.errors import HiresnnError, UsageError
from hiresnn.runs.folder import RunFolder
from hiresnn.runs.inputs import device_of
from hiresnn.runs.recipe import Recipe
from hiresnn.training import Ranks


def check_ranks(recipe: Recipe, ranks: Ranks) -> None:
    """Raises UsageError where the recipe or this machine has too little for so many processes."""
    if ranks.size == 1:
        return
    for section, batch_size in (("ann", recipe.ann.batch_size), ("snn", recipe.snn.batch_size)):
        if batch_size < ranks.size:
            raise UsageError(
                f"{section}.batch_size is {batch_size}; {ranks.size} processes need that many images at least."
            )
    if ":" in recipe.device:
        raise UsageError(f"device is {recipe.device!r}, one GPU; for {ranks.size} processes use cuda or auto.")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", ranks.size))
    if device_of(recipe) == "cuda" and local > torch.cuda.device_count():
        raise UsageError(f"{local} processes need as many GPUs, here are {torch.cuda.device_count()}; start fewer.")


def taken(ranks: Ranks, path: Path, take: Callable[[], RunFolder]) -> RunFolder:
    """The folder as the leading rank takes it; the others read it. What it raises, all raise."""
    folder, error = RunFolder.follow(path), None
    if ranks.lead:
        try:
            folder = take()
        except HiresnnError as found:
            error = found
    if (error := ranks.from_lead(error)) is not None:
        raise error
    return folder


def loaded(recipe: Recipe, ranks: Ranks) -> DataSet:
    """The data; what is to be downloaded is downloaded once. What any rank's loading raises, all raise."""
    dataset: DataSet | None = None
    error: HiresnnError | None = None
    for turn in (ranks.lead, not ranks.lead):
        if turn:
            try:
                dataset = data.load(recipe.data.source)
            except HiresnnError as found:
                error = found
        for found_by in ranks.gathered(error):
            if found_by is not None:
                raise found_by
    assert dataset is not None
    return dataset
