"""Ctrl-C ends a command with exit code 130 and, if work can be continued, with the command that continues it."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer

from hiresnn.process import leads

REPEATABLE = ("audit", "quickstart", "reproduce")
"""Commands that continue their work when the same line is run again."""


@dataclass
class Interruption:
    """What to say at Ctrl-C. `run` is a run folder that can be resumed once its recipe is written."""

    run: Path | None = None


@contextmanager
def continued_by(context: typer.Context) -> Iterator[Interruption]:
    """Turn KeyboardInterrupt into exit code 130 and a line that says how to continue, if that is possible.

    `context.obj` is the command line as `main` received it.
    """
    interruption = Interruption()
    try:
        yield interruption
    except KeyboardInterrupt:
        words: list[str] = []
        if context.info_name in REPEATABLE:
            words = list(context.obj or [])
        elif interruption.run is not None and (interruption.run / "recipe.toml").is_file():
            words = ["resume", str(interruption.run)]
        processes = os.environ.get("LOCAL_WORLD_SIZE", "1")
        start = [] if processes == "1" else ["torchrun", "--nproc-per-node", processes, "-m"]
        hint = f" Continue with: {shlex.join([*start, 'hiresnn', *words])}" if words else ""
        if leads():
            print(f"\nInterrupted.{hint}", file=sys.stderr)
        raise typer.Exit(130) from None
