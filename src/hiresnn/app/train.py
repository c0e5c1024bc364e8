"""`hiresnn train`: all that a recipe asks for, in one folder: ANN, conversion, SNN, a first result; and what it costs.

The ANN is trained once and shared by all runs beside each other whose data, model, ANN section and seed agree.
"""

import copy
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from hiresnn import data
from hiresnn.analysis.accuracy import accuracy
from hiresnn.app.build import (
    COMPILE,
    ann_of,
    calibrate_by,
    calibration_images,
    device_of,
    fitting_batch,
    method_of,
    optimizer_of,
    spiking_network,
    splits,
)
from hiresnn.app.folder import ANN, CONVERSION, METRICS, MODEL, RESULT, RESUME, SOURCE, RunFolder, default_folder
from hiresnn.app.networks import load, save
from hiresnn.app.recipe import COUNTS, LONGEST_NAME, SEMANTICS, Recipe, changed, digest, flatten
from hiresnn.app.targets import OwnCode, UserCode, announce, load_for, own_code, weights_digest
from hiresnn.attacks import seeded
from hiresnn.checks import as_floats
from hiresnn.data import Batches, DataSet, Split
from hiresnn.errors import HiresnnError, UsageError, command_line, install_command, quoted, user_code
from hiresnn.network import SilentLayerError, SpikingNetwork, calibrate
from hiresnn.progress import Progress
from hiresnn.training import ALONE, Method, Ranks, Schedule, Selection, ann_method, fit
from hiresnn.training.loop import HELD_OUT, ITERATIONS
from hiresnn.training.losses import Adversarial
from hiresnn.training.methods import ANN_TRAININGS, BACKWARD, CRAFTING, FORWARD, METHODS
from hiresnn.training.stages import Stages

BATCH = 200
"""Images per batch when the accuracy is measured."""
OUT_OF_MEMORY = re.compile("out of memory|allocate memory|enough memory")  # on a GPU, on Linux, on Windows
TENSORBOARD = "tensorboard"
TRAINING_IMAGES = {
    "digits": 1_442, "saccade-digits": 1_442,
    "cifar10": 50_000, "cifar100": 50_000, "mnist": 60_000, "fashion-mnist": 60_000, "svhn": 73_257,
}  # fmt: skip
Log = Callable[[Mapping[str, Any]], object]
Value = TypeVar("Value")


@dataclass(frozen=True)
class RunContext:
    """A recipe with what it needs from this machine: images to train on and held out, device, processes, own code."""

    recipe: Recipe
    dataset: DataSet
    train: Split
    held_out: Split | None
    progress: Progress
    device: str
    ranks: Ranks
    own: OwnCode | None

    def load(self, folder: Path) -> nn.Module:
        """Return the trained network in a folder of this run, or of its ANN, on the device."""
        return load(folder / MODEL, None if self.own is None else self.own.bare).to(self.device)


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
    """Train what the recipe describes and return the run folder, `out` or by default runs/NAME-METHOD-seedN.

    With `resume`, the run that the folder holds is continued. Several processes train together, each with its `ranks`:
    they share every batch. `clamp` has keys of `clamp_counts`; `log` is where the rows of metrics.jsonl go as well, see
    `log_to`. Raises HiresnnError, with one sentence, if the recipe, data, folder, memory or training fails.
    """
    out = out or default_folder(recipe)
    with _enough_memory(), seeded(recipe.seed):  # the caller's random numbers go on as if nothing had been trained
        # What can be wrong with recipe and data comes out before a folder is created, on all ranks.
        all_raise(ranks, lambda: _check_request(recipe, ranks))
        ranks.agree({key: value for key, value in flatten(recipe).items() if key != "device"})
        dataset = load_data(recipe, ranks)
        if recipe.data.source not in data.sources.NAMES:
            progress.line(f"Data: {dataset.summary}.")
        context = all_raise(ranks, lambda: _context(recipe, dataset, out, resume, clamp, progress, ranks))
        recipe = context.recipe
        rows_to = all_raise(ranks, lambda: log_to(log if ranks.lead else None, out))
        with _take_folder(context, out, lambda: RunFolder.create(out, recipe, resume=resume)) as folder:
            network = None
            if not ranks.from_lead(folder.has(MODEL)):
                ann = _shared_ann(context, folder, rows_to)
                if recipe.method != "ann":
                    network = _train_snn(context, folder, ann, rows_to)
                else:
                    for name in (METRICS, MODEL):
                        if (ann / name).is_file():
                            folder.write_bytes(name, (ann / name).read_bytes())
            ranks.wait()
            if ranks.lead:
                _report(context, folder, network or context.load(folder.path))
    return out


