"""Load a trained network by the name of one in the package, from a folder, or from the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

from torch import nn

from hiresnn.errors import RunError, UsageError, closest, in_a_line, quoted
from hiresnn.hub.zoo import folder_of, names
from hiresnn.runs.checkpoint import load
from hiresnn.runs.folder import MODEL

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
