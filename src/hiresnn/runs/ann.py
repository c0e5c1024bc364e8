"""The ANN that runs start from: trained once, shared by all runs whose data, model, ANN section and seed agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hiresnn.data import DataSet
from hiresnn.errors import UsageError
from hiresnn.network import memory_format_of
from hiresnn.runs.checkpoint import save
from hiresnn.runs.context import RunContext
from hiresnn.runs.distributed import take_folder
from hiresnn.runs.fields import LONGEST_NAME
from hiresnn.runs.folder import ANN, MODEL, SOURCE, RunFolder
from hiresnn.runs.networks import ann_of
from hiresnn.runs.own_network import OwnCode, weights_digest
from hiresnn.runs.recipe import Recipe, changed, digest
from hiresnn.runs.trainer import Trainer
from hiresnn.training import ann_method
from hiresnn.training.epochs import trained_parameters


def ann_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe of the ANN that `recipe` starts from; the method and the seed of the SNN do not matter."""
    name = f"{recipe.name[: LONGEST_NAME - 4]}-ann"
    return changed(recipe, {"method": "ann", "name": name, "seed": recipe.ann_seed, "ann.seed": None})


def ann_part(recipe: Recipe) -> dict[str, object]:
    """Return every value of a recipe that decides its ANN, without the content of the data."""
    part = recipe.keyed(include={"data", "model", "precision", "ann"})
    part["data"].pop("source")
    part["ann"].pop("seed")
    return {**part, "seed": recipe.ann_seed}


def ann_key(recipe: Recipe, dataset: DataSet, own: OwnCode | None = None) -> str:
    """Return the digest of all that decides the ANN: its part of the recipe, its seed, and the content of the data.

    Code and weights count by their content, not by their path.
    """
    part: dict[str, Any] = ann_part(recipe)
    weights = {}
    if own is not None:
        part["model"] = {**own.key, "normalise": recipe.model.normalise}
    elif recipe.model.weights is not None:
        part["model"].pop("weights")
        weights = {"weights": weights_digest(recipe.model.weights)}
    return digest({**part, **weights, "content": dataset.digest})


def ann_path(recipe: Recipe, dataset: DataSet, run: Path, own: OwnCode | None = None) -> Path:
    """Return the folder of the ANN that the runs beside `run` share."""
    return run.parent / "ann" / f"{recipe.model.label}-seed{recipe.ann_seed}-{ann_key(recipe, dataset, own)}"


def start_from_ann(context: RunContext) -> Path:
    """Return the folder of the trained ANN, trained now unless a run beside this one has; note it in ann.json."""
    recipe, dataset, ranks = context.recipe, context.dataset, context.ranks
    path = ann_path(recipe, dataset, context.folder.path, context.own)
    if not ranks.from_lead((path / MODEL).is_file()):

        def wait() -> None:
            context.progress.line(f"Another process trains the ANN in {path}; waiting for it.")

        own = ann_recipe(recipe)  # the recipe in the folder may name a device of another machine
        with take_folder(ranks, path, lambda: RunFolder.shared(path, own, wait=wait)) as folder:
            if context.own is not None:
                folder.write_json(SOURCE, context.own.record)
            if not ranks.from_lead(folder.has(MODEL)):
                _train(replace(context, recipe=own, folder=folder))
    key = ann_key(recipe, dataset, context.own)
    context.folder.write_json(ANN, {"key": key, "seed": recipe.ann_seed, "folder": path.name})
    return path


def _train(context: RunContext) -> None:
    recipe, settings = context.recipe, context.recipe.ann
    torch.manual_seed(recipe.seed)
    network = ann_of(recipe, context.dataset, context.splits()[0], context.own)
    if settings.epochs:
        _require_whole_batches(network, len(context.splits()[0]), settings.batch_size)
    network.to(context.device, memory_format=memory_format_of(network))  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(
        trained_parameters(network, settings.epochs), lr=settings.lr, momentum=settings.momentum,
        weight_decay=settings.weight_decay, fused=True,
    )  # fmt: skip
    batches = context.batches(settings.batch_size, stage=0)
    method = ann_method(settings.training, eps=settings.eps, smoothing=settings.label_smoothing)
    Trainer(context, "ANN", settings, method, network, optimizer, batches).training().run()
    if context.ranks.lead:
        save(network, context.folder.path / MODEL)
    context.ranks.wait()


def _require_whole_batches(network: nn.Module, images: int, batch_size: int) -> None:
    """Refuse a last batch of one image, before the first epoch, where a batch norm would fail on it."""
    norms = [name for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm1d)]
    if norms and images % batch_size == 1:
        raise UsageError(
            f"ann.batch_size = {batch_size} leaves a last batch of one of the {images} images, which batch norm "
            f"{norms[0]!r} cannot normalise; take another batch size."
        )
