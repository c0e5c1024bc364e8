"""From a recipe to objects: the ANN, the spiking network, its optimiser and its training method."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from hiresnn import data
from hiresnn.data import DataSet, Split
from hiresnn.models import build
from hiresnn.network import SpikingNetwork, spiking_graph
from hiresnn.neurons import Linear
from hiresnn.runs.recipe import Recipe
from hiresnn.training import Distillation, Method, method


def ann_of(recipe: Recipe, dataset: DataSet, split: Split | None = None) -> nn.Module:
    """Return the untrained ANN for the images of `dataset`, normalised by the statistics of `split` if the recipe
    asks for it; without a `split` it normalises by zeros and ones, which has the same architecture.
    """
    model, channels = recipe.model, dataset.in_channels
    mean: Any = None
    std: Any = None
    if model.normalise:
        mean, std = data.channel_statistics(split) if split is not None else ([0.0] * channels, [1.0] * channels)
    return build(
        model.name,
        dataset.num_classes,
        in_channels=channels,
        image_size=dataset.image_size,
        width=model.width,
        hidden=model.hidden,
        dropout=model.dropout,
        batch_norm=model.batch_norm,
        activation=recipe.ann.activation,
        levels=recipe.ann.levels,
        mean=mean,
        std=std,
    )


def spiking_network(recipe: Recipe, ann: nn.Module) -> SpikingNetwork:
    """Return `ann` as the spiking network of sections snn and conversion; its thresholds are not calibrated yet."""
    settings = recipe.snn
    network = spiking_graph(
        ann,
        settings.timesteps,
        leak=recipe.conversion.leak,
        reset=settings.reset,
        start=recipe.conversion.start,
        condition=settings.condition,
        wait=recipe.conversion.wait,
        surrogate=Linear(settings.surrogate_gamma),
        encoding="poisson" if recipe.method == "rate" else settings.encoding,
    )
    return network.train_neurons_(settings.train_neurons).recompute(settings.recompute)


def optimizer_of(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser of section snn over the trainable parameters of `network`."""
    settings = recipe.snn
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    options: dict[str, Any] = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "adam":
        return torch.optim.Adam(parameters, fused=True, **options)
    return torch.optim.SGD(parameters, momentum=settings.momentum, fused=True, **options)


def method_of(recipe: Recipe, teacher: nn.Module | None = None) -> Method:
    """Return the training method with the periods and the noise of section noise (Algorithm 1, Eq. 6).

    `teacher` is the ANN, which snn.distil needs.
    """
    noise = recipe.noise
    made = method(recipe.method, periods=noise.periods, step=noise.step, bound=noise.limit, state=noise.state)
    if teacher is not None and recipe.snn.distil:
        made.loss = Distillation(teacher, recipe.snn.distil)
    return made
