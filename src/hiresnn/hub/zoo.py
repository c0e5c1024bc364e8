"""The networks that the package contains: one run folder each, in hub/networks, with recipe, audit and model card."""

from __future__ import annotations

import shutil
from pathlib import Path

from hiresnn.atomic import new_folder
from hiresnn.errors import UsageError, closest, quoted
from hiresnn.report.reading import Run, read_runs
from hiresnn.runs.folder import SHELF

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
