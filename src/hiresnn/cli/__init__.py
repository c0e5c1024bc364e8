"""The command line. Everything heavy is imported inside the commands, so that `--help` does not wait for torch."""

import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command line and exit.

    An error that a user can fix is one sentence on standard error and its exit code; `--debug` shows the traceback
    instead. Ctrl-C ends with exit code 130. Raises SystemExit, except for defects of hiresnn itself.
    """
    try:
        from hiresnn.cli.shell import run

        run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
