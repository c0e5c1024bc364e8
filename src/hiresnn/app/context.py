"""What a run needs from this machine: its data, device, processes and log, resolved once and passed on unchanged."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from hiresnn import data
from hiresnn.app.folder import MODEL, RunFolder
from hiresnn.app.networks import load
from hiresnn.app.own import OwnCode, UserCode
from hiresnn.app.recipe import Recipe, changed
from hiresnn.data import DataSet, Split
from hiresnn.errors import HiresnnError, UsageError, quoted, user_code
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress
from hiresnn.training import ALONE, Ranks

Value = TypeVar("Value")
Log = Callable[[Mapping[str, Any]], object]
TENSORBOARD = "tensorboard"
COUNTS = ("data.train_images", "data.holdout_images")


@dataclass(frozen=True)
class RunContext:
    """A recipe with its data and devices.

    Attributes:
        device: "cpu", "cuda" or "cuda:1", never "auto".
        own: the code of the recipe's own network; None for a network of the package.
    """

    recipe: Recipe
    dataset: DataSet
    progress: Progress
    device: str
    ranks: Ranks = ALONE
    own: OwnCode | None = None

    @classmethod
    def of_run(cls, folder: RunFolder, progress: Progress, source: str | None = None) -> RunContext:
        """Return the context of an existing run, with its own data or those that `source` names."""
        recipe = folder.recipe
        dataset = data.load(source or recipe.data.source, size=recipe.data.size)
        return cls(recipe, dataset, progress, device_of(recipe))

    @classmethod
    def of_recipe(cls, recipe: Recipe, progress: Progress, ranks: Ranks, clamp: Collection[str]) -> RunContext:
        """Return the context of a new training, once machine, processes and data are known to suit the recipe.

        The counts of images in `clamp` are lowered as `clamp_counts` does.
        """
        check_ranks(recipe, ranks)
        device, dataset = device_of(recipe), load_data(recipe.data.source, ranks, recipe.data.size)
        recipe = clamp_counts(recipe, dataset, clamp, progress)
        splits(recipe, dataset)
        return cls(recipe, dataset, progress, device, ranks)

    @cached_property
    def _splits(self) -> tuple[Split, Split | None]:
        return splits(self.recipe, self.dataset)

    @property
    def train(self) -> Split:
        """The images to train on; a run that is only evaluated, on other data, may have fewer than its recipe asks."""
        return self._splits[0]

    @property
    def held_out(self) -> Split | None:
        """Images that are never trained on, or None."""
        return self._splits[1]

    def load(self, folder: Path) -> nn.Module:
        """Return the trained network in a folder of this run, or of its ANN; the run's own code is not announced."""
        return load(folder / MODEL, None if self.own is None else self.own.bare)


def device_of(recipe: Recipe | None) -> str:
    """Return the device of a recipe, which torch must have; a GPU, if there is one, for "auto" or without a recipe."""
    if recipe is None or recipe.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if recipe.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"device is {recipe.device!r}, but torch sees no GPU; use cpu or auto.")
    number, last = recipe.device.partition(":")[2], torch.cuda.device_count() - 1
    if number and int(number) > last:
        raise UsageError(
            f"device is {recipe.device!r}, but the last GPU that torch sees is cuda:{last}; use that one or auto."
        )
    return recipe.device


def splits(recipe: Recipe, dataset: DataSet) -> tuple[Split, Split | None]:
    """Divide the training set as the recipe says: (images to train on, images held out or None)."""
    split, held = dataset.train, None
    if recipe.data.holdout_images:
        split, held = data.holdout(split, recipe.data.holdout_images, key="data.holdout_images")
    return data.first(split, recipe.data.train_images, key="data.train_images"), held


