"""From a recipe to objects: the ANN, the spiking network, and what the training of either needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn import data
from hiresnn.app.context import LARGEST_BATCH
from hiresnn.app.networks import load_weights
from hiresnn.app.own import OwnCode, normalisation
from hiresnn.app.recipe import Recipe, Snn
from hiresnn.data import DataSet, Split
from hiresnn.errors import UsageError
from hiresnn.models import build
from hiresnn.network import (
    SpikingNetwork,
    calibrate,
    compiling_pays,
    spiking_graph,
)
from hiresnn.neurons import Linear, Neuron
from hiresnn.progress import Progress
from hiresnn.training import Distillation, Method, method
from hiresnn.training.trainer import COMPILING, trained_parameters

FEWEST_CALIBRATED = 32
"""Images that thresholds are calibrated on at least, however large the images are."""


def ann_of(recipe: Recipe, dataset: DataSet, split: Split | None, own: OwnCode | None) -> nn.Module:
    """Return the ANN before its training, for the images of `dataset`; it is `own`, if the recipe has code of a user's.

    The statistics of `split` normalise the images, if the recipe asks for that; None takes zeros and ones.
    """
    if own is not None:
        return own.build(recipe, dataset, split)
    model = recipe.model
    if dataset.height != dataset.width:
        raise UsageError(
            f"the images of {dataset.name} are {dataset.height} x {dataset.width} (height x width), but {model.name} "
            "takes square images; crop them with data.size, or train a network of your own."
        )
    mean, std = normalisation(recipe, dataset, split)
    network = build(
        model.label, dataset.num_classes, in_channels=dataset.in_channels, image_size=dataset.height,
        width=model.width, hidden=model.hidden, dropout=model.dropout, batch_norm=model.batch_norm,
        activation=recipe.ann.activation, levels=recipe.ann.levels, mean=mean, std=std,
    )  # fmt: skip
    if model.weights is not None:
        load_weights(network, Path(model.weights))
    return network


def spiking_network(recipe: Recipe, ann: nn.Module) -> SpikingNetwork:
    """Return `ann` as the spiking network of sections snn and conversion; its thresholds are not calibrated yet."""
    settings, conversion = recipe.snn, recipe.conversion
    neuron = Neuron(
        leak=conversion.leak,
        reset=settings.reset,
        v_init=conversion.start,
        fires_at_threshold=settings.condition == ">=",
        wait=conversion.wait,
        surrogate=Linear(settings.surrogate_gamma),
        trainable=settings.train_neurons,
    )
    encoding = "poisson" if recipe.method == "rate" else settings.encoding
    return spiking_graph(ann, settings.timesteps, neuron, encoding=encoding).recompute(settings.recompute)


def calibration_images(recipe: Recipe, train: Split) -> Tensor:
    """Return the uint8 images that thresholds are calibrated on; fewer large ones of a user's network."""
    count = min(recipe.conversion.images, len(train))
    if recipe.model.source is not None:
        fitting = LARGEST_BATCH // (recipe.snn.timesteps * train.images[0].numel())
        count = min(count, max(FEWEST_CALIBRATED, fitting))
    return data.first(train, count).images


def calibrate_by(recipe: Recipe, ann: nn.Module, network: SpikingNetwork, images: Tensor) -> None:
    """Set the thresholds of `network`, made from `ann`, from training images in [0, 1], as section conversion says."""
    part = recipe.conversion
    options = part.model_dump(include={"percentile", "threshold_scale", "rescale"})
    calibrate(network, images, ann=ann, **options)


def compile_neurons(
    compiling: str, network: SpikingNetwork, image: Tensor, presentations: int, progress: Progress | None = None
) -> None:
    """Compile the neurons as a recipe says, "always", "never" or "auto" (if it pays), and say so."""
    network.fuse(compiling_pays(network, image, presentations) if compiling == "auto" else compiling == "always")
    if progress is not None and network.fused:
        progress.line(COMPILING)


def optimizer_of(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser of section snn, or for an ANN of section ann, over the trainable parameters."""
    settings = recipe.snn if isinstance(network, SpikingNetwork) else recipe.ann
    parameters = trained_parameters(network, recipe.snn_epochs if settings is recipe.snn else recipe.ann.epochs)
    options: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay, "fused": True}
    if isinstance(settings, Snn) and settings.optimizer == "adam":
        return torch.optim.Adam(parameters, **options)
    return torch.optim.SGD(parameters, momentum=settings.momentum, **options)


def method_of(recipe: Recipe, teacher: nn.Module | None = None) -> Method:
    """Return the training method with the noise of section noise (Alg. 1, Eq. 6); snn.distil needs the ANN."""
    noise = recipe.noise
    chosen = method(recipe.method, periods=noise.periods, step=noise.step, bound=noise.limit, state=noise.state)
    if teacher is not None and recipe.snn.distil:
        chosen.loss = Distillation(teacher, recipe.snn.distil)
    return chosen
