"""The networks that the package contains: one run folder each, in hub/networks, with recipe, audit and model card.

Load a trained network by the name of one in the package, from a folder, or from the Hugging Face hub.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from torch import nn

from hiresnn.app.folder import MODEL, SHELF
from hiresnn.app.networks import load
from hiresnn.errors import RunError, UsageError, closest, in_a_line, quoted
from hiresnn.files import new_folder
from hiresnn.report.reading import Run, read_runs

README = "README.md"


def names() -> list[str]:
    """Return the names of the networks, sorted."""
    return sorted(path.name for path in SHELF.iterdir() if path.is_dir() and not path.name.startswith("."))


def shipped() -> list[Run]:
    """Return the networks of the package with their recipes, results and audit cards, sorted by name."""
    return read_runs([SHELF / name for name in names()])


def folder_of(name: str) -> Path:
    """Return the folder of a network of the package; nothing in it may be changed.

    Raises:
        UsageError: there is no network of this name.
    """
    if name not in names():
        raise UsageError(f"the package has no network {quoted(name)}; {closest(name, names())}.")
    return SHELF / name


def copy(name: str, folder: Path) -> None:
    """Copy a network of the package to a new run folder, which can be evaluated, audited and analysed.

    Raises:
        UsageError: there is no such network, or the folder exists.
        RunError: the folder cannot be written; nothing is left of it.
    """
    source = folder_of(name)
    if folder.exists():
        raise UsageError(f"{folder} exists and is not replaced; name a new folder.")
    with new_folder(folder):
        shutil.copytree(source, folder, dirs_exist_ok=True)


HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
ALLOWED = ("*.safetensors", "*.json", "*.toml")
"""What is downloaded from a hub: weights, numbers and recipes. None of these files can run code."""


def from_pretrained(name: str | Path, *, revision: str | None = None, ann: nn.Module | None = None) -> nn.Module:
    """Load a trained network: an ANN or a `SpikingNetwork`, images [B, C, H, W] in [0, 1] -> logits [B, K].

    The network is in eval mode on the CPU. Its weights are read from safetensors; no file can run code.

    Args:
        name: a network of the package, which `hiresnn zoo` lists, such as "digits-hire"; a folder that hiresnn train or
            hiresnn publish wrote; or the id of a hub repository, "user/name". Write "./digits-hire" for a folder with
            the name of a network of the package.
        revision: branch, tag or commit of a hub repository; None takes its newest version.
        ann: the structure of a network of your own, see `hiresnn.load`.

    Raises:
        UsageError: there is no such network or folder, or the hub's client is not installed.
        RunError: the download failed, or the weights are damaged.

    Example:
        >>> network = from_pretrained("digits-hire")
        >>> network(torch.rand(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    return load(_folder(name, revision) / MODEL, ann=ann)


def _folder(name: str | Path, revision: str | None) -> Path:
    """Return the folder of a network, downloaded if `name` is the id of a hub repository."""
    path = Path(name)
    if str(name) in names() and not (isinstance(name, Path) and path.is_dir()):
        return folder_of(str(name))
    if path.is_dir():
        return path
    if path.is_file():
        raise UsageError(f"{path} is a file; name its folder, or load a file with hiresnn.load.")
    if not HUB_ID.fullmatch(str(name)):
        raise UsageError(
            f"there is no folder and no network {quoted(str(name))}; {closest(str(name), names())}; the id of a hub "
            "repository has the form user/name."
        )
    return _download(str(name), revision)


def _download(repository: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UsageError(
            f"there is no folder {repository}, and loading from the hub needs huggingface-hub, which is not installed; "
            "run pip install 'hiresnn[hub]', or correct the folder."
        ) from None
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(ALLOWED)))
    except Exception as error:  # the client raises errors of several libraries
        reason = in_a_line(error)
        raise RunError(
            f"there is no folder {repository}, and the hub's repository of this name cannot be downloaded ({reason}); "
            "check the name and the network."
        ) from error
