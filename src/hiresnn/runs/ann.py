"""The ANN that runs start from: trained once, shared by all whose data, model, ANN part and seed agree."""

from __future__ import annotations

from pathlib import Path

import torch

from hiresnn import data
from hiresnn.data import DataSet
from hiresnn.models import build
from hiresnn.progress import Progress
from hiresnn.runs.checkpoint import save
from hiresnn.runs.folder import MODEL, RunFolder
from hiresnn.runs.inputs import batches_of, device_of, splits
from hiresnn.runs.recipe import Recipe, digest, override
from hiresnn.runs.stage import Stage
from hiresnn.runs.together import taken
from hiresnn.training import Method, Ranks


def ann_recipe(recipe: Recipe) -> Recipe:
    """The recipe of the ANN that `recipe` starts from: everything that does not matter to it is left out."""
    kept = {"method": "ann", "name": f"{recipe.name}-ann", "seed": str(recipe.ann_seed), "ann.seed": "none"}
    return override(recipe, kept)


def ann_key(recipe: Recipe, dataset: DataSet) -> str:
    """Digest of all that decides the ANN: its part of the recipe, its seed, and the content of the data."""
    return digest({**ann_part(recipe), "content": dataset.digest})


def ann_path(recipe: Recipe, dataset: DataSet, run: Path) -> Path:
    """Where the ANN lies that the runs beside `run` share."""
    return run.parent / "ann" / f"{recipe.model.name}-seed{recipe.ann_seed}-{ann_key(recipe, dataset)}"


def ann_part(recipe: Recipe) -> dict[str, object]:
    """All of a recipe that matters to its ANN, but for the content of the data."""
    part = recipe.model_dump(mode="json", include={"data", "model", "precision", "ann"})
    part["data"].pop("source")
    part["ann"].pop("seed")
    return {**part, "seed": recipe.ann_seed}


def start_from_ann(recipe: Recipe, folder: RunFolder, dataset: DataSet, progress: Progress, ranks: Ranks) -> Path:
    """The run folder of the ANN, trained now if no run beside this one has; noted in the run `folder`."""
    path = ann_path(recipe, dataset, folder.path)
    if not ranks.from_lead((path / MODEL).is_file()):

        def waiting() -> None:
            progress.line(f"Another process trains the ANN in {path}; waiting for it.")

        own = ann_recipe(recipe)  # the folder's may name a device of whoever began it
        with taken(ranks, path, lambda: RunFolder.shared(path, own, waiting=waiting)) as ann_folder:
            _train_ann(own, ann_folder, dataset, progress, ranks)
    folder.write_json("ann.json", {"key": ann_key(recipe, dataset), "seed": recipe.ann_seed, "folder": path.name})
    return path


def _train_ann(recipe: Recipe, folder: RunFolder, dataset: DataSet, progress: Progress, ranks: Ranks) -> None:
    if ranks.from_lead(folder.has(MODEL)):
        return
    torch.manual_seed(recipe.seed)
    split, settings, device = splits(recipe, dataset)[0], recipe.ann, device_of(recipe)
    mean, std = data.channel_statistics(split) if recipe.model.normalise else (None, None)
    network = build(
        recipe.model.name,
        dataset.num_classes,
        in_channels=dataset.in_channels,
        image_size=dataset.image_size,
        width=recipe.model.width,
        hidden=recipe.model.hidden,
        dropout=recipe.model.dropout,
        mean=mean,
        std=std,
    )
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        network.parameters(), lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay, fused=True
    )
    stage = Stage.of("ANN", settings, Method(), precision=recipe.precision)
    stage.fit(folder, network, optimizer, batches_of(split, settings.batch_size, recipe, 0, ranks), progress, ranks)
    if ranks.lead:
        save(network, folder.path / MODEL)
    ranks.wait()
