"""The context of a run: everything that a recipe needs from this machine, resolved once and passed on unchanged."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from hiresnn import data
from hiresnn.data import Batches, DataSet, Split
from hiresnn.errors import UsageError
from hiresnn.progress import Progress
from hiresnn.runs.checkpoint import load
from hiresnn.runs.folder import MODEL, RunFolder
from hiresnn.runs.logs import Log, no_log
from hiresnn.runs.own_network import OwnCode
from hiresnn.runs.recipe import Recipe, changed
from hiresnn.training import ALONE, Ranks

COUNTS = ("data.train_images", "data.holdout_images")


@dataclass(frozen=True)
class RunContext:
    """A recipe with its folder, data and devices.

    Attributes:
        folder: the run folder; on ranks other than the first it drops every write.
        device: "cpu", "cuda" or "cuda:1", never "auto".
        own: the code of the recipe's own network; None for a network of the package.
    """

    recipe: Recipe
    folder: RunFolder
    dataset: DataSet
    progress: Progress
    device: str
    ranks: Ranks = ALONE
    own: OwnCode | None = None
    log: Log = no_log

    @classmethod
    def of_run(cls, folder: RunFolder, progress: Progress, source: str | None = None) -> RunContext:
        """Return the context of an existing run, with its own data or those that `source` names."""
        recipe = folder.recipe
        device = device_of(recipe)
        dataset = data.load(source or recipe.data.source, size=recipe.data.size)
        return cls(recipe, folder, dataset, progress, device)

    def load(self, folder: Path) -> nn.Module:
        """Return the trained network in a folder of this run, or of its ANN; the run's own code is not announced."""
        return load(folder / MODEL, None if self.own is None else self.own.bare)

    def splits(self) -> tuple[Split, Split | None]:
        """Return (images to train on, images held out of training or None)."""
        return splits(self.recipe, self.dataset)

    def batches(self, batch_size: int, stage: int) -> Batches:
        """Return this rank's share of shuffled training batches of `batch_size` images over all ranks.

        `stage` is 0 for the ANN, 1 for the SNN; they shuffle independently.
        """
        return Batches(
            self.splits()[0],
            batch_size,
            device=self.device,
            shuffle=True,
            augment=self.recipe.data.augment,
            generator=torch.Generator().manual_seed(2 * self.recipe.seed + stage),
            part=(self.ranks.rank, self.ranks.size),
        )


def device_of(recipe: Recipe | None) -> str:
    """Return the device to compute on, a GPU for "auto", or without a recipe, if there is one.

    Raises:
        UsageError: torch lacks the device.
    """
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
    total, counts = len(dataset.train), recipe.data
    held, train = counts.holdout_images, counts.train_images
    if held >= total and COUNTS[0] in keys and COUNTS[1] not in keys:
        raise UsageError(
            f"{COUNTS[1]} is {held:,}, but {dataset.name} has {total:,} training images, and some must "
            "remain; lower it."
        )
    if COUNTS[1] in keys:
        held = min(held, total // 5)
    if COUNTS[0] in keys:
        train = min(train, total - held)
    changes = {
        key: (old, new)
        for key, old, new in zip(COUNTS, (counts.train_images, counts.holdout_images), (train, held), strict=True)
        if old != new
    }
    if not changes:
        return recipe
    text = ", ".join(f"{key} from {old:,} to {new:,}" for key, (old, new) in changes.items())
    progress.line(f"{dataset.name} has {total:,} training images, so a count of the recipe changes: {text}.")
    return changed(recipe, {key: new for key, (_, new) in changes.items()})
