"""`hiresnn import-checkpoint`: a state_dict of the authors' VGG_SNN as a run folder.

Their repository (github.com/ksouvik52/hiresnn2021) stores weights of nn.Sequential modules by position, and a threshold
and a leak per layer of neurons: features.0.weight, ..., classifier.6.weight, threshold.t0, leak.l0, ...
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn import data
from hiresnn.app.build import spiking_network
from hiresnn.app.evaluate import check_fits
from hiresnn.app.folder import ANN, MODEL, RunFolder
from hiresnn.app.networks import load, read_state, require_finite, save
from hiresnn.app.recipe import changed, digest, read, shipped
from hiresnn.errors import RunError, UsageError
from hiresnn.models import CONFIGURATIONS, build
from hiresnn.network import SpikingNetwork

STATISTICS = {
    10: ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    100: ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
}
"""Number of classes -> channel means and deviations by which the authors' scripts normalise CIFAR-10 and CIFAR-100."""
NAMES = {"vgg5": "vgg5", "vgg11": "vgg11", "vgg16": "vgg16-4pools"}
"""Name of a network in the authors' code -> in `hiresnn.models`."""
TIMESTEPS = {"vgg5": 6, "vgg11": 8}
"""T of the paper, sec. 5.1."""
SAME_ANN = 0.5
"""Mean cosine of two networks' weights above which they started from the same ANN; independent ones are near 0."""


@dataclass
class Imported:
    """The content of a checkpoint: layers by name with key and shape, thresholds and leaks in order, other entries.

    `cosines` compare the weights of each layer with those of the other run, if one was named.
    """

    layers: dict[str, tuple[str, list[int]]]
    thresholds: list[float]
    leaks: list[float]
    ignored: list[str]
    cosines: dict[str, float] = field(default_factory=dict)

    @property
    def same_ann(self) -> bool | None:
        """Whether both networks started from the same ANN; None without another one."""
        return fmean(self.cosines.values()) > SAME_ANN if self.cosines else None


def import_checkpoint(
    path: Path,
    model: Literal["vgg5", "vgg11", "vgg16"],
    out: Path,
    *,
    source: str,
    method: Literal["hire", "traditional"],
    timesteps: int | None = None,
    twin: Path | None = None,
) -> Imported:
    """Write a run folder with the network of a checkpoint, which evaluate, analyze and audit accept.

    The sizes of the network follow from the shapes in the file, which `read_state` reads; T is by default that of the
    paper. The weights are compared with those of the run `twin`, to see whether both started from the same ANN.
    """
    steps = timesteps or TIMESTEPS.get(model)
    if steps is None:
        raise UsageError(f"the paper has no {model}, so its T is not known; give --timesteps.")
    state = {name.removeprefix("module."): tensor for name, tensor in read_state(path).items()}
    require_finite(state, str(path), "name another checkpoint")
    spec = _spec(state, model, path)
    dataset = data.load(source)
    statistics = STATISTICS.get(spec["num_classes"]) if spec["in_channels"] == 3 else None
    mean, std = statistics or data.channel_statistics(dataset.train)
    base = f"{model}-{dataset.name}"
    changes = {
        "name": f"{model}-imported", "method": method, "model.name": NAMES[model], "model.width": spec["width"],
        "model.hidden": spec["hidden"], "data.source": source, "snn.timesteps": steps,
    }  # fmt: skip
    recipe = changed(read(base if base in shipped() else "vgg5-cifar10"), changes, "import-checkpoint")
    network = spiking_network(recipe, build(NAMES[model], dropout=recipe.model.dropout, mean=mean, std=std, **spec))
    check_fits(network, dataset, f"{path}")
    imported = _fill(network, state, model, path)
    key = digest({"checkpoint": hashlib.sha256(path.read_bytes()).hexdigest()})
    if twin is not None:
        other = RunFolder.open(twin)
        imported.cosines = cosines(network, load(other.require(MODEL)))
        if missing := imported.layers.keys() - imported.cosines.keys():
            raise UsageError(f"the twin {twin} has no layer {min(missing)} of the same shape; name another run.")
        if imported.same_ann and other.has(ANN):
            key = other.read_json(ANN)["key"]
    with RunFolder.create(out, recipe, resume=False) as folder:
        folder.write_json(ANN, {"key": key, "seed": recipe.ann_seed, "folder": path.name})
        save(network, folder.path / MODEL)
    return imported


