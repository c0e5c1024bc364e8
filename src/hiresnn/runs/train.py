"""`hiresnn train`: data, ANN, conversion, SNN, first result; everything a recipe asks for, into one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from hiresnn import data
from hiresnn.analysis.accuracy import accuracy
from hiresnn.data import DataSet
from hiresnn.network import SpikingNetwork, calibrate, spiking_graph
from hiresnn.neurons import Linear
from hiresnn.progress import Progress
from hiresnn.runs.ann import start_from_ann
from hiresnn.runs.checkpoint import load, save
from hiresnn.runs.folder import METRICS, MODEL, RESULT, RunFolder
from hiresnn.runs.fusing import COMPILING, is_fused, should_fuse
from hiresnn.runs.inputs import batches_of, device_of, splits
from hiresnn.runs.recipe import Recipe
from hiresnn.runs.stage import Stage
from hiresnn.runs.together import check_ranks, loaded, taken
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
    check_ranks(recipe, ranks)
    with taken(ranks, out, lambda: RunFolder.create(out, recipe, resume=resume)) as folder:
        dataset = loaded(recipe, ranks)
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


def _copy_ann(recipe: Recipe, folder: RunFolder, dataset: DataSet, progress: Progress, ranks: Ranks) -> nn.Module:
    """The shared ANN as a run of its own, to evaluate beside the runs that start from it."""
    if not ranks.from_lead(folder.has(MODEL)):
        path = start_from_ann(recipe, folder, dataset, progress, ranks)
        for name in (METRICS, MODEL):
            if (path / name).is_file():
                folder.write_bytes(name, (path / name).read_bytes())
    ranks.wait()
    return load(folder.path / MODEL).to(device_of(recipe))


def _train_snn(recipe: Recipe, folder: RunFolder, dataset: DataSet, progress: Progress, ranks: Ranks) -> SpikingNetwork:
    device = device_of(recipe)
    if ranks.from_lead(folder.has(MODEL)):
        trained = load(folder.path / MODEL)
        trained.to(device)
        assert isinstance(trained, SpikingNetwork)
        return trained
    ann_path = start_from_ann(recipe, folder, dataset, progress, ranks)
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
    batches = batches_of(split, settings.batch_size, recipe, 1, ranks)
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
