"""From a recipe to objects: device, images, the ANN, the spiking network, and what trains them."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hiresnn import data
from hiresnn.app.networks import load_weights
from hiresnn.app.recipe import Recipe, Snn
from hiresnn.app.targets import OwnCode, normalisation
from hiresnn.data import DataSet, Split
from hiresnn.errors import UsageError
from hiresnn.models import build
from hiresnn.network import SpikingNetwork, calibrate, compiling_pays, spiking_graph
from hiresnn.network.convert import EXACT
from hiresnn.network.rate_form import check_forms
from hiresnn.neurons import Linear, Neuron
from hiresnn.progress import Progress
from hiresnn.training import Distillation, Method, method
from hiresnn.training.trainer import COMPILING, trained_parameters

COMPILE: dict[str, bool | Literal["auto"]] = {"always": True, "never": False, "auto": "auto"}
LARGEST_BATCH = 2**25
"""Pixel values, times timesteps, that a network is shown at once: 14 images of 3 x 224 x 224 for 16 steps."""


def device_of(recipe: Recipe | None) -> str:
    """Return the device of a recipe, which torch must have; a GPU, if there is one, for "auto" or without a recipe."""
    if recipe is None or recipe.device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if recipe.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"device is {recipe.device!r}, but torch sees no GPU; use cpu or auto.")
    number, last = recipe.device.partition(":")[2], torch.cuda.device_count() - 1
    if number and int(number) > last:
        raise UsageError(f"device is {recipe.device!r}, but the last GPU is cuda:{last}; use that one or auto.")
    return recipe.device


def splits(recipe: Recipe, dataset: DataSet) -> tuple[Split, Split | None]:
    """Divide the training set as the recipe says: (images to train on, images held out or None)."""
    split, held = dataset.train, None
    if recipe.data.holdout_images:
        split, held = data.holdout(split, recipe.data.holdout_images, key="data.holdout_images")
    return data.first(split, recipe.data.train_images, key="data.train_images"), held


def fitting_batch(network: nn.Module, dataset: DataSet, images: int) -> int:
    """Return `images`, or fewer where images or T are so large that a pass would take many gigabytes."""
    timesteps = network.timesteps if isinstance(network, SpikingNetwork) else 1
    return max(1, min(images, LARGEST_BATCH // (timesteps * dataset.train.images[0].numel())))


def ann_of(recipe: Recipe, dataset: DataSet, split: Split | None, own: OwnCode | None) -> nn.Module:
    """Return the ANN before its training, normalised by the statistics of `split`; None takes zeros and ones."""
    if own is not None:
        return own.build(recipe, dataset, split)
    model = recipe.model
    if dataset.height != dataset.width:
        size = f"{dataset.height} x {dataset.width} (height x width)"
        raise UsageError(f"{model.name} takes square images; crop those of {dataset.name}, {size}, with data.size.")
    mean, std = normalisation(recipe, dataset, split)
    network = build(
        model.label, dataset.num_classes, in_channels=dataset.in_channels, image_size=dataset.height,
        width=model.width, hidden=model.hidden, dropout=model.dropout, batch_norm=model.batch_norm,
        activation=recipe.ann.activation, levels=recipe.ann.levels, mean=mean, std=std,
        events=dataset.events is not None,
    )  # fmt: skip
    if model.weights is not None:
        load_weights(network, Path(model.weights))
    return network


def spiking_network(recipe: Recipe, ann: nn.Module) -> SpikingNetwork:
    """Return `ann` as the spiking network of sections snn and conversion; its thresholds are not calibrated yet."""
    settings, conversion = recipe.snn, recipe.conversion
    neuron = Neuron(
        leak=conversion.leak, reset=settings.reset, v_init=conversion.start, wait=conversion.wait,
        fires_at_threshold=settings.condition == ">=", surrogate=Linear(settings.surrogate_gamma),
        trainable=settings.train_neurons,
    )  # fmt: skip
    if conversion.exact:
        neuron = neuron.changed(**EXACT)
    encoding = "poisson" if recipe.method == "rate" else settings.encoding
    return spiking_graph(ann, settings.timesteps, neuron, encoding=encoding).recompute(settings.recompute)


def calibration_images(recipe: Recipe, train: Split) -> Tensor:
    """Return the uint8 images that thresholds are calibrated on; fewer large ones of a user's network."""
    fitting = LARGEST_BATCH // (recipe.snn.timesteps * train.images[0].numel())
    largest = len(train) if recipe.model.source is None else max(32, fitting)
    return data.first(train, min(recipe.conversion.images, len(train), largest)).images


def calibrate_by(recipe: Recipe, ann: nn.Module, network: SpikingNetwork, images: Tensor) -> None:
    """Set the thresholds of `network`, made from `ann`, from training images in [0, 1], as section conversion says."""
    options = recipe.conversion.model_dump(include={"percentile", "threshold_scale", "rescale"})
    if recipe.conversion.exact:
        options["rescale"] = True
    calibrate(network, images, ann=ann, **options)
    if recipe.conversion.exact:
        check_forms(network, images)


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