def _check_request(recipe: Recipe, ranks: Ranks) -> None:
    """Refuse a method that was removed, a device that torch lacks, and too few images or GPUs for the processes."""
    if recipe.method != "ann":
        method_of(recipe)  # of version 0.2, a recipe may name a method that was removed
    if ranks.size > 1:
        for section, batch_size in (("ann", recipe.ann.batch_size), ("snn", recipe.snn.batch_size)):
            if batch_size < ranks.size:
                raise UsageError(f"{section}.batch_size is {batch_size}; give {ranks.size} processes an image each.")
        if ":" in recipe.device:
            raise UsageError(f"device is {recipe.device!r}, a single GPU; for {ranks.size} processes use cuda or auto.")
    local, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", ranks.size)), torch.cuda.device_count()
    if device_of(recipe) == "cuda" and ranks.size > 1 and local > gpus:
        raise UsageError(f"{local} processes need as many GPUs, but this machine has {gpus}; start fewer.")


def all_raise(ranks: Ranks, action: Callable[[], Value]) -> Value:
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


def load_data(recipe: Recipe, ranks: Ranks) -> DataSet:
    """Load the data set; the first rank loads, and so downloads, before the others."""
    dataset = all_raise(ranks, lambda: load_for(recipe) if ranks.lead else None)
    return all_raise(ranks, lambda: dataset or load_for(recipe))