def clamp_counts(recipe: Recipe, dataset: DataSet, keys: Collection[str], progress: Progress) -> Recipe:
    """Lower those counts of images that the user has not set (`keys`) to what the data set has, and say so."""
    total, held_out = len(dataset.train), recipe.data.holdout_images
    counts = {}
    if COUNTS[1] in keys:
        held_out = counts[COUNTS[1]] = min(held_out, total // 5)
    if COUNTS[0] in keys and held_out < total:
        counts[COUNTS[0]] = min(recipe.data.train_images, total - held_out)
    stated = dict(zip(COUNTS, (recipe.data.train_images, recipe.data.holdout_images), strict=True))
    if not (lowered := {key: counts[key] for key in COUNTS if counts.get(key, stated[key]) != stated[key]}):
        return recipe
    changes = ", ".join(f"{key} from {stated[key]:,} to {count:,}" for key, count in lowered.items())
    progress.line(f"{dataset.name} has {total:,} training images, so a count of the recipe changes: {changes}.")
    return changed(recipe, lowered)


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
    local, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", ranks.size)), torch.cuda.device_count()
    if device_of(recipe) == "cuda" and local > gpus:
        raise UsageError(f"{local} processes need as many GPUs, but this machine has {gpus}; start fewer.")


def _all_raise(ranks: Ranks, action: Callable[[], Value]) -> Value:
    """Return the value of `action`, or raise on all ranks what it raised on any of them."""
    value, error = None, None
    try:
        value = action()
    except HiresnnError as caught:
        error = caught
    for raised in ranks.gathered(error):
        if raised is not None:
            raise raised
    return value  # type: ignore[return-value]


def take_folder(ranks: Ranks, path: Path, take: Callable[[], RunFolder]) -> RunFolder:
    """Return the folder that the first rank takes by `take`, read-only on the others."""
    return _all_raise(ranks, take if ranks.lead else lambda: RunFolder.follow(path))


def load_data(source: str, ranks: Ranks, size: int | None = None) -> DataSet:
    """Load the data set; the first rank loads, and so downloads, before the others."""

    def loaded() -> DataSet:
        return data.load(source, size=size)

    dataset = _all_raise(ranks, loaded if ranks.lead else lambda: None)
    return _all_raise(ranks, lambda: dataset or loaded())


LARGEST_BATCH = 2**25
"""Pixel values, times timesteps, that a network is shown at once: 14 images of 3 x 224 x 224 for 16 steps."""


def fitting_batch(network: nn.Module, dataset: DataSet, images: int) -> int:
    """Return `images`, or fewer where images or T are so large that a pass would take many gigabytes."""
    timesteps = network.timesteps if isinstance(network, SpikingNetwork) else 1
    return max(1, min(images, LARGEST_BATCH // (timesteps * dataset.train.images[0].numel())))


def log_to(target: str | None, folder: Path) -> Log:
    """Return what the option --log names, called with the row of each epoch and "stage", "ann" or "snn".

    Args:
        target: "tensorboard", which writes event files into the folder of the run; FILE.py:FUNCTION or MODULE:FUNCTION,
            which is executed and called with each row; or None.

    Raises:
        UsageError: TensorBoard is not installed, or there is no such function.
    """
    if target is None:
        return lambda row: None
    if target == TENSORBOARD:
        return _tensorboard(folder / TENSORBOARD)
    if ":" not in target:
        raise UsageError(f"--log {quoted(target)} is not known; write {TENSORBOARD}, or FILE.py:FUNCTION of your own.")
    function = UserCode.parse(target).callable("add one: (row) -> None")

    def call(row: Mapping[str, Any]) -> None:
        with user_code(target, " (--debug shows where); correct it and continue with --resume."):
            function(copy.deepcopy(dict(row)))  # which it may change

    return call


def _scalars(row: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a row with their names, such as snn/thresholds/lif1."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name != "epoch":
            yield f"{prefix}{name}", float(value)


def _tensorboard(folder: Path) -> Log:
    try:
        tensorboard: Any = import_module("torch.utils.tensorboard")
    except ImportError:
        raise UsageError("--log tensorboard needs TensorBoard: pip install 'hiresnn[tensorboard]'") from None
    writer: Any = None

    def write(row: Mapping[str, Any]) -> None:
        nonlocal writer
        writer = writer or tensorboard.SummaryWriter(str(folder))  # creates the folder, which a new run must do first
        for name, value in _scalars(row, f"{row['stage']}/"):
            writer.add_scalar(name, value, row["epoch"])
        writer.flush()

    return write
