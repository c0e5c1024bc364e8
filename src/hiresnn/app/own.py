"""The user's own network of a recipe: found, built for the data, and loaded again from a run by executing its code."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hiresnn import data
from hiresnn.app import networks as checkpoint
from hiresnn.app.folder import MODEL, SOURCE, RunFolder
from hiresnn.app.networks import OwnSpec, load_weights
from hiresnn.app.recipe import Recipe
from hiresnn.app.user_code import UserCode, file_exists
from hiresnn.data import DataSet, Split
from hiresnn.errors import HiresnnError, RunError, UsageError, in_a_line, quoted
from hiresnn.models import OwnNetwork
from hiresnn.network import copied, evaluating, uncompiled
from hiresnn.process import leads


@dataclass(frozen=True)
class OwnCode:
    """The code of a recipe's own network, found on this machine, and the weights that the ANN starts from.

    `source` is `model.source` of the recipe, `files` are those that define the network, each with its SHA-256, and
    `weights` is the SHA-256 of the file of weights.
    """

    source: str
    code: UserCode
    files: Mapping[str, str]
    weights: str | None

    @property
    def record(self) -> dict[str, Any]:
        """What source.json in the run folder holds."""
        path = str(Path(self.code.where).resolve()) if self.code.is_file else None
        return {"model": self.source, "path": path, "files": dict(self.files), "weights": self.weights}

    @property
    def key(self) -> dict[str, Any]:
        """What decides the network, independent of where the files are."""
        return {"function": self.code.function, "files": sorted(self.files.items()), "weights": self.weights}

    def build(self, recipe: Recipe, dataset: DataSet, split: Split | None) -> OwnNetwork:
        """Call the user's function and put the normalisation of `split` in front; see `networks.ann_of`.

        Raises UsageError if that fails, or the network does not map the images to a logit for each class.
        """
        if recipe.ann.activation != "relu":
            raise UsageError(
                f"ann.activation = {recipe.ann.activation!r} is for networks of the package; use hiresnn.models.QCFS "
                f"in the place of nn.ReLU in {self.source}."
            )
        spec = OwnSpec(
            name=recipe.model.label, source=self.source, num_classes=dataset.num_classes,
            in_channels=dataset.in_channels, height=dataset.height, width=dataset.width,
            normalise=recipe.model.normalise,
        )  # fmt: skip
        network = self._module(dataset.num_classes)
        if recipe.model.weights:
            load_weights(network, Path(recipe.model.weights))
        own = OwnNetwork(network, spec.model_dump(), *normalisation(recipe, dataset, split))
        _check_logits(own, self.source, dataset)
        return own

    def _module(self, num_classes: int) -> nn.Module:
        network = self.code.network(num_classes)
        if not isinstance(network, nn.Module):
            kind = type(network).__name__
            raise UsageError(f"{self.source} returned {kind}; to be trained, it must return a torch.nn.Module.")
        return copied(uncompiled(network))  # the function may return the same network at every call

    def bare(self, spec: OwnSpec | None) -> nn.Module:
        """Return the structure of the network that `spec` describes, with new weights."""
        if spec is None:
            raise RunError(f"the weights of the run are not those of {self.source}; train it again into another --out.")
        return self._module(spec.num_classes)


def normalisation(recipe: Recipe, dataset: DataSet, split: Split | None) -> tuple[Any, Any]:
    """Return the (means, deviations) by which the recipe normalises, of each channel; (None, None) for none.

    They are those of `split`; without it zeros and ones.
    """
    if not recipe.model.normalise:
        return None, None
    if split is None:
        return [0.0] * dataset.in_channels, [1.0] * dataset.in_channels
    return data.channel_statistics(split)


def own_code(recipe: Recipe, folder: Path | None = None) -> OwnCode | None:
    """Return the code of the recipe's own network, or None if its network is one of the package.

    If the run folder has a source.json, the code is also looked for where it was. A RunError says that the code or the
    weights are not those that source.json names.
    """
    record, source = _record(folder), recipe.model.source
    if source is None:
        return None
    code, known = UserCode.parse(source), record["files"]
    places = [code]
    if record["path"] is not None:
        places.append(replace(code, where=record["path"]))
    if code.is_file:
        places = [place for place in places if file_exists(place.where)] or [code]
    found = [(place, place.files()) for place in places]
    place, files = next((pair for pair in found if pair[1] == known), found[0])
    if known not in (None, files):
        raise RunError(_changed(source, files, known, folder))
    return OwnCode(source, place, files, weights_digest(recipe.model.weights, record["weights"], folder))


def require_weights(weights: str) -> None:
    """Raise UsageError unless there is such a file."""
    if not file_exists(weights):
        raise UsageError(
            f"there is no file of weights {quoted(weights, 200)}; name a .safetensors file or a state_dict."
        )


def weights_digest(weights: str | None, known: str | None = None, folder: Path | None = None) -> str | None:
    """Return the SHA-256 of the file of weights, which must be `known` if that is given; `known` if it is gone."""
    if weights is None:
        return None
    if known is not None and not file_exists(weights):
        return known
    require_weights(weights)
    digest = hashlib.sha256(Path(weights).read_bytes()).hexdigest()
    if known not in (None, digest):
        raise RunError(
            f"{weights} has changed since the run {folder} began; restore that file, or train into another --out."
        )
    return digest


def load(path: str | Path, *, ann: nn.Module | None = None) -> nn.Module:
    """Read a network in eval mode, on the CPU: an ANN or a `SpikingNetwork`, as it was saved.

    Args:
        path: a run folder, or a file that `save` wrote. If the network of a run is a user's own, its code is executed,
            which one line on standard error says; a file alone never executes code.
        ann: the structure of a user's own network, for a file; its weights do not matter.

    Raises:
        RunError: the file or run does not exist, is damaged, was not written by hiresnn, holds numbers that are not
            finite, belongs to another architecture, or its code has changed.

    Example:
        >>> network = hiresnn.load("runs/mine")  # doctest: +SKIP
    """
    path = Path(path)
    if path.is_dir() and ann is None:
        return load_run(RunFolder.open(path))
    return checkpoint.load(path / MODEL if path.is_dir() else path, ann=ann)


def load_run(folder: RunFolder, *, may_run_code: bool = True) -> nn.Module:
    """Return the trained network of a run in eval mode, on the CPU.

    The code of a user's own network is executed, which one line on standard error says. Without `may_run_code` such a
    run is refused by a UsageError.
    """
    path, source = folder.require(MODEL), folder.recipe.model.source
    if source is None:
        return checkpoint.load(path)
    if not may_run_code:
        raise UsageError(
            f"the network of run {folder.path} is Python code, {source}, which a file may not choose to run; if you "
            f"trust it, name the run yourself: {folder.path}={folder.path}/audit/card.json for hiresnn board, "
            f"{folder.path} in front of --verify for hiresnn audit."
        )
    code = own_code(folder.recipe, folder.path)
    assert code is not None
    announce(code, folder.path)
    return checkpoint.load(path, code.bare)


def announce(code: OwnCode, run: Path) -> None:
    """Say on standard error which code is executed because a run names it."""
    if leads():
        print(f"Executing {code.code.text}, the code of the network in {run}.", file=sys.stderr)


def _record(folder: Path | None) -> dict[str, Any]:
    """Return the values of source.json in the run folder; all are None where there is none."""
    if folder is None or not (folder / SOURCE).is_file():
        return {"path": None, "files": None, "weights": None}
    return {"path": None, "files": {}, "weights": None, **RunFolder.follow(folder).read_json(SOURCE)}


def _changed(source: str, files: Mapping[str, str], known: Mapping[str, str], folder: Path | None) -> str:
    names = sorted(name for name in {*files, *known} if files.get(name) != known.get(name))
    return (
        f"{', '.join(names[:3])} of {source} {'has' if len(names) == 1 else 'have'} changed since the run {folder} "
        f"began; restore what the run began with, or, if the network is still the same, delete {SOURCE} there."
    )


@torch.no_grad()
def _check_logits(network: OwnNetwork, source: str, dataset: DataSet) -> None:
    """Raise UsageError unless the network maps the data's images to one logit for each class."""
    shape = " x ".join(str(size) for size in dataset.train.images.shape[1:])
    try:
        with torch.random.fork_rng([]), evaluating(network):
            logits = network(torch.zeros(2, *dataset.train.images.shape[1:]))
    except HiresnnError:
        raise
    except Exception as error:  # the network is the user's
        raise UsageError(
            f"{source} fails on the images of {dataset.name}, {shape} (channels x height x width): {in_a_line(error)}; "
            "change the network to take such images, or their height and width with --set data.size=N (--debug shows "
            "where)."
        ) from error
    if not isinstance(logits, torch.Tensor):
        raise UsageError(f"{source} returns {type(logits).__name__}; its forward must return the logits alone.")
    if logits.shape != (2, dataset.num_classes):
        raise UsageError(
            f"{source} returns {list(logits.shape[1:])} for an image, but {dataset.name} has {dataset.num_classes} "
            "classes; give the function a parameter num_classes, and return that many logits."
        )
