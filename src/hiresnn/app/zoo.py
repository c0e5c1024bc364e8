"""The zoo: names of pretrained networks, and where their run folders are on this machine.

Networks on digits are in the package, those on CIFAR-10 in an archive of a release that is downloaded once.
"""

import hashlib
import io
import os
import urllib.request
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hiresnn.errors import RunError, UsageError, closest, in_a_line, quoted
from hiresnn.files import new_folder
from hiresnn.process import cache_folder

MODEL = "model.safetensors"
SHELF = Path(__file__).parents[1] / "hub/networks"
"""The networks of the package."""
FOLDER_VARIABLE = "HIRESNN_NETWORKS"  # a folder of networks, for machines without a connection
TIMEOUT = 60.0  # seconds without an answer after which a download has failed


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


def remedy() -> str:
    """Return how to get the networks that are not in the package."""
    offline = f"without a connection, unpack that file and set {FOLDER_VARIABLE} to its folder"
    return f"from_pretrained and hiresnn zoo copy download {ARCHIVE.address}; {offline}."


def folder_of(name: str) -> Path:
    """Return the folder of a network by name, downloaded if it is not on this machine; UsageError if there is none."""
    if name not in names():
        raise UsageError(f"there is no network {quoted(name)}; {closest(name, names())}.")
    if name not in folders():
        try:
            with urllib.request.urlopen(ARCHIVE.address, timeout=TIMEOUT) as response:
                content = response.read()
        except OSError as error:
            raise RunError(f"{ARCHIVE.address} cannot be downloaded ({in_a_line(error)}): {remedy()}") from None
        if hashlib.sha256(content).hexdigest() != ARCHIVE.digest:
            raise RunError(f"{ARCHIVE.address} is not the file that this version expects (its SHA-256); try again.")
        archive = zipfile.ZipFile(io.BytesIO(content))
        with suppress(UsageError), new_folder(ARCHIVE.cache) as part:  # suppressed: another process was faster
            archive.extractall(part)
    return folders()[name]
