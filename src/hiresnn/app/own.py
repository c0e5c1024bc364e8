"""The user's own network of a recipe: found, built for the data, and loaded again from a run by executing its code."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hiresnn import data
from hiresnn.app import networks
from hiresnn.app.folder import MODEL, SOURCE, RunFolder
from hiresnn.app.recipe import Recipe
from hiresnn.app.user_code import UserCode, require_file
from hiresnn.checks import require_logits
from hiresnn.data import DataSet, Split
from hiresnn.errors import RunError, UsageError, user_code
from hiresnn.models import OwnNetwork
from hiresnn.network import copied, evaluating, uncompiled
from hiresnn.process import leads


@dataclass(frozen=True)
class OwnCode:
    """The code of a recipe's own network, found on this machine, and the weights that the ANN starts from.

    `record` is the content of source.json in the run folder, see `folder.SourceRecord`.
    """

    code: UserCode
    record: dict[str, Any]

    @property
    def key(self) -> dict[str, Any]:
        """All that decides the network, independent of the folders that the files are in."""
        files = sorted(self.record["files"].items())
        return {"function": self.code.function, "files": files, "weights": self.record["weights"]}

    def build(self, recipe: Recipe, dataset: DataSet, split: Split | None) -> OwnNetwork:
        """Call the user's function and put the normalisation of `split` in front; see `build.ann_of`.

        Raises UsageError if that fails, or the network does not map the images to a logit for each class.
        """
        spec = networks.OwnSpec(
            name=recipe.model.label,
            source=self.record["model"],
            num_classes=dataset.num_classes,
            in_channels=dataset.in_channels,
            height=dataset.height,
            width=dataset.width,
            normalise=recipe.model.normalise,
        )
        network = self.bare(spec)
        if recipe.model.weights:
            networks.load_weights(network, Path(recipe.model.weights))
        own = OwnNetwork(network, spec.model_dump(), *normalisation(recipe, dataset, split))
        images = torch.zeros(2, *dataset.train.images.shape[1:])
        size = " x ".join(map(str, images.shape[1:]))
        with torch.no_grad(), torch.random.fork_rng([]), evaluating(own):
            called = f"{spec.source}, called with images of {dataset.name}, {size} (channels x height x width),"
            with user_code(called, "; change the network, or the height and width with --set data.size=N."):
                logits = own(images)
        require_logits(logits, len(images))
        if logits.shape[1] != dataset.num_classes:
            raise UsageError(
                f"{spec.source} returns {logits.shape[1]} logits for an image, but {dataset.name} has "
                f"{dataset.num_classes} classes; give the function a parameter num_classes, and return that many."
            )
        return own

    def bare(self, spec: networks.OwnSpec | None) -> nn.Module:
        """Return the structure of the network that `spec` describes, with new weights."""
        source = self.record["model"]
        if spec is None:
            raise RunError(f"the weights of the run are not those of {source}; train it again into another --out.")
        network = self.code.network(spec.num_classes)
        if not isinstance(network, nn.Module):
            raise UsageError(
                f"{source} returned {type(network).__name__}; to be trained, it must return a torch.nn.Module."
            )
        return copied(uncompiled(network))  # the function may return the same network at every call


def normalisation(recipe: Recipe, dataset: DataSet, split: Split | None) -> tuple[Any, Any]:
    """Return the (means, deviations) of each channel of `split`, or zeros and ones; (None, None) for no normalising."""
    if not recipe.model.normalise:
        return None, None
    if split is None:
        return [0.0] * dataset.in_channels, [1.0] * dataset.in_channels
    return data.channel_statistics(split)


def own_code(recipe: Recipe, folder: Path | None = None) -> OwnCode | None:
    """Return the code of the recipe's own network, or None if its network is one of the package.

    If the run folder has a source.json, the code is also looked for at the path in it. A RunError says that the code or
    the weights are not those that source.json names.
    """
    source, weights = recipe.model.source, recipe.model.weights
    if source is None:
        return None
    recorded: dict[str, Any] = {}
    if folder is not None and (folder / SOURCE).is_file():
        recorded = RunFolder.follow(folder).read_json(SOURCE)
    code = UserCode.parse(source)
    candidates = [code, replace(code, module=recorded["path"])] if recorded.get("path") else [code]
    candidates = [candidate for candidate in candidates if Path(candidate.module).is_file()] or [code]
    code = next((candidate for candidate in candidates if candidate.files() == recorded.get("files")), candidates[0])
    path = str(Path(code.module).resolve()) if code.is_file else None
    digest = recorded.get("weights")
    if weights is not None and (digest is None or Path(weights).is_file()):
        digest = weights_digest(weights)
    files, earlier = code.files(), recorded.get("files", {})
    changed = sorted(name for name in {*files, *earlier} if files.get(name) != earlier.get(name))
    if recorded and changed:
        raise RunError(
            f"{', '.join(changed[:3])} of {source} changed after the run {folder} began; restore the earlier content, "
            f"or, if the network is still the same, delete {SOURCE} there."
        )
    if recorded.get("weights") not in (None, digest):
        raise RunError(f"{weights} changed after the run {folder} began; restore it, or train into another --out.")
    return OwnCode(code, {"model": source, "path": path, "files": files, "weights": digest})


def require_weights(weights: str) -> Path:
    """Return the path of a file of weights. Raises UsageError if there is none."""
    return require_file(weights, "name a .safetensors file or a state_dict for the weights")


def weights_digest(weights: str) -> str:
    """Return the SHA-256 of a file of weights. Raises UsageError if there is none."""
    return hashlib.sha256(require_weights(weights).read_bytes()).hexdigest()


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
    return networks.load(path / MODEL if path.is_dir() else path, ann=ann)


def load_run(folder: RunFolder, *, may_run_code: bool = True) -> nn.Module:
    """Return the trained network of a run in eval mode, on the CPU.

    The code of a user's own network is executed, which one line on standard error says. Without `may_run_code` such a
    run is refused by a UsageError.
    """
    path, source = folder.require(MODEL), folder.recipe.model.source
    if source is not None and not may_run_code:
        raise UsageError(
            f"the network of run {folder.path} is Python code, {source}, which a file may not choose to run; if you "
            f"trust it, name the run yourself: {folder.path}={folder.path}/audit/card.json for hiresnn board, "
            f"{folder.path} in front of --verify for hiresnn audit."
        )
    if (code := own_code(folder.recipe, folder.path)) is None:
        return networks.load(path)
    announce(code, folder.path)
    return networks.load(path, code.bare)


def announce(code: OwnCode, run: Path) -> None:
    """Say on standard error which code is executed because a run names it."""
    if leads():
        print(f"Executing {code.code.text}, the code of the network in {run}.", file=sys.stderr)
