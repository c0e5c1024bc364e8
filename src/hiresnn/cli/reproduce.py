"""`hiresnn reproduce`: says where the reproduction of the paper is."""

from __future__ import annotations

import shlex

import typer

from hiresnn.errors import UsageError


def reproduce(context: typer.Context) -> None:
    """Say how to reproduce the paper; the program for it is in the repository, not in the installed package."""
    words = shlex.join(context.args or ["all", "--scale", "smoke"])
    raise UsageError(
        f"the reproduction of the paper is run from a checkout of the repository: make reproduce ARGS={words!r}, or "
        f"python -m reproduction {words} in an environment with 'hiresnn[paper]'; see docs/reproduce.md."
    )
