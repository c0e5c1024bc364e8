"""An estimate of the memory that a training needs, before anything is allocated."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, nn

from hiresnn.data import DataSet
from hiresnn.errors import UsageError
from hiresnn.models import QCFS
from hiresnn.runs.networks import ann_of
from hiresnn.runs.recipe import Recipe
from hiresnn.runs.schema import PERIODIC_METHODS

COPIES = 3
"""Copies of every weight while training: the weight, its gradient and at least one state of the optimiser."""


def require_memory(recipe: Recipe, dataset: DataSet, device: str, ranks: int = 1) -> None:
    """Raise UsageError if the training cannot fit into the memory of the device.

    The estimate counts less than the training takes (weights, gradients and one activation per neuron and timestep of
    a batch), so that no training is refused that could run.

    Args:
        ranks: processes that share every batch.

    Raises:
        UsageError: the training does not fit, or the recipe's model does not suit the images.
    """
    parameters, neurons = _size(recipe, dataset)
    weights = COPIES * 4 * parameters
    needs = {"model.width and model.hidden": weights}
    per_value = 2 if recipe.precision == "bfloat16" else 4
    if recipe.ann.epochs:
        rows = -(-min(recipe.ann.batch_size, len(dataset.train)) // ranks)
        needs["ann.batch_size"] = weights + per_value * neurons * rows
    if recipe.method != "ann":
        periods = recipe.noise.periods if recipe.method in PERIODIC_METHODS else 1
        rows = -(-min(recipe.snn.batch_size, len(dataset.train)) // ranks) if recipe.snn_epochs else 1
        steps = recipe.snn.timesteps // periods
        needs["snn.timesteps and snn.batch_size"] = weights + per_value * neurons * rows * steps
    limit = memory_of(device)
    for key, size in needs.items():
        if limit is not None and size > limit:
            raise UsageError(
                f"this training takes at least {size / 2**30:,.1f} GiB of memory, but {device} has "
                f"{limit / 2**30:,.1f} GiB; lower {key}."
            )


def memory_of(device: str) -> int | None:
    """Return the bytes of memory of the device, or None if the system does not say."""
    if device != "cpu":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if not hasattr(os, "sysconf"):
        return None
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:  # a container may have less than the machine
        return min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    except (OSError, ValueError):
        return memory


def _size(recipe: Recipe, dataset: DataSet) -> tuple[int, int]:
    """Return (parameters, neurons) of the recipe's network. It is built without memory for its values."""
    neurons = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal neurons
        neurons += output[0].numel()

    with torch.device("meta"), torch.no_grad():
        network = ann_of(recipe, dataset).eval()
        for module in network.modules():
            if isinstance(module, nn.ReLU | QCFS):
                module.register_forward_hook(count)
        network(torch.empty(1, dataset.in_channels, dataset.image_size, dataset.image_size))
    return sum(parameter.numel() for parameter in network.parameters()), neurons
