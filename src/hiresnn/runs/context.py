"""The context of a run: everything that a recipe needs from this machine, resolved once and passed on unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from hiresnn import data
from hiresnn.data import Batches, DataSet, Split
from hiresnn.errors import UsageError
from hiresnn.progress import Progress
from hiresnn.runs.folder import RunFolder
from hiresnn.runs.recipe import Recipe
from hiresnn.training import ALONE, Ranks


@dataclass(frozen=True)
class RunContext:
    """A recipe with its folder, data and devices.

    Attributes:
        recipe: what to train.
        folder: the run folder; on ranks other than the first it drops every write.
        dataset: the images that the recipe names.
        progress: where progress is reported.
        device: "cpu", "cuda" or "cuda:1", never "auto".
        ranks: the processes that train together.
    """

    recipe: Recipe
    folder: RunFolder
    dataset: DataSet
    progress: Progress
    device: str
    ranks: Ranks = ALONE

    @cached_property
    def train_split(self) -> Split:
        """The training images, without those held out."""
        return splits(self.recipe, self.dataset)[0]

    @cached_property
    def held_out(self) -> Split | None:
        """The images held out of training, or None."""
        return splits(self.recipe, self.dataset)[1]

    def batches(self, batch_size: int, stage: int) -> Batches:
        """Return this rank's share of the shuffled training batches.

        Args:
            batch_size: images of a batch over all ranks.
            stage: 0 for the ANN, 1 for the SNN; the stages shuffle independently.
        """
        return Batches(
            self.train_split,
            batch_size,
            device=self.device,
            shuffle=True,
            augment=self.recipe.data.augment,
            generator=torch.Generator().manual_seed(2 * self.recipe.seed + stage),
            part=(self.ranks.rank, self.ranks.size),
        )


def device_of(recipe: Recipe) -> str:
    """Return the device to compute on; "auto" is a GPU if there is one.

    Raises:
        UsageError: the recipe names a GPU that torch does not see.
    """
    if recipe.device == "auto":
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
