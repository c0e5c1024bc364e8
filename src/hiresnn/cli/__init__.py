"""The command line. Everything heavy is imported inside the commands, so that `--help` does not wait for torch."""

from hiresnn.cli.shell import main

__all__ = ["main"]
