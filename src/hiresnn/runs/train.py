"""`hiresnn train`: data, ANN, conversion, SNN, first result; everything a recipe asks for, in one folder."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from torch import nn

from hiresnn import data
from hiresnn.analysis.accuracy import accuracy
from hiresnn.exchange import rounding
from hiresnn.progress import Progress
from hiresnn.runs.ann import start_from_ann
from hiresnn.runs.checkpoint import save
from hiresnn.runs.context import RunContext, clamp_counts, device_of, splits
from hiresnn.runs.distributed import check_ranks, load_data, take_folder
from hiresnn.runs.folder import CONVERSION, METRICS, MODEL, RESULT, SOURCE, RunFolder, default_folder
from hiresnn.runs.logs import log_to
from hiresnn.runs.memory import calibration_images, fitting_batch, require_memory
from hiresnn.runs.networks import (
    calibrate_by,
    checked_network,
    compile_neurons,
    method_of,
    optimizer_of,
    spiking_network,
)
from hiresnn.runs.own_network import announce, own_code
from hiresnn.runs.recipe import METHOD_NAMES, Recipe
from hiresnn.runs.trainer import Trainer
from hiresnn.training import ALONE, Ranks

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
