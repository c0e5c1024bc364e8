"""The ANN that runs start from: trained once, shared by all runs whose data, model, ANN section and seed agree.

`hiresnn train`: data, ANN, conversion, SNN, first result; everything a recipe asks for, in one folder.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hiresnn import data
from hiresnn.analysis.accuracy import accuracy
from hiresnn.app.build import (
    ann_of,
    calibrate_by,
    checked_network,
    compile_neurons,
    method_of,
    optimizer_of,
    spiking_network,
)
from hiresnn.app.context import RunContext, check_ranks, clamp_counts, device_of, load_data, log_to, splits, take_folder
from hiresnn.app.folder import ANN, CONVERSION, METRICS, MODEL, RESULT, SOURCE, RunFolder, default_folder
from hiresnn.app.memory import calibration_images, fitting_batch, require_memory
from hiresnn.app.networks import save
from hiresnn.app.own import OwnCode, announce, own_code, weights_digest
from hiresnn.app.recipe import METHOD_NAMES, Recipe, changed, digest
from hiresnn.app.schema import LONGEST_NAME
from hiresnn.app.trainer import Trainer
from hiresnn.data import DataSet
from hiresnn.errors import UsageError
from hiresnn.exchange import rounding
from hiresnn.network import memory_format_of
from hiresnn.progress import Progress
from hiresnn.training import ALONE, Ranks, ann_method
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


BATCH = 200
"""Images per batch when the accuracy is measured."""
WORTH_SAYING = 2**30
"""Bytes of memory above which the estimate is printed."""


def train(
    recipe: Recipe,
    *,
    out: Path | None = None,
    resume: bool = False,
    progress: Progress,
    ranks: Ranks = ALONE,
    clamp: Collection[str] = (),
    log: str | None = None,
) -> Path:
    """Train what the recipe describes and return the run folder.

    The ANN is trained once and shared by all runs in the same parent folder whose data, model, ANN section and seed
    agree. Several processes train together if each calls this with its `ranks`: they share every batch.

    Args:
        out: the run folder; None is `runs/NAME-METHOD-seedN`.
        resume: continue the run that `out` holds.
        clamp: keys of counts of images that are lowered to what the data set has, as `context.clamp_counts` does.
        log: where the row of each epoch goes besides metrics.jsonl, see `logs.log_to`.

    Raises:
        HiresnnError: the recipe, the data, the folder or the training fails; one sentence says why.
    """
    out = out or default_folder(recipe)
    check_ranks(recipe, ranks)  # what can be wrong with recipe and data comes out before a folder is created
    device = device_of(recipe)
    dataset = load_data(recipe.data.source, ranks, recipe.data.size)
    recipe = clamp_counts(recipe, dataset, clamp, progress)
    own = own_code(recipe, out if resume else None)  # a run that has not begun may be corrected
    if own is not None and resume and (out / SOURCE).is_file():
        announce(own, out)
    checked = checked_network(recipe, dataset, own) if own or recipe.model.weights else None
    _report_needs(recipe, require_memory(recipe, dataset, device, ranks.size, checked), checked, progress)
    splits(recipe, dataset)
    if recipe.method not in METHOD_NAMES:
        method_of(recipe).steps(recipe.snn.timesteps)  # a plug-in, which may not work
    rows = log_to(log if ranks.lead else None, out)
    with take_folder(ranks, out, lambda: RunFolder.create(out, recipe, resume=resume)) as folder:
        context = RunContext(recipe, folder, dataset, progress, device, ranks, own, rows)
        if own is not None:
            folder.write_json(SOURCE, own.record)
        network = None
        if not ranks.from_lead(folder.has(MODEL)):
            ann = start_from_ann(context)
            if recipe.method == "ann":
                _copy(ann, folder)
            else:
                trainer = _snn_trainer(context, ann)
                trainer.training().run()
                network = trainer.model
                if ranks.lead:
                    save(network, folder.path / MODEL)
        ranks.wait()
        if ranks.lead:
            _report(context, network or context.load(folder.path).to(context.device))
    return out


def _report_needs(recipe: Recipe, memory: float, checked: nn.Module | None, progress: Progress) -> None:
    """Say how much memory a large training takes, and if the conversion of a user's network should rescale."""
    if memory > WORTH_SAYING:
        progress.line(f"This training takes about {memory / 2**30:.1f} GiB of memory.")
    if checked is None or recipe.method == "ann" or recipe.conversion.rescale:
        return
    if any(name.rpartition(".")[2] == "bias" for name, _ in checked.named_parameters()):
        progress.line(
            "The network has biases or batch norms, and conversion.rescale is false, so the spiking network starts far "
            "from the ANN; the recipe own, or --set conversion.rescale=true, starts close to it."
        )


def _copy(ann: Path, folder: RunFolder) -> None:
    """Make the shared ANN a run of its own, to be evaluated beside the runs that start from it."""
    for name in (METRICS, MODEL):
        if (ann / name).is_file():
            folder.write_bytes(name, (ann / name).read_bytes())


def _snn_trainer(context: RunContext, ann: Path) -> Trainer:
    """Convert the trained ANN and return the trainer of the SNN."""
    recipe = context.recipe
    settings = recipe.snn.model_copy(update={"epochs": recipe.snn_epochs})
    torch.manual_seed(recipe.seed)
    teacher = context.load(ann).to(context.device)
    network = spiking_network(recipe, teacher).to(context.device)
    batches = context.batches(settings.batch_size, stage=1)
    split = context.splits()[0]
    if context.own is not None:
        context.folder.write_text(CONVERSION, f"{network.report}\n")
        for warning in network.report.warnings:
            context.progress.line(f"Warning: {warning}", warning=True)
    count = calibration_images(recipe, network, split.images.shape[1:], len(split))
    if count < min(recipe.conversion.images, len(split)):
        context.progress.line(f"Thresholds are calibrated on {count} images, so that it takes little memory.")
    images = data.first(split, count).images.to(context.device) / 255
    calibrate_by(recipe, teacher, network, images)
    compile_neurons(recipe.compile, network, images[:1], settings.epochs * len(split), context.progress)
    method = method_of(recipe, teacher)
    if settings.rounding is not None:
        method.rounding = rounding(network, settings.rounding)
    return Trainer(context, "SNN", settings, method, network, optimizer_of(recipe, network), batches)


def _report(context: RunContext, network: nn.Module) -> None:
    """Measure the clean accuracy, write the first result.json and say the accuracy."""
    recipe, folder, held_out = context.recipe, context.folder, context.splits()[1]
    split = context.dataset.test if held_out is None else held_out
    batch = fitting_batch(network, context.dataset, BATCH, context.device, context.progress, gradients=False)
    clean = accuracy(network, split, batch_size=batch, device=context.device, progress=context.progress)
    if held_out is None and not folder.has(RESULT):
        result = {"clean": round(clean, 2), "attacks": {}, "images": len(split), "seed": recipe.seed}
        folder.write_json(RESULT, result)
    name = "test" if held_out is None else "held-out"
    context.progress.line(f"{recipe.name} {recipe.method}: {clean:.1f} % of {len(split):,} clean {name} images")
