"""An estimate of the memory that a training needs, before anything is allocated."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hiresnn.app.build import ann_of, spiking_network
from hiresnn.app.recipe import Recipe
from hiresnn.app.schema import PERIODIC_METHODS
from hiresnn.data import DataSet
from hiresnn.errors import HiresnnError, UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.network.report import WEIGHTED
from hiresnn.neurons import Window
from hiresnn.process import system_memory
from hiresnn.progress import Progress

PROCESS = 0.35 * 2**30
"""Bytes of Python and torch with their libraries."""
COPIES = 3
"""Copies of every weight while training: the weight, its gradient and at least one state of the optimiser."""
STATES = 18
"""Copies of every weight at the end of an epoch: of the ANN, the SNN, its gradients and optimiser, and of the training
state while it is written."""
COMPILED = 3
"""Compiled neurons store as little as this part: spikes that are dropped and pooled at once are never written."""
WORKING = 10
"""Values that a pass holds for each value of the largest layer, besides those that are stored for the backward pass."""
CALIBRATING = 5
"""Values that a calibration holds for each value of the largest layer."""
CALIBRATION, FEWEST = 2**30, 32
"""Bytes that the calibration of a user's own network takes at most, but for so many images."""
SHARE = 0.5
"""Share of the memory that a batch of an evaluation may take."""


class Footprint(NamedTuple):
    """Bytes per image.

    Attributes:
        stored: for the backward pass, where neurons are not compiled.
        largest: of the largest tensor among them.
        inputs: of what enters the weighted layers, all that is stored if a network computes the rest again.
    """

    stored: float
    largest: float
    inputs: float


