"""The command line. Torch and pydantic are imported inside the commands, so that `--help` is instant."""

from hiresnn.cli.shell import app, main

__all__ = ["app", "main"]
