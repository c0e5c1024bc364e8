"""`hiresnn import-checkpoint`: a state_dict of the authors' VGG_SNN as a run folder.

Their repository (github.com/ksouvik52/hiresnn2021) stores weights of nn.Sequential modules by position, and a threshold
and a leak per layer of neurons: features.0.weight, ..., classifier.6.weight, threshold.t0, leak.l0, ...
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn import data
from hiresnn.app.build import spiking_network
from hiresnn.app.evaluate import check_fits
from hiresnn.app.folder import ANN, MODEL, RunFolder
from hiresnn.app.networks import kind_refused, load, save
from hiresnn.app.recipe import changed, digest, read, shipped
from hiresnn.errors import RunError, UsageError
from hiresnn.models import build
from hiresnn.models.networks import CONFIGURATIONS
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
SAME = 0.5
"""Mean cosine of two networks' weights above which they started from the same ANN; independent ones are near 0."""


@dataclass
class Imported:
    """What a checkpoint holds.

    Attributes:
        layers: name -> (key in the file, shape), in order.
        thresholds, leaks: by layer of neurons, in order.
        ignored: entries of the file that the network does not have.
        cosines: layer -> cosine of its weights with those of the other run; empty where none was named.
    """

    layers: dict[str, tuple[str, list[int]]] = field(default_factory=dict)
    thresholds: list[float] = field(default_factory=list)
    leaks: list[float] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    cosines: dict[str, float] = field(default_factory=dict)

    @property
    def same_ann(self) -> bool | None:
        """Whether both networks started from the same ANN; None without another one."""
        return sum(self.cosines.values()) / len(self.cosines) > SAME if self.cosines else None


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

    Args:
        path: a file that torch.save wrote: a state_dict, or a dictionary with one as "state_dict". No code in it runs.
        model: its width, hidden units, classes and the image size follow from the shapes.
        method: how the network was trained, for the recipe.
        timesteps: T; None takes that of the paper.
        twin: a run to compare the weights with, to see whether both started from the same ANN.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} is not an empty folder; name a new one.")
    steps = timesteps or TIMESTEPS.get(model)
    if steps is None:
        raise UsageError(f"the paper has no {model}, so its T is not known; give --timesteps.")
    state = read_state(path)
    spec = _spec(state, model, path)
    dataset = data.load(source)
    known = STATISTICS.get(int(spec["num_classes"])) if spec["in_channels"] == 3 else None
    mean, std = known or data.channel_statistics(dataset.train)
    recipe = changed(
        read(f"{model}-{dataset.name}" if f"{model}-{dataset.name}" in shipped() else "vgg5-cifar10"),
        {
            "name": f"{model}-imported",
            "method": method,
            "model.name": NAMES[model],
            "model.width": spec["width"],
            "model.hidden": spec["hidden"],
            "data.source": source,
            "snn.timesteps": steps,
        },
        "import-checkpoint",
    )
    network = spiking_network(recipe, build(NAMES[model], dropout=recipe.model.dropout, mean=mean, std=std, **spec))
    check_fits(network, dataset, f"{path}")
    found = _fill(network, state, model, path)
    key = digest({"checkpoint": hashlib.sha256(path.read_bytes()).hexdigest()})
    if twin is not None:
        other = RunFolder.open(twin)
        found.cosines = cosines(network, load(other.require(MODEL)))
        if missing := found.layers.keys() - found.cosines.keys():
            raise UsageError(
                f"the twin {twin} has no layer {min(missing)} of the same shape, so it is no {model} of this size; "
                "name another run."
            )
        if found.same_ann and other.has(ANN):
            key = other.read_json(ANN)["key"]
    with RunFolder.create(out, recipe, resume=False) as folder:
        folder.write_json(ANN, {"key": key, "seed": recipe.ann_seed, "folder": path.name})
        save(network, folder.path / MODEL)
    return found


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, without the prefix of nn.DataParallel."""
    if not path.is_file():
        raise RunError(f"there is no file {path}; name a checkpoint that torch.save wrote.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # torch raises errors of many types for damaged files
        if found := re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error)):
            reason = f"cannot be read without running code in it ({found[1]}); save its state_dict with torch.save"
        else:
            reason = "is damaged or is no file of torch.save; copy it again, or name another one"
        raise RunError(f"{path} {reason}.") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise RunError(f"{path} holds a {type(content).__name__}, not a state_dict; save one with torch.save.")
    return {str(name).removeprefix("module."): each for name, each in content.items() if isinstance(each, Tensor)}


def positions(model: str) -> tuple[list[int], int]:
    """Return the positions of the convolutions in the authors' `features`, and how many modules that has.

    A convolution is followed by a ReLU and a dropout, or by a ReLU and a pooling layer.

    >>> positions("vgg5")
    ([0, 3, 6], 9)
    """
    found, at, entries = [], 0, CONFIGURATIONS[NAMES[model]]
    for entry, following in zip(entries, (*entries[1:], None), strict=True):
        if entry == "pool":
            at += 1
        else:
            found.append(at)
            at += 2 if following == "pool" else 3
    return found, at


def _keys(model: str) -> dict[str, str]:
    """Name of a layer with weights in `hiresnn.models` -> the authors' key without ".weight"."""
    convolutions, _ = positions(model)
    keys = {f"conv{number}": f"features.{at}" for number, at in enumerate(convolutions, start=1)}
    return keys | {f"linear{number}": f"classifier.{at}" for number, at in enumerate((0, 3, 6), start=1)}


