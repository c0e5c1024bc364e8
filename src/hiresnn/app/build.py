"""From a recipe to objects: the ANN, the spiking network, its optimiser and its training method."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn.app.networks import load_weights
from hiresnn.app.own import OwnCode, normalisation, own_code
from hiresnn.app.recipe import Recipe
from hiresnn.data import DataSet, Split
from hiresnn.errors import UsageError
from hiresnn.models import build
from hiresnn.network import (
    SilentLayerError,
    SpikingNetwork,
    calibrate,
    compiling_pays,
    spiking_graph,
)
from hiresnn.neurons import Linear, Neuron
from hiresnn.progress import Progress
from hiresnn.training import Distillation, Method, method
from hiresnn.training.epochs import trained_parameters
from hiresnn.training.losses import cross_entropy

COMPILING = "Neurons are compiled at the first batch: half a minute the first time on this machine, seconds after that."


def ann_of(recipe: Recipe, dataset: DataSet, split: Split | None = None, own: OwnCode | None = None) -> nn.Module:
    """Return the ANN before its training, for the images of `dataset`.

    The statistics of `split` normalise the images, if the recipe asks for that; None normalises by zeros and ones, with
    the same architecture. `own` is the code of the recipe's own network, if it has been found already.
    """
    own = own or own_code(recipe)
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
        model.label,
        dataset.num_classes,
        in_channels=dataset.in_channels,
        image_size=dataset.height,
        width=model.width,
        hidden=model.hidden,
        dropout=model.dropout,
        batch_norm=model.batch_norm,
        activation=recipe.ann.activation,
        levels=recipe.ann.levels,
        mean=mean,
        std=std,
    )
    if model.weights is not None and split is not None:
        load_weights(network, Path(model.weights))
    return network


def checked_network(recipe: Recipe, dataset: DataSet, own: OwnCode | None) -> nn.Module:
    """Return a user's untrained ANN, or one that starts from a user's weights, once it is known to convert.

    Otherwise hours of training could end in a refusal.
    """
    ann = ann_of(recipe, dataset, dataset.train, own)
    if recipe.method != "ann":
        with suppress(SilentLayerError):  # training can change that
            images = torch.linspace(0, 1, dataset.train.images[:2].numel()).view(dataset.train.images[:2].shape)
            network = spiking_network(recipe, ann)
            calibrate(network, images, ann=ann, rescale=recipe.conversion.rescale)
    return ann


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


def calibrate_by(recipe: Recipe, ann: nn.Module, network: SpikingNetwork, images: Tensor) -> None:
    """Set the thresholds of `network`, made from `ann`, from training images in [0, 1], as section conversion says."""
    part = recipe.conversion
    options = part.model_dump(include={"percentile", "threshold_scale", "rescale"})
    calibrate(network, images, ann=ann, **options)


def compile_neurons(
    wanted: str, network: SpikingNetwork, image: Tensor, presentations: int, progress: Progress | None = None
) -> None:
    """Compile the neurons as `wanted`, the recipe's "always", "never" or "auto" (if it pays), and say so."""
    network.fuse(compiling_pays(network, image, presentations) if wanted == "auto" else wanted == "always")
    if progress is not None and network.fused:
        progress.line(COMPILING)


def optimizer_of(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser of section snn over the trainable parameters of `network`."""
    settings = recipe.snn
    parameters = trained_parameters(network, recipe.snn_epochs)
    options: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, fused=True, **options)
    return torch.optim.SGD(parameters, momentum=settings.momentum, fused=True, **options)


def method_of(recipe: Recipe, teacher: nn.Module | None = None) -> Method:
    """Return the training method with the noise of section noise (Alg. 1, Eq. 6); snn.distil needs the ANN."""
    noise = recipe.noise
    made = method(recipe.method, periods=noise.periods, step=noise.step, bound=noise.limit, state=noise.state)
    if recipe.snn.distil and made.loss is not cross_entropy:
        raise UsageError(f"snn.distil replaces the loss, but method {recipe.method!r} has its own; leave it out.")
    if teacher is not None and recipe.snn.distil:
        made.loss = Distillation(teacher, recipe.snn.distil)
    return made
