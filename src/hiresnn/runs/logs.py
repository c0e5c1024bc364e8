"""Where the rows of a training go besides metrics.jsonl: to TensorBoard, or to a function of the user's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from hiresnn.errors import UsageError, in_a_line, quoted
from hiresnn.runs.user_code import UserCode

Log = Callable[[Mapping[str, Any]], object]
"""Called with the row of each epoch as metrics.jsonl has it, and "stage", which is "ann" or "snn"."""
TENSORBOARD = "tensorboard"


def no_log(row: Mapping[str, Any]) -> None:
    """Do nothing."""


def log_to(target: str | None, folder: Path) -> Log:
    """Return the log that the option --log names.

    Args:
        target: "tensorboard", which writes event files into the folder; FILE.py:FUNCTION or MODULE:FUNCTION, which is
            executed and called with each row; or None.
        folder: of the run.

    Raises:
        UsageError: TensorBoard is not installed, or there is no such function.
    """
    if target is None:
        return no_log
    if target == TENSORBOARD:
        return _tensorboard(folder / TENSORBOARD)
    if ":" not in target:
        raise UsageError(f"--log {quoted(target)} is not known; write {TENSORBOARD}, or FILE.py:FUNCTION of your own.")
    function = UserCode.parse(target).callable("add one: (row) -> None")

    def call(row: Mapping[str, Any]) -> None:
        try:
            function(copy.deepcopy(dict(row)))  # which it may change
        except (Exception, SystemExit) as error:  # the function is the user's
            raise UsageError(
                f"{target} failed: {in_a_line(error)} (--debug shows where); correct it and continue with --resume."
            ) from error

    return call


def scalars(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of a row with their names, such as thresholds/lif1.

    >>> list(scalars({"loss": 0.5, "note": "x", "leaks": {"lif1": 1}}))
    [('loss', 0.5), ('leaks/lif1', 1.0)]
    """
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield f"{prefix}{name}", float(value)


def _tensorboard(folder: Path) -> Log:
    try:
        tensorboard: Any = import_module("torch.utils.tensorboard")
    except ImportError:
        raise UsageError("--log tensorboard needs TensorBoard: pip install 'hiresnn[tensorboard]'") from None
    writer: Any = None

    def write(row: Mapping[str, Any]) -> None:
        nonlocal writer
        writer = writer or tensorboard.SummaryWriter(str(folder))  # creates the folder, which a new run must do first
        for name, value in scalars({key: value for key, value in row.items() if key != "epoch"}):
            writer.add_scalar(f"{row['stage']}/{name}", value, row["epoch"])
        writer.flush()

    return write