def _spec(state: Mapping[str, Tensor], model: str, path: Path) -> dict[str, Any]:
    """The arguments of `build` that follow from the shapes."""
    keys, (convolutions, end) = _keys(model), positions(model)
    names = [f"{key}.weight" for key in keys.values()]
    neurons = [*convolutions, end, end + 3]
    names += [f"{kind}{at}" for kind in ("threshold.t", "leak.l") for at in neurons]
    if missing := [name for name in names if name not in state]:
        raise RunError(
            f"{path} has no {', '.join(missing[:3])}{' and others' * (len(missing) > 3)}, so it is not the authors' "
            f"{model}; choose another --model."
        )
    first, deepest = (state[f"features.{at}.weight"] for at in (convolutions[0], convolutions[-1]))
    linear, last = (state[f"{keys[name]}.weight"] for name in ("linear1", "linear3"))
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


def _fill(network: SpikingNetwork, state: Mapping[str, Tensor], model: str, path: Path) -> Imported:
    """Copy every weight, threshold and leak; check shapes and numbers."""
    found = Imported()
    convolutions, end = positions(model)
    used = set()

    def take(parameter: Tensor, key: str) -> Tensor:
        value = state[key]
        if value.shape != parameter.shape:
            raise RunError(f"{path}: {key} has shape {list(value.shape)}, but {model} needs {list(parameter.shape)}.")
        if reason := kind_refused(value):
            raise RunError(f"{path}: {key} {reason}.")
        if not value.isfinite().all():
            raise RunError(f"{path}: {key} holds a number that is not finite.")
        used.add(key)
        with torch.no_grad():
            parameter.copy_(value)
        return value

    for name, key in _keys(model).items():
        weight = network.get_parameter(f"layers.{name}.weight")
        found.layers[name] = (key, list(take(weight, f"{key}.weight").shape))
    for neuron, at in zip(network.neurons.values(), [*convolutions, end, end + 3], strict=True):
        found.thresholds.append(float(take(neuron.threshold, f"threshold.t{at}")))
        found.leaks.append(float(take(neuron.leak, f"leak.l{at}")))
        if found.thresholds[-1] <= 0:
            raise RunError(f"{path}: threshold.t{at} is {found.thresholds[-1]:g}; a threshold must be above 0.")
    found.ignored = [name for name in state if name not in used]
    return found


def cosines(one: nn.Module, other: nn.Module) -> dict[str, float]:
    """Return layer -> cosine of the weights of two networks of one architecture; 1 for equal weights."""
    theirs = dict(other.named_parameters())
    return {
        name.removeprefix("layers.").removesuffix(".weight"): float(
            F.cosine_similarity(weight.detach().flatten(), theirs[name].detach().flatten(), 0)
        )
        for name, weight in one.named_parameters()
        if name.endswith(".weight") and name in theirs and theirs[name].shape == weight.shape
    }
