"""Faults that a campaign installs in a child: a kill or a full disk at the n-th file that is written."""

import errno
import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path


def _at_replace(action: Callable[[int, bool], object]) -> Callable[[], None]:
    """Call `action(number, done)` right before and right after the number-th file gets its name, counted from 1."""

    def install() -> None:
        original, numbers = os.replace, itertools.count(1)

        def replace(source: object, target: object, **more: object) -> None:
            number = next(numbers)
            action(number, False)
            original(source, target, **more)
            action(number, True)

        os.replace = replace

    return install


def kill_at_write(number: int, *, after: bool) -> Callable[[], None]:
    """SIGKILL right before, or right `after`, the `number`-th file gets its name."""
    return _at_replace(lambda *now: os.kill(os.getpid(), signal.SIGKILL) if now == (number, after) else None)


def count_writes(path: Path) -> Callable[[], None]:
    """Write the number of files that got their names to the file `path`."""
    return _at_replace(lambda number, done: path.write_text(str(number)))


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
