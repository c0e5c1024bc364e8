"""The lock of a folder: at most one process at a time writes into it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from filelock import FileLock, Timeout

from hiresnn.errors import BusyError, RunError

LOCK = ".lock"


def locked(folder: Path, what: str, *, wait: Callable[[], None] | None = None) -> ExitStack:
    """Create `folder` if it does not exist and lock it. The system releases the lock if the process dies.

    If another process holds it, `wait` is called once before waiting; without `wait` that is a BusyError. `what` names
    the folder in errors. Leaving the result as a context manager, or its `close`, releases the lock.
    """
    lock = FileLock(folder / LOCK)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if wait is None:
                raise BusyError(
                    f"{what} {folder} is in use: another process writes into it (lock file {folder / LOCK}); "
                    "wait for that process or choose another folder."
                ) from None
            wait()
            lock.acquire()
    except OSError as error:
        raise RunError(
            f"{what} {folder} cannot be written ({error.strerror or error}); check its permissions or choose another."
        ) from error
    held = ExitStack()
    held.callback(lock.release)
    return held
