"""`hiresnn train`: data, ANN, conversion, SNN, first result; everything a recipe asks for, into one folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hiresnn import data
from hiresnn.data import Batches, DataSet, Split
from hiresnn.errors import HiresnnError, UsageError
from hiresnn.models import build
from hiresnn.network import SpikingNetwork, calibrate, spiking_graph
from hiresnn.neurons import Linear
from hiresnn.progress import Progress
from hiresnn.runs.checkpoint import load, save
from hiresnn.runs.folder import METRICS, MODEL, RESULT, RunFolder
from hiresnn.runs.fusing import COMPILING, is_fused, should_fuse
from hiresnn.runs.measure import accuracy
from hiresnn.runs.recipe import Recipe, digest, override
from hiresnn.runs.stage import Stage
from hiresnn.training import ALONE, Method, Ranks, method


def train(
    recipe: Recipe,
    *,
    out: Path | None = None,
    resume: bool = False,
    progress: Progress,
    ranks: Ranks = ALONE,
) -> Path:
    """Train what the recipe describes; returns the run folder, `runs/NAME-METHOD-seedN` where `out` is None.

    The ANN is trained once and shared by all runs beside each other whose data, model, ANN part and seed agree. Several
    processes train together where each calls this with its `ranks`: they share every batch of the recipe's size.

    Raises:
        HiresnnError: whatever is wrong with recipe, data, folder or training, in one sentence.
    """
    out = out or Path("runs") / f"{recipe.name}-{recipe.method}-seed{recipe.seed}"
    _check_ranks(recipe, ranks)
    with _folder(ranks, out, lambda: RunFolder.create(out, recipe, resume=resume)) as folder:
        dataset = _loaded(recipe, ranks)
        if recipe.method == "ann":
            network = _copy_ann(recipe, folder, dataset, progress, ranks)
        else:
            network = _train_snn(recipe, folder, dataset, progress, ranks)
        if not ranks.lead:
            return out
        held_out = splits(recipe, dataset)[1]
        shown = dataset.test if held_out is None else held_out
        clean = accuracy(network, shown, device=device_of(recipe), progress=progress)
        if held_out is None and not folder.has(RESULT):
            result = {"clean": round(clean, 2), "attacks": {}, "images": len(shown), "seed": recipe.seed}
            folder.write_json(RESULT, result)
        name = "test" if held_out is None else "held-out"
        progress.line(f"{recipe.name} {recipe.method}: {clean:.1f} % of {len(shown):,} clean {name} images")
    return out


def splits(recipe: Recipe, dataset: DataSet) -> tuple[Split, Split | None]:
    """(training images, images held out of training or None), as the recipe divides the training set."""
    split, held = dataset.train, None
    if recipe.data.holdout_images:
        split, held = data.holdout(split, recipe.data.holdout_images)
    return data.first(split, recipe.data.train_images), held


def device_of(recipe: Recipe) -> str:
    """The device to compute on: "auto" is a GPU where there is one."""
    if recipe.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if recipe.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"device is {recipe.device!r}, but torch sees no GPU here; use cpu or auto.")
    return recipe.device


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


def _check_ranks(recipe: Recipe, ranks: Ranks) -> None:
    if ranks.size == 1:
        return
    for section, batch_size in (("ann", recipe.ann.batch_size), ("snn", recipe.snn.batch_size)):
        if batch_size < ranks.size:
            raise UsageError(
                f"{section}.batch_size is {batch_size}; {ranks.size} processes need that many images at least."
            )
    if ":" in recipe.device:
        raise UsageError(f"device is {recipe.device!r}, one GPU; for {ranks.size} processes use cuda or auto.")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", ranks.size))
    if device_of(recipe) == "cuda" and local > torch.cuda.device_count():
        raise UsageError(f"{local} processes need as many GPUs, here are {torch.cuda.device_count()}; start fewer.")


def _folder(ranks: Ranks, path: Path, take: Callable[[], RunFolder]) -> RunFolder:
    """The folder as the leading rank takes it; the others read it. What it raises, all raise."""
    folder, error = RunFolder.follow(path), None
    if ranks.lead:
        try:
            folder = take()
        except HiresnnError as found:
            error = found
    if (error := ranks.from_lead(error)) is not None:
        raise error
    return folder


def _loaded(recipe: Recipe, ranks: Ranks) -> DataSet:
    """The data; what is to be downloaded is downloaded once."""
    if not ranks.lead:
        ranks.wait()
    dataset = data.load(recipe.data.source)
    if ranks.lead:
        ranks.wait()
    return dataset


def shared_ann(recipe: Recipe, folder: RunFolder, dataset: DataSet, progress: Progress, ranks: Ranks = ALONE) -> Path:
    """The run folder of the ANN, trained now if no run beside this one has trained it."""
    path = ann_path(recipe, dataset, folder.path)
    if ranks.from_lead((path / MODEL).is_file()):
        return path

    def waiting() -> None:
        progress.line(f"Another process trains the ANN in {path}; waiting for it.")

    with _folder(ranks, path, lambda: RunFolder.shared(path, ann_recipe(recipe), waiting=waiting)) as ann_folder:
        _train_ann(ann_folder.recipe, ann_folder, dataset, progress, ranks)
    return path


def _start_from_ann(recipe: Recipe, folder: RunFolder, dataset: DataSet, progress: Progress, ranks: Ranks) -> Path:
    path = shared_ann(recipe, folder, dataset, progress, ranks)
    folder.write_json("ann.json", {"key": ann_key(recipe, dataset), "seed": recipe.ann_seed, "folder": path.name})
    return path


def _copy_ann(recipe: Recipe, folder: RunFolder, dataset: DataSet, progress: Progress, ranks: Ranks) -> nn.Module:
    """The shared ANN as a run of its own, to evaluate beside the runs that start from it."""
    if not ranks.from_lead(folder.has(MODEL)):
        path = _start_from_ann(recipe, folder, dataset, progress, ranks)
        for name in (METRICS, MODEL):
            if (path / name).is_file():
                folder.write_bytes(name, (path / name).read_bytes())
    ranks.wait()
    return load(folder.path / MODEL).to(device_of(recipe))


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
    stage.fit(folder, network, optimizer, _batches(split, settings.batch_size, recipe, 0, ranks), progress, ranks)
    if ranks.lead:
        save(network, folder.path / MODEL)
    ranks.wait()


def _train_snn(recipe: Recipe, folder: RunFolder, dataset: DataSet, progress: Progress, ranks: Ranks) -> SpikingNetwork:
    device = device_of(recipe)
    if ranks.from_lead(folder.has(MODEL)):
        loaded = load(folder.path / MODEL)
        loaded.to(device)
        assert isinstance(loaded, SpikingNetwork)
        return loaded
    ann_path = _start_from_ann(recipe, folder, dataset, progress, ranks)
    torch.manual_seed(recipe.seed)
    split, settings = splits(recipe, dataset)[0], recipe.snn
    network = spiking_graph(
        load(ann_path / MODEL),
        settings.timesteps,
        leak=recipe.conversion.leak,
        reset=settings.reset,
        surrogate=Linear(settings.surrogate_gamma),
        encoding="poisson" if recipe.method == "rate" else settings.encoding,
    ).to(device)
    network.train_neurons_(settings.train_neurons).recompute(settings.recompute)
    batches = _batches(split, settings.batch_size, recipe, 1, ranks)
    images = data.first(split, min(recipe.conversion.images, len(split))).images.to(device) / 255
    calibrate(
        network,
        images,
        percentile=recipe.conversion.percentile,
        threshold_scale=recipe.conversion.threshold_scale,
    )
    network.fuse(should_fuse(recipe.compile, network, images[:1], settings.epochs * len(split)))
    if is_fused(network):
        progress.line(COMPILING)
    optimizer, chosen = optimizer_of(recipe, network), method_of(recipe)
    stage = Stage.of("SNN", settings, chosen, timesteps=settings.timesteps, precision=recipe.precision)
    stage.fit(folder, network, optimizer, batches, progress, ranks)
    if ranks.lead:
        save(network, folder.path / MODEL)
    return network


def optimizer_of(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of section snn, for what of the network is trained."""
    settings = recipe.snn
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    options: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, fused=True, **options)
    return torch.optim.SGD(parameters, momentum=settings.momentum, fused=True, **options)


def method_of(recipe: Recipe) -> Method:
    """The training method with what section noise says."""
    noise = recipe.noise
    return method(recipe.method, periods=noise.periods, step=noise.step, bound=noise.limit, state=noise.state)


def _batches(split: Split, batch_size: int, recipe: Recipe, stage: int, ranks: Ranks) -> Batches:
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
