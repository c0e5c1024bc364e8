"""Add an audited run to the networks of the package: `python -m hiresnn.hub RUN NAME`, in a checkout."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from hiresnn.errors import HiresnnError, UsageError
from hiresnn.hub.publish import Publication, export
from hiresnn.hub.zoo import SHELF

LARGEST = 2 * 2**20
"""Bytes of a network in the package, all files together."""


def add(run: Path, name: str) -> str:
    """Export `run` to the networks of the package, without pictures; an earlier network of that name is replaced.

    Raises:
        HiresnnError: the run cannot be published, or its files are larger than 2 MiB.
    """
    if not name.replace("-", "").isalnum():
        raise UsageError(f"the name {name!r} may have letters, digits and hyphens only.")
    new = SHELF / f".{name}"
    try:
        files = export(run, new, Publication(name, license="mit", pictures=False))
        size = sum(file.stat().st_size for file in files)
        if size > LARGEST:
            raise UsageError(f"{run} has {size:,} bytes, more than {LARGEST:,}; train a narrower network.")
        shutil.rmtree(SHELF / name, ignore_errors=True)
        new.rename(SHELF / name)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return f"Added {SHELF / name} ({size / 1024:,.0f} KiB)."


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("Usage: python -m hiresnn.hub RUN NAME")
    try:
        print(add(Path(sys.argv[1]), sys.argv[2]))
    except HiresnnError as error:
        sys.exit(f"Error: {error}")
