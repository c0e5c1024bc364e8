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

    Args:
        folder: the folder that this process is about to write into.
        what: names the folder in errors, such as "run folder".
        wait: called once if another process holds the lock, before waiting for it; None refuses at once.

    Returns:
        The acquired lock. Leaving it as a context manager, or calling its `close`, releases it.

    Raises:
        BusyError: another process holds the lock and `wait` is None.
        RunError: the folder cannot be created or written.

    Example:
        >>> with locked(tmp_path, "run folder"):
        ...     (tmp_path / "result.json").touch()
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