def positions(model: str) -> tuple[list[int], int]:
    """Return the positions of the convolutions in the authors' `features`, and how many modules that has.

    >>> positions("vgg5")
    ([0, 3, 6], 9)
    """
    convolutions, position, entries = [], 0, CONFIGURATIONS[NAMES[model]]
    for entry, following in zip(entries, (*entries[1:], None), strict=True):
        if entry != "pool":
            convolutions.append(position)
        position += 1 if entry == "pool" else 2 if following == "pool" else 3
    return convolutions, position


def _keys(model: str) -> tuple[dict[str, str], list[int]]:
    """Return layer of weights in `hiresnn.models` -> the authors' name of it, and the positions of the neurons."""
    convolutions, end = positions(model)
    keys = {f"conv{number}": f"features.{position}" for number, position in enumerate(convolutions, start=1)}
    keys |= {f"linear{number}": f"classifier.{position}" for number, position in enumerate((0, 3, 6), start=1)}
    return keys, [*convolutions, end, end + 3]


def _spec(state: Mapping[str, Tensor], model: str, path: Path) -> dict[str, Any]:
    """Return the arguments of `build` that follow from the shapes."""
    keys, neurons = _keys(model)
    names = [f"{key}.weight" for key in keys.values()]
    names += [f"{prefix}{position}" for prefix in ("threshold.t", "leak.l") for position in neurons]
    if missing := [name for name in names if name not in state]:
        keys_missing = f"{', '.join(missing[:3])}{' and others' * (len(missing) > 3)}"
        raise RunError(f"{path} has no {keys_missing}, so it is not the authors' {model}; choose another --model.")
    weights = [state[f"{key}.weight"] for key in keys.values()]
    first, deepest, linear, last = weights[0], weights[-4], weights[-3], weights[-1]
    if (first.dim(), deepest.dim(), linear.dim(), last.dim()) != (4, 4, 2, 2):
        raise RunError(f"{path}: the weights of a convolution or of a linear layer have a wrong rank.")
    size = math.isqrt(linear.shape[1] // max(deepest.shape[0], 1))
    return {
        "num_classes": last.shape[0],
        "in_channels": first.shape[1],
        "image_size": size << CONFIGURATIONS[NAMES[model]].count("pool"),
        "width": first.shape[0] / 64,
        "hidden": linear.shape[0],
    }


@torch.no_grad()
def _fill(network: SpikingNetwork, state: Mapping[str, Tensor], model: str, path: Path) -> Imported:
    """Copy every weight, threshold and leak into the network."""
    keys, neuron_positions = _keys(model)
    targets = {f"{key}.weight": network.get_parameter(f"layers.{layer}.weight") for layer, key in keys.items()}
    for neuron, position in zip(network.neurons.values(), neuron_positions, strict=True):
        targets |= {f"threshold.t{position}": neuron.threshold, f"leak.l{position}": neuron.leak}
    for key, parameter in targets.items():
        shape, expected = list(state[key].shape), list(parameter.shape)
        if shape != expected:
            raise RunError(f"{path}: {key} has shape {shape}, but {model} needs {expected}.")
        if key.startswith("threshold.") and state[key] <= 0:
            raise RunError(f"{path}: {key} is {float(state[key]):g}; a threshold must be above 0.")
        parameter.copy_(state[key])
    return Imported(
        layers={layer: (key, list(state[f"{key}.weight"].shape)) for layer, key in keys.items()},
        thresholds=[float(state[f"threshold.t{position}"]) for position in neuron_positions],
        leaks=[float(state[f"leak.l{position}"]) for position in neuron_positions],
        ignored=[name for name in state if name not in targets],
    )


def cosines(network: nn.Module, other: nn.Module) -> dict[str, float]:
    """Return layer -> cosine of the weights of two networks of one architecture; 1 for equal weights."""
    counterparts = dict(other.named_parameters())
    return {
        name.removeprefix("layers.").removesuffix(".weight"): float(
            F.cosine_similarity(weight.detach().flatten(), counterparts[name].detach().flatten(), 0)
        )
        for name, weight in network.named_parameters()
        if name.endswith(".weight") and name in counterparts and counterparts[name].shape == weight.shape
    }