def require_memory(
    recipe: Recipe, dataset: DataSet, device: str, ranks: int = 1, network: nn.Module | None = None
) -> float:
    """Return about how many bytes the training takes at its peak; raise UsageError if it cannot fit into the memory.

    A training is refused only if what it has to store exceeds the memory: the weights, and the least that a batch
    stores for its backward pass. The number that is returned also has the working memory of a pass and the process.
    `ranks` processes share every batch; `network` is the ANN that the recipe builds, if there is one already.
    """
    if network is None:
        with torch.device("meta"):
            network = ann_of(recipe, dataset)
    network = _without_memory(network)
    parameters = 4 * sum(parameter.numel() for parameter in network.parameters())
    limit = memory_of(device)
    peak = float(STATES * parameters)
    _refuse(COPIES * parameters, "model.width and model.hidden", device, limit)
    for key, rows, found in _stages(recipe, dataset, network):
        share = -(-rows // ranks)
        _refuse(COPIES * parameters + found.stored / COMPILED * share, key, device, limit)
        peak = max(peak, 6 * parameters + (found.stored + WORKING * found.largest) * share)
    return PROCESS + peak + 2 * dataset.train.images.numel()


def _stages(recipe: Recipe, dataset: DataSet, network: nn.Module) -> list[tuple[str, int, Footprint]]:
    """Return for each stage of the training: the keys that decide its memory, the rows of a batch, bytes per row."""
    stages, half = [], 0.5 if recipe.precision == "bfloat16" else 1.0
    shape, available = dataset.train.images.shape[1:], len(dataset.train)
    if recipe.ann.epochs:
        found = footprint(network, shape)
        stages.append(("ann.batch_size", min(recipe.ann.batch_size, available), found))
    if recipe.method != "ann":
        periods = recipe.noise.periods if recipe.method in PERIODIC_METHODS else 1
        found = footprint(spiking_network(recipe, network), shape, recipe.snn.timesteps // periods)
        if recipe.snn.recompute:
            found = found._replace(stored=found.inputs + 2 * found.largest)
        rows = min(recipe.snn.batch_size, available) if recipe.snn_epochs else 1
        stages.append(("snn.timesteps and snn.batch_size", rows, found))
    return [(key, rows, Footprint(*(half * size for size in found))) for key, rows, found in stages]


def footprint(network: nn.Module, shape: torch.Size, timesteps: int = 1) -> Footprint:
    """Return the bytes per image of a training step, from a pass of a copy on the meta device, without memory.

    A network that cannot run there (it reads values, or creates tensors on a device of its own) counts as zero.
    `shape` is [C, H, W]. A SpikingNetwork stores more with every timestep.
    """
    try:
        network = _without_memory(network).train()
        one = _stored(network, shape, 1)
        if not isinstance(network, SpikingNetwork) or timesteps == 1:
            return one
        two = _stored(network, shape, 2)
    except HiresnnError:
        raise
    except Exception:
        return Footprint(0, 0, 0)
    # Linear in T; a long window itself would take long even without memory.
    return Footprint(*(first + (timesteps - 1) * (second - first) for first, second in zip(one, two, strict=True)))


def _without_memory(network: nn.Module) -> nn.Module:
    """Return a copy on the meta device, where tensors have a shape and no values."""
    memo = {}
    for tensor in (*network.parameters(), *network.buffers()):
        empty = tensor.detach().to("meta").requires_grad_(tensor.requires_grad)
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
    return copy.deepcopy(network, memo)


def _stored(network: nn.Module, shape: torch.Size, timesteps: int) -> Footprint:
    rows = 2  # a batch norm refuses a single one
    seen = {parameter.untyped_storage()._cdata for parameter in network.parameters()}
    sizes: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in seen:
            seen.add(storage._cdata)
            kept.append(tensor)
            sizes.append(storage.nbytes())
        return tensor

    kept: list[Tensor] = []  # a storage that is freed could give its address to another
    inputs: list[int] = []
    for layer in network.modules():
        if isinstance(layer, WEIGHTED):
            layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0].nbytes) if given else None)
    images = torch.empty(rows, *shape, device="meta", requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        if isinstance(network, SpikingNetwork):
            network.recompute(False).fuse(False).present(images, Window(timesteps, rows))
        else:
            network(images)
    return Footprint(sum(sizes) / rows, max(sizes, default=0) / rows, sum(inputs) / rows)


def fitting_batch(
    network: nn.Module, dataset: DataSet, wanted: int, device: str, progress: Progress, *, gradients: bool = True
) -> int:
    """Return `wanted` images, or as many as take half of the memory of the device, which one line then says.

    `gradients` tells whether gradients are computed, as in an attack.
    """
    limit = memory_of(device)
    if limit is None:
        return wanted
    steps = network.timesteps if isinstance(network, SpikingNetwork) else 1
    found = footprint(network, dataset.train.images.shape[1:], steps)
    size = WORKING * found.largest + gradients * found.stored
    fitting = max(1, min(wanted, int(SHARE * limit / max(size, 1))))
    if fitting < min(wanted, len(dataset.test)):
        progress.line(f"Batches have {fitting} images instead of {wanted}, so that they fit into the memory.")
    return fitting


def calibration_images(recipe: Recipe, network: SpikingNetwork, shape: torch.Size, available: int) -> int:
    """Return the number of images that thresholds are calibrated on.

    It is that of the recipe, if there are so many. A user's own network may have images of any size, so it is
    calibrated on at most as many as take about CALIBRATION bytes.
    """
    wanted = min(recipe.conversion.images, available)
    if recipe.model.source is None:
        return wanted
    size = CALIBRATING * footprint(network, shape, recipe.snn.timesteps).largest
    return min(wanted, max(FEWEST, int(CALIBRATION / max(size, 1))))


def _refuse(size: float, key: str, device: str, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise UsageError(
            f"this training takes at least {size / 2**30:,.1f} GiB of memory, but {device} has "
            f"{limit / 2**30:,.1f} GiB; lower {key}."
        )


def memory_of(device: str) -> int | None:
    """Return the bytes of memory of the device, or None if the system does not say."""
    if device != "cpu":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return system_memory()
