"""Load a trained network, a run folder with audit and model card, by its name, from a folder, or from a hub.

Networks on digits are in the package, those on CIFAR-10 in an archive of a release that is downloaded once.
"""

import hashlib
import io
import os
import re
import shutil
import urllib.request
import zipfile
from pathlib import Path
from typing import NamedTuple

from torch import nn

from hiresnn.app.folder import MODEL, SHELF
from hiresnn.app.targets import load
from hiresnn.errors import RunError, UsageError, closest, in_a_line, quoted
from hiresnn.files import new_folder
from hiresnn.process import cache_folder
from hiresnn.report.pages import Run, read_runs

README = "README.md"
FOLDER_VARIABLE = "HIRESNN_NETWORKS"  # a folder of networks, for machines without a connection
TIMEOUT = 60.0  # seconds without an answer after which a download has failed
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
ALLOWED = ["*.safetensors", "*.json", "*.toml"]  # what is downloaded from a hub: no file that can run code


class Archive(NamedTuple):
    """A zip file with the folders of networks, and its SHA-256; `.ci/networks.py` makes it."""

    address: str
    digest: str
    names: tuple[str, ...]

    @property
    def cache(self) -> Path:  # where it is unpacked
        return cache_folder(f"networks/{self.digest[:12]}")


ARCHIVE = Archive(
    "https://github.com/hiresnn/hiresnn/releases/download/networks-1/networks.zip",
    "657e8fd398d4d237fe13af66f832e05227f0e22533bd0040228e3f1b41bff0d4",
    ("cifar10-hire", "cifar10-traditional", "robust-cifar10"),
)


def folders() -> dict[str, Path]:
    """Return the networks on this machine, name -> folder, sorted; nothing in the folders may be changed."""
    checkout = Path(__file__).parents[3] / "networks"
    places = [ARCHIVE.cache, checkout, *(Path(text) for text in [os.environ.get(FOLDER_VARIABLE)] if text), SHELF]
    present = {path.parent.name: path.parent for place in places for path in place.glob(f"[!.]*/{MODEL}")}
    return dict(sorted(present.items()))


def names() -> list[str]:
    """Return the names of all networks, sorted, also of those that must be downloaded."""
    return sorted({*folders(), *ARCHIVE.names})


def shipped() -> list[Run]:
    """Return the networks on this machine with their recipes, results and audit cards, sorted by name."""
    return read_runs(list(folders().values()))


def remedy() -> str:
    """Return how to get the networks that are not in the package."""
    offline = f"without a connection, unpack that file and set {FOLDER_VARIABLE} to its folder"
    return f"from_pretrained and hiresnn zoo copy download {ARCHIVE.address}; {offline}."


def folder_of(name: str) -> Path:
    """Return the folder of a network by name, downloaded if it is not on this machine; UsageError if there is none."""
    if name not in names():
        raise UsageError(f"there is no network {quoted(name)}; {closest(name, names())}.")
    if name not in folders():
        _download_archive()
    return folders()[name]


def copy(name: str, folder: Path) -> None:
    """Copy a network to a new run folder; UsageError if there is no such network, or the folder exists."""
    source = folder_of(name)
    if folder.exists():
        raise UsageError(f"{folder} exists and is not replaced; name a new folder.")
    with new_folder(folder):
        shutil.copytree(source, folder, dirs_exist_ok=True)


def from_pretrained(name: str | Path, *, revision: str | None = None, ann: nn.Module | None = None) -> nn.Module:
    """Load a trained network: an ANN or a `SpikingNetwork`, images [B, C, H, W] in [0, 1] -> logits [B, K].

    The network is in eval mode on the CPU. Its weights are read from safetensors; no file can run code.

    Args:
        name: a network that `hiresnn zoo` lists, such as "digits-hire"; a folder that hiresnn train or hiresnn publish
            wrote; or the id of a hub repository, "user/name". Write "./digits-hire" for a folder with the name of a
            network.
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
    path, text = Path(name), str(name)
    if text in names() and not (isinstance(name, Path) and path.is_dir()):
        path = folder_of(text)
    elif path.is_file():
        raise UsageError(f"{path} is a file; name its folder, or load a file with hiresnn.load.")
    elif HUB_ID.fullmatch(text) and not path.is_dir():
        path = _download_repository(text, revision)
    elif not path.is_dir():
        known = f"{closest(text, names())}; the id of a hub repository has the form user/name"
        raise UsageError(f"there is no folder and no network {quoted(text)}; {known}.")
    return load(path / MODEL, ann=ann)


def _download_archive() -> None:
    try:
        with urllib.request.urlopen(ARCHIVE.address, timeout=TIMEOUT) as response:
            content = response.read()
    except OSError as error:
        raise RunError(f"{ARCHIVE.address} cannot be downloaded ({in_a_line(error)}): {remedy()}") from None
    if hashlib.sha256(content).hexdigest() != ARCHIVE.digest:
        raise RunError(f"{ARCHIVE.address} is not the file that this version expects (its SHA-256 differs); try again.")
    shutil.rmtree(ARCHIVE.cache, ignore_errors=True)  # half of an archive, if an earlier process was killed
    with new_folder(ARCHIVE.cache), zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(ARCHIVE.cache)


def _download_repository(repository: str, revision: str | None) -> Path:
    missing = f"there is no folder {repository}"
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(repository, revision=revision, allow_patterns=ALLOWED))
    except ImportError:
        remedy = "run pip install 'hiresnn[hub]', or correct the folder"
        raise UsageError(f"{missing}, and loading from the hub needs huggingface-hub; {remedy}.") from None
    except Exception as error:  # the client raises errors of several libraries
        problem = f"the hub's repository of this name cannot be downloaded ({in_a_line(error)})"
        raise RunError(f"{missing}, and {problem}; check the name and the network.") from error
