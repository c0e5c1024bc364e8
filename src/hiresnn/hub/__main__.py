"""Add an audited run to the networks of the package, in a checkout: python -m hiresnn.hub RUN NAME."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from hiresnn.app.folder import MODEL, SHELF
from hiresnn.errors import HiresnnError, UsageError
from hiresnn.hub.publish import Publication, write_publication

WEIGHTS, LARGEST = 2 * 2**20, 4 * 2**20
"""Bytes of the weights of a network of the package, and of all its files together."""


def add(run: Path, name: str) -> str:
    """Export `run` to the networks of the package, without pictures; an earlier network of that name is replaced.

    Raises:
        HiresnnError: the run cannot be published, or its files are too large.
    """
    if not name.replace("-", "").isalnum():
        raise UsageError(f"the name {name!r} may have letters, digits and hyphens only.")
    new = SHELF / f".{name}"
    try:
        files = write_publication(run, new, Publication(name, license="mit", pictures=False))
        size, weights = sum(file.stat().st_size for file in files), (new / MODEL).stat().st_size
        if weights > WEIGHTS:
            raise UsageError(
                f"the weights of {run} have {weights:,} bytes, more than {WEIGHTS:,}; train a narrower network."
            )
        if size > LARGEST:
            raise UsageError(f"{run} has {size:,} bytes, more than {LARGEST:,}; audit fewer images.")
        shutil.rmtree(SHELF / name, ignore_errors=True)
        new.rename(SHELF / name)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return f"Added {SHELF / name} ({size / 1024:,.0f} KiB)."


def main(words: list[str]) -> str:
    """Run the command; returns what to print. Raises HiresnnError."""
    if len(words) != 2:
        raise UsageError(f"this takes two names. {__doc__}")
    return add(Path(words[0]), words[1])


if __name__ == "__main__":
    try:
        print(main(sys.argv[1:]))
    except HiresnnError as error:
        sys.exit(f"Error: {error}")
