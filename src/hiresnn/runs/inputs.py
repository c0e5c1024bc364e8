"""What a recipe is computed on: device, images, batches."""

from __future__ import annotations

import torch

from hiresnn import data
from hiresnn.data import Batches, DataSet, Split
from hiresnn.errors import UsageError
from hiresnn.runs.recipe import Recipe
from hiresnn.training import Ranks


def device_of(recipe: Recipe) -> str:
    """The device to compute on: "auto" is a GPU where there is one."""
    if recipe.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if recipe.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"device is {recipe.device!r}, but torch sees no GPU here; use cpu or auto.")
    number, last = recipe.device.partition(":")[2], torch.cuda.device_count() - 1
    if number and int(number) > last:
        raise UsageError(
            f"device is {recipe.device!r}, but the last GPU that torch sees is cuda:{last}; use it or auto."
        )
    return recipe.device


def splits(recipe: Recipe, dataset: DataSet) -> tuple[Split, Split | None]:
    """(training images, images held out of training or None), as the recipe divides the training set."""
    split, held = dataset.train, None
    if recipe.data.holdout_images:
        split, held = data.holdout(split, recipe.data.holdout_images, key="data.holdout_images")
    return data.first(split, recipe.data.train_images, key="data.train_images"), held


def batches_of(split: Split, batch_size: int, recipe: Recipe, stage: int, ranks: Ranks) -> Batches:
    """This rank's share of the batches of one stage of training (0: ANN, 1: SNN), which shuffle apart."""
    generator = torch.Generator().manual_seed(2 * recipe.seed + stage)
    return Batches(
        split,
        batch_size,
        device=device_of(recipe),
        shuffle=True,
        augment=recipe.data.augment,
        generator=generator,
        part=(ranks.rank, ranks.size),
    )
