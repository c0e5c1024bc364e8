"""Ctrl-C ends a command with the command line that continues it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from hiresnn.process import leads


@contextmanager
def continued_by(context: typer.Context, *more: str) -> Iterator[None]:
    """Turn KeyboardInterrupt into exit code 130 and the command line, with `more`, that continues it.

    `context.obj` is the command line as `main` got it.
    """
    try:
        yield
    except KeyboardInterrupt:
        given = list(context.obj or [])
        together = os.environ.get("LOCAL_WORLD_SIZE", "1")
        started = [] if together == "1" else ["torchrun", "--nproc-per-node", together, "-m"]
        line = shlex.join([*started, "hiresnn", *given, *(word for word in more if word not in given)])
        if leads():
            print(f"\nInterrupted. Continue with: {line}", file=sys.stderr)
        raise typer.Exit(130) from None