def clamp_counts(recipe: Recipe, dataset: DataSet, keys: Collection[str], progress: Progress) -> Recipe:
    """Lower those counts of images that the user has not set (`keys`) to what the data set has, and say so."""
    total, stated = len(dataset.train), (recipe.data.train_images, recipe.data.holdout_images)
    images, held_out = stated
    if COUNTS[1] in keys:
        held_out = min(held_out, total // 5)
    if COUNTS[0] in keys and held_out < total:
        images = min(images, total - held_out)
    rows = [row for row in zip(COUNTS, stated, (images, held_out), strict=True) if row[1] != row[2]]
    if rows:
        changes = ", ".join(f"{key} from {before:,} to {after:,}" for key, before, after in rows)
        progress.line(f"{dataset.name} has {total:,} training images, so a count of the recipe changes: {changes}.")
    return changed(recipe, {key: count for key, _, count in rows})


def _take_folder(context: RunContext, path: Path, take: Callable[[], RunFolder]) -> RunFolder:
    """Return the folder that the first rank takes by `take`, with source.json, read-only on the others."""
    folder = all_raise(context.ranks, take if context.ranks.lead else lambda: RunFolder.follow(path))
    if context.own is not None:
        folder.write_json(SOURCE, context.own.record)
    return folder


def _context(
    recipe: Recipe, dataset: DataSet, out: Path, resume: bool, clamp: Collection[str], progress: Progress, ranks: Ranks
) -> RunContext:
    """Resolve the recipe, and refuse a network that does not fit the images or cannot be converted."""
    recipe = clamp_counts(recipe, dataset, clamp, progress)
    images = splits(recipe, dataset)
    own = own_code(recipe, out if resume else None)  # a run that has not begun may be corrected
    if own is not None and resume and (out / SOURCE).is_file():
        announce(own, out)
    context = RunContext(recipe, dataset, *images, progress, device_of(recipe), ranks, own)
    if own is None and recipe.model.weights is None:
        with torch.device("meta"):
            ann_of(recipe, dataset, None, None)
        return context
    ann = ann_of(recipe, dataset, dataset.train, own)
    if recipe.method == "ann":
        return context
    with suppress(SilentLayerError):  # training can change that
        two = dataset.train.images[:2]
        two = torch.linspace(0, 1, two.numel()).view(two.shape)
        calibrate(spiking_network(recipe, ann), two, ann=ann, rescale=recipe.conversion.rescale)
    if not recipe.conversion.rescale and any(name.rpartition(".")[2] == "bias" for name, _ in ann.named_parameters()):
        problem = "the network has biases or batch norms, so the spiking network starts far from the ANN"
        progress.line(f"conversion.rescale is false and {problem}; set it to true.")
    return context


@contextmanager
def _enough_memory() -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not OUT_OF_MEMORY.search(str(error)):
            raise
        remedy = "lower ann.batch_size, snn.batch_size, snn.timesteps or model.width, or set snn.recompute = true"
        raise UsageError(f"the training needs more memory than there is; {remedy}.") from error


def ann_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe of the ANN that `recipe` starts from; the method and the seed of the SNN do not matter."""
    name = f"{recipe.name[: LONGEST_NAME - 4]}-ann"
    ann = recipe.ann.model_copy(update={"seed": None})
    return recipe.model_copy(update={"method": "ann", "name": name, "seed": recipe.ann_seed, "ann": ann})


def ann_key(recipe: Recipe, dataset: DataSet, own: OwnCode | None = None) -> str:
    """Return the digest of all that decides the ANN; data, code and weights count by their content."""
    part = recipe.keyed(include={"data", "model", "precision", "ann"})
    part["data"].pop("source")
    part["ann"].pop("seed")
    if own is not None:
        part["model"] = {**own.key, "normalise": recipe.model.normalise}
    elif recipe.model.weights is not None:
        part["model"].pop("weights")
        part["weights"] = weights_digest(recipe.model.weights)
    return digest({**part, "seed": recipe.ann_seed, "content": dataset.digest})


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

        context = replace(context, recipe=ann_recipe(recipe))  # that in the folder may name another machine's device
        with _take_folder(context, path, lambda: RunFolder.shared(path, context.recipe, wait=wait)) as folder:
            if not ranks.from_lead(folder.has(MODEL)):
                _train_ann(context, folder, rows_to)
    run.write_json(ANN, {"key": path.name.rpartition("-")[2], "seed": recipe.ann_seed, "folder": path.name})
    return path


def _train_ann(context: RunContext, folder: RunFolder, rows_to: Log) -> None:
    """Train the ANN, measured on held-out images if it is trained or chosen for robustness."""
    recipe, settings = context.recipe, context.recipe.ann
    torch.manual_seed(recipe.seed)
    network = ann_of(recipe, context.dataset, context.train, context.own)
    normalised = any(isinstance(layer, nn.BatchNorm1d) for layer in network.modules())
    if normalised and settings.epochs and len(context.train) % settings.batch_size == 1:
        size, count = settings.batch_size, len(context.train)
        last = f"leaves a last batch of one of the {count} images, which a batch norm cannot normalise"
        raise UsageError(f"ann.batch_size = {size} {last}; take another batch size.")
    selection = None
    if context.held_out is not None and (settings.training != "plain" or settings.select == "robust"):
        count = len(context.held_out)  # close epochs at the end of a staged training need all of them
        measured = data.first(context.held_out, count if settings.pgd_from < 1 else min(HELD_OUT, count))
        images, labels = as_floats(measured.images.to(context.device)), measured.labels.to(context.device)
        selection = Selection(images, labels, settings.eps, settings.select)
    method = ann_method(
        settings.training, eps=settings.eps, smoothing=settings.label_smoothing, evaluating=settings.craft_in_eval,
        craft_loss=settings.craft_loss,
    )  # fmt: skip
    cyclic = settings.schedule == "cyclic"
    schedule = Schedule(settings.epochs, settings.lr, settings.decay, settings.milestones, cyclic)
    images = as_floats(calibration_images(recipe, context.train).to(context.device))
    first, pgd = (round(settings.epochs * part) for part in (settings.quantise_from, settings.pgd_from))
    staged = settings.quantise_from or settings.pgd_from < 1
    stages = Stages(first, pgd, settings.eps, images, settings.craft_loss) if staged else None
    _fit(context, folder, rows_to, network.to(context.device), method, schedule, selection=selection, before=stages)


def _train_snn(context: RunContext, folder: RunFolder, ann_folder: Path, rows_to: Log) -> nn.Module:
    """Convert the trained ANN and train the SNN; the folder gets the report on a user's network."""
    recipe, settings = context.recipe, context.recipe.snn
    torch.manual_seed(recipe.seed)
    ann = context.load(ann_folder)
    network = spiking_network(recipe, ann).to(context.device)
    images = calibration_images(recipe, context.train)
    calibrate_by(recipe, ann, network, as_floats(images.to(context.device)))
    if context.own is not None:  # after the calibration, whose self-check adds warnings
        folder.write_text(CONVERSION, f"{network.report}\n")
        for warning in network.report.warnings:
            context.progress.line(f"Warning: {warning}", warning=True)
    schedule = Schedule(recipe.snn_epochs, settings.lr, settings.decay, settings.milestones)
    _fit(context, folder, rows_to, network, method_of(recipe, ann), schedule, rounding=settings.rounding)
    network.fuse(network.fused)  # the decision holds for the measurement, too
    return network


def _fit(
    context: RunContext, folder: RunFolder, rows_to: Log, network: nn.Module, method: Method, schedule: Schedule,
    **options: Any,
) -> None:  # fmt: skip
    """Train a network by section ann or snn, continued from the state in the folder, and save it."""
    recipe, ranks, spiking = context.recipe, context.ranks, isinstance(network, SpikingNetwork)
    name, settings = ("snn", recipe.snn) if spiking else ("ann", recipe.ann)
    batches = Batches(
        context.train, settings.batch_size, device=context.device, shuffle=True, augment=recipe.data.augment,
        generator=torch.Generator().manual_seed(2 * recipe.seed + spiking), part=(ranks.rank, ranks.size),
    )  # fmt: skip

    def log(row: dict[str, Any]) -> None:
        rows_to({"stage": name, **row})  # first: if it fails, the resumed training logs this epoch
        folder.write_metrics([*folder.read_metrics()[: row["epoch"] - 1], {"stage": name, **row}])

    if schedule.epochs:
        folder.write_metrics(folder.read_metrics())  # from here on, the folder belongs to this run
    try:
        result = fit(
            network, batches, method=method, seed=None,  # torch draws on from the making of the network
            optimizer=optimizer_of(recipe, network), schedule=schedule, average=settings.average,
            precision=recipe.precision, compile=COMPILE[recipe.compile], ranks=ranks, title=f"{name.upper()} training",
            progress=context.progress, log=log, checkpoint=folder.path / RESUME,
            settings={"semantics": SEMANTICS, "stage": name.upper()}, **options,
        )  # fmt: skip
    except Exception:
        if ranks.lead and not folder.has(RESUME):  # nothing was trained: the corrected command may take the folder
            (folder.path / METRICS).unlink(missing_ok=True)
        raise
    if result.rows:  # an earlier process may have died between its state and its log
        folder.write_metrics([{"stage": name, **row} for row in result.rows])
    if ranks.lead:
        save(network, folder.path / MODEL)
    ranks.wait()


def _report(context: RunContext, folder: RunFolder, network: nn.Module) -> None:
    """Measure the clean accuracy, write the first result.json and say the accuracy."""
    recipe, held_out = context.recipe, context.held_out
    name, split = ("test", context.dataset.test) if held_out is None else ("held-out", held_out)
    batch = fitting_batch(network, context.dataset, BATCH)
    clean = accuracy(network, split, batch_size=batch, device=context.device, progress=context.progress)
    if held_out is None and not folder.has(RESULT):
        result = {"clean": round(clean, 2), "attacks": {}, "images": len(split), "seed": recipe.seed}
        folder.write_json(RESULT, result)
    context.progress.line(f"{recipe.name} {recipe.method}: {clean:.1f} % of {len(split):,} clean {name} images")


def log_to(target: str | None, folder: Path) -> Log:
    """Return what is called with each row of metrics.jsonl: "tensorboard", or a user's FILE.py:FUNCTION."""
    if target is None:
        return lambda row: None
    if target == TENSORBOARD:
        return _tensorboard(folder / TENSORBOARD)
    if ":" not in target:
        raise UsageError(f"--log {quoted(target)} is not known; write {TENSORBOARD}, or FILE.py:FUNCTION of your own.")
    function = UserCode.parse(target).callable("add one: (row) -> None")

    def call(row: Mapping[str, Any]) -> None:
        with user_code(target, f" (--debug shows where); correct it and run {command_line('resume', folder)}."):
            function(copy.deepcopy(dict(row)))  # which it may change

    return call


def _scalars(row: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name != "epoch":
            yield f"{prefix}{name}", float(value)


def _tensorboard(folder: Path) -> Log:
    try:
        tensorboard: Any = import_module("torch.utils.tensorboard")
    except ImportError:
        raise UsageError(f"--log tensorboard needs TensorBoard: {install_command('tensorboard')}") from None
    writer: Any = None

    def write(row: Mapping[str, Any]) -> None:
        nonlocal writer
        writer = writer or tensorboard.SummaryWriter(str(folder))  # creates the folder, which a new run must do first
        for name, value in _scalars(row, f"{row['stage']}/"):
            writer.add_scalar(name, value, row["epoch"])
        writer.flush()

    return write


def training_cost(recipe: Recipe) -> float | None:
    """Return the passes of a training from scratch, per training image: those of its ANN and those of its SNN.

    The unit is a forward pass of one timestep; a backward pass counts two, and a gradient of the image alone one.
    Measurements on held-out images are included. None if the number of training images or the method is unknown.
    """
    ann, snn, periods = recipe.ann, recipe.snn, recipe.noise.periods
    noise = ANN_TRAININGS[ann.training](ann.eps)
    epoch: float = FORWARD + BACKWARD
    if isinstance(noise, Adversarial):  # TRADES needs the clean logits, and trains on the clean image as well
        epoch += noise.iterations * CRAFTING + (2 * FORWARD + BACKWARD if noise.divergence else 0)
    if ann.training != "plain" or ann.select == "robust":
        held_out = recipe.data.holdout_images
        images = recipe.data.train_images or (TRAINING_IMAGES.get(recipe.data.source, 0) - held_out)
        if held_out and images <= 0:
            return None
        # Clean accuracy, FGSM and its accuracy, PGD and its accuracy.
        measured = FORWARD + (CRAFTING + FORWARD) + (ITERATIONS * CRAFTING + FORWARD)
        epoch += measured * min(HELD_OUT, held_out) / max(images, 1)
    cost = ann.epochs * epoch
    if recipe.method != "ann":
        if (method := METHODS.get(recipe.method)) is None:
            return None
        steps = snn.timesteps // periods * periods if method.periodic else snn.timesteps
        replays = periods if method.replays else 1
        teacher = FORWARD if snn.distil else 0
        cost += recipe.snn_epochs * (replays * steps * (FORWARD + BACKWARD + method.passes) + teacher)
    return round(cost, 1)
