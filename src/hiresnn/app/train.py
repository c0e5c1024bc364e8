"""`hiresnn train`: everything that a recipe asks for, in one folder: the ANN, its conversion, the SNN, a first result.

The ANN is trained once and shared by all runs beside each other whose data, model, ANN section and seed agree.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from hiresnn import data
from hiresnn.analysis.accuracy import accuracy
from hiresnn.app.build import ann_of, calibrate_by, checked_network, method_of, optimizer_of, spiking_network
from hiresnn.app.context import Log, RunContext, calibration_images, fitting_batch, log_to, take_folder
from hiresnn.app.folder import ANN, CONVERSION, METRICS, MODEL, RESULT, RESUME, SOURCE, RunFolder, default_folder
from hiresnn.app.networks import save
from hiresnn.app.own import OwnCode, announce, own_code, weights_digest
from hiresnn.app.recipe import SEMANTICS, Recipe, changed, digest
from hiresnn.app.schema import LONGEST_NAME, Ann
from hiresnn.data import DataSet
from hiresnn.errors import UsageError
from hiresnn.progress import Progress
from hiresnn.training import ALONE, Method, Ranks, Schedule, Selection, fit
from hiresnn.training.epochs import HELD_OUT

BATCH = 200
"""Images per batch when the accuracy is measured."""
OUT_OF_MEMORY = re.compile("out of memory|allocate memory|enough memory")
"""What torch says on a GPU, on Linux and on Windows."""
COMPILE: dict[str, bool | Literal["auto"]] = {"always": True, "never": False, "auto": "auto"}


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

    Several processes train together if each calls this with its `ranks`: they share every batch.

    Args:
        out: the run folder; None is `runs/NAME-METHOD-seedN`.
        resume: continue the run that `out` holds.
        clamp: keys of counts of images that are lowered to what the data set has, as `context.clamp_counts` does.
        log: where the row of each epoch goes besides metrics.jsonl, see `context.log_to`.

    Raises:
        HiresnnError: the recipe, the data, the folder, the memory or the training fails; one sentence says why.
    """
    out = out or default_folder(recipe)
    with _enough_memory():
        # What can be wrong with recipe and data comes out before a folder is created.
        context = RunContext.of_recipe(recipe, progress, ranks, clamp)
        own = own_code(context.recipe, out if resume else None)  # a run that has not begun may be corrected
        if own is not None and resume and (out / SOURCE).is_file():
            announce(own, out)
        context = replace(context, own=own)
        _check_network(context)
        rows_to = log_to(log if ranks.lead else None, out)
        with take_folder(ranks, out, lambda: RunFolder.create(out, context.recipe, resume=resume)) as folder:
            if own is not None:
                folder.write_json(SOURCE, own.record)
            network = None
            if not ranks.from_lead(folder.has(MODEL)):
                ann = _shared_ann(context, folder, rows_to)
                if recipe.method == "ann":
                    _copy(ann, folder)
                else:
                    network = _train_snn(context, folder, ann, rows_to)
            ranks.wait()
            if ranks.lead:
                _report(context, folder, network or context.load(folder.path).to(context.device))
    return out


@contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error))):
            raise
        raise UsageError(
            "the training needs more memory than there is; lower ann.batch_size, snn.batch_size, snn.timesteps or "
            "model.width, or set snn.recompute = true."
        ) from error


def _check_network(context: RunContext) -> None:
    """Refuse a network that does not suit the images or the conversion, and say if the conversion should rescale."""
    recipe = context.recipe
    ann = checked_network(recipe, context.dataset, context.own)
    users = context.own is not None or recipe.model.weights is not None
    biases = any(name.rpartition(".")[2] == "bias" for name, _ in ann.named_parameters())
    if users and biases and recipe.method != "ann" and not recipe.conversion.rescale:
        context.progress.line(
            "The network has biases or batch norms, and conversion.rescale is false, so the spiking network starts far "
            "from the ANN; the recipe own, or --set conversion.rescale=true, starts close to it."
        )


