"""Faults that a campaign installs in a child: a kill or a full disk at the n-th file that is written."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path


def kill_at_write(number: int, *, after: bool) -> Callable[[], None]:
    """SIGKILL right before, or right `after`, the `number`-th file gets its name (counted from 1)."""

    def install() -> None:
        original, count = os.replace, 0

        def replace(source: object, target: object, **more: object) -> None:
            nonlocal count
            count += 1
            if count == number and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            original(source, target, **more)  # type: ignore[arg-type]
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        os.replace = replace  # type: ignore[assignment]

    return install


def count_writes(path: Path) -> Callable[[], None]:
    """Append one byte to the file `path` for every file that gets its name."""

    def install() -> None:
        original = os.replace

        def replace(source: object, target: object, **more: object) -> None:
            original(source, target, **more)  # type: ignore[arg-type]
            with path.open("ab") as file:
                file.write(b"w")

        os.replace = replace  # type: ignore[assignment]

    return install


def full_disk_at_write(number: int) -> Callable[[], None]:
    """From the `number`-th file on, no byte fits on the disk."""

    def install() -> None:
        original, count = os.fsync, 0

        def fsync(handle: int) -> None:
            nonlocal count
            count += 1
            if count >= number:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            original(handle)

        os.fsync = fsync

    return install
