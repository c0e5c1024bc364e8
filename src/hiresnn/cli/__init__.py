"""The command line. Everything heavy is imported inside the commands, so that `--help` does not wait for torch."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line and exit.

    An error that a user can fix is one sentence on standard error and its exit code; `--debug` shows the traceback
    instead. Ctrl-C ends with exit code 130, also while modules are loaded. Raises SystemExit, except for defects of
    hiresnn itself.
    """
    with _interrupts() as interrupted:
        try:
            from hiresnn.cli.shell import run

            run(list(sys.argv[1:] if arguments is None else arguments))
        except KeyboardInterrupt:
            interrupted.append(True)
            raise
        except Exception:  # an interrupted import can raise anything, such as ImportError
            if not interrupted:
                raise
        finally:
            if interrupted and not isinstance(sys.exc_info()[1], SystemExit):
                print("\nInterrupted.", file=sys.stderr)
                sys.exit(130)
    sys.exit(0)


@contextmanager
def _interrupts() -> Iterator[list[bool]]:
    """Yield a list that is not empty after Ctrl-C, which still raises KeyboardInterrupt."""
    seen: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(True)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)