def ann_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe of the ANN that `recipe` starts from; the method and the seed of the SNN do not matter."""
    name = f"{recipe.name[: LONGEST_NAME - 4]}-ann"
    return changed(recipe, {"method": "ann", "name": name, "seed": recipe.ann_seed, "ann.seed": None})


def ann_part(recipe: Recipe) -> dict[str, Any]:
    """Return every value of a recipe that decides its ANN, without the content of the data."""
    part = recipe.keyed(include={"data", "model", "precision", "ann"})
    part["data"].pop("source")
    part["ann"].pop("seed")
    return {**part, "seed": recipe.ann_seed}


def ann_key(recipe: Recipe, dataset: DataSet, own: OwnCode | None = None) -> str:
    """Return the digest of all that decides the ANN: its part of the recipe, its seed, and the content of the data.

    Code and weights count by their content, not by their path.
    """
    part = ann_part(recipe)
    if own is not None:
        part["model"] = {**own.key, "normalise": recipe.model.normalise}
    elif recipe.model.weights is not None:
        part["model"].pop("weights")
        part["weights"] = weights_digest(recipe.model.weights)
    return digest({**part, "content": dataset.digest})


def ann_path(recipe: Recipe, dataset: DataSet, run: Path, own: OwnCode | None = None) -> Path:
    """Return the folder of the ANN that the runs beside `run` share."""
    return run.parent / "ann" / f"{recipe.model.label}-seed{recipe.ann_seed}-{ann_key(recipe, dataset, own)}"


def _shared_ann(context: RunContext, run: RunFolder, rows_to: Log) -> Path:
    """Return the folder of the trained ANN, trained now unless a run beside this one has; note it in ann.json."""
    recipe, ranks = context.recipe, context.ranks
    path = ann_path(recipe, context.dataset, run.path, context.own)
    if not ranks.from_lead((path / MODEL).is_file()):

        def wait() -> None:
            context.progress.line(f"Another process trains the ANN in {path}; waiting for it.")

        own_recipe = ann_recipe(recipe)  # the recipe in the folder may name a device of another machine
        with take_folder(ranks, path, lambda: RunFolder.shared(path, own_recipe, wait=wait)) as folder:
            if context.own is not None:
                folder.write_json(SOURCE, context.own.record)
            if not ranks.from_lead(folder.has(MODEL)):
                _train_ann(replace(context, recipe=own_recipe), folder, rows_to)
    key = path.name.rpartition("-")[2]
    run.write_json(ANN, {"key": key, "seed": recipe.ann_seed, "folder": path.name})
    return path


def _train_ann(context: RunContext, folder: RunFolder, rows_to: Log) -> None:
    recipe, (split, held_out) = context.recipe, context.splits()
    torch.manual_seed(recipe.seed)
    network = ann_of(recipe, context.dataset, split, context.own)
    if recipe.ann.epochs:
        _require_whole_batches(network, len(split), recipe.ann.batch_size)
    selection = None
    if held_out is not None and (recipe.ann.training != "plain" or recipe.ann.select == "robust"):
        measured = data.first(held_out, min(HELD_OUT, len(held_out)))
        images, labels = measured.images.to(context.device).float() / 255, measured.labels.to(context.device)
        selection = Selection(images, labels, recipe.ann.eps, recipe.ann.select)
    _fit(context, folder, network.to(context.device), method_of(recipe), rows_to, selection=selection)


def _require_whole_batches(network: nn.Module, images: int, batch_size: int) -> None:
    """Refuse a last batch of one image, before the first epoch, where a batch norm would fail on it."""
    norms = [name for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm1d)]
    if norms and images % batch_size == 1:
        raise UsageError(
            f"ann.batch_size = {batch_size} leaves a last batch of one of the {images} images, which batch norm "
            f"{norms[0]!r} cannot normalise; take another batch size."
        )


def _train_snn(context: RunContext, folder: RunFolder, ann: Path, rows_to: Log) -> nn.Module:
    """Convert the trained ANN and train the SNN."""
    recipe, split = context.recipe, context.splits()[0]
    torch.manual_seed(recipe.seed)
    teacher = context.load(ann).to(context.device)
    network = spiking_network(recipe, teacher).to(context.device)
    if context.own is not None:
        folder.write_text(CONVERSION, f"{network.report}\n")
        for warning in network.report.warnings:
            context.progress.line(f"Warning: {warning}", warning=True)
    images = data.first(split, calibration_images(recipe, split)).images
    calibrate_by(recipe, teacher, network, images.to(context.device) / 255)
    _fit(context, folder, network, method_of(recipe, teacher), rows_to, rounding=recipe.snn.rounding)
    network.fuse(network.fused)  # the decision holds for the measurement, too
    return network


def _fit(
    context: RunContext, folder: RunFolder, network: nn.Module, method: Method, rows_to: Log, **options: Any
) -> None:
    """Train one stage, continued from the state in the folder, and save the network."""
    recipe = context.recipe
    is_ann = recipe.method == "ann"
    stage, settings = ("ann", recipe.ann) if is_ann else ("snn", recipe.snn)
    epochs = recipe.ann.epochs if is_ann else recipe.snn_epochs
    cyclic = isinstance(settings, Ann) and settings.schedule == "cyclic"

    def log(row: dict[str, Any]) -> None:
        rows_to({"stage": stage, **row})  # first: if it fails, the resumed training logs this epoch
        folder.write_metrics([*folder.read_metrics()[: row["epoch"] - 1], {"stage": stage, **row}])

    result = fit(
        network,
        context.batches(settings.batch_size, stage=not is_ann),
        method=method,
        seed=None,  # as it was when the network was made
        precision=recipe.precision,
        compile=COMPILE[recipe.compile],
        optimizer=optimizer_of(recipe, network),
        schedule=Schedule(epochs, settings.lr, settings.decay, settings.milestones, cyclic),
        average=settings.average,
        ranks=context.ranks,
        title=f"{stage.upper()} training",
        progress=context.progress,
        checkpoint=folder.path / RESUME,
        settings={"semantics": SEMANTICS, "stage": stage.upper()},
        log=log,
        **options,
    )
    if result.rows:  # an earlier process may have died between its state and its log
        folder.write_metrics([{"stage": stage, **row} for row in result.rows])
    if context.ranks.lead:
        save(network, folder.path / MODEL)
    context.ranks.wait()


def _copy(ann: Path, folder: RunFolder) -> None:
    """Make the shared ANN a run of its own, to be evaluated beside the runs that start from it."""
    for name in (METRICS, MODEL):
        if (ann / name).is_file():
            folder.write_bytes(name, (ann / name).read_bytes())


def _report(context: RunContext, folder: RunFolder, network: nn.Module) -> None:
    """Measure the clean accuracy, write the first result.json and say the accuracy."""
    recipe, held_out = context.recipe, context.splits()[1]
    split = context.dataset.test if held_out is None else held_out
    batch = fitting_batch(network, context.dataset, BATCH)
    clean = accuracy(network, split, batch_size=batch, device=context.device, progress=context.progress)
    if held_out is None and not folder.has(RESULT):
        result = {"clean": round(clean, 2), "attacks": {}, "images": len(split), "seed": recipe.seed}
        folder.write_json(RESULT, result)
    name = "test" if held_out is None else "held-out"
    context.progress.line(f"{recipe.name} {recipe.method}: {clean:.1f} % of {len(split):,} clean {name} images")
