"""The process and its machine, without torch: memory, compiled kernels, the cache folder, processes of torchrun."""

import ctypes
import os
import sys
from pathlib import Path

from hiresnn.errors import UsageError

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # names and values of glibc's malloc.h


def cache_folder(part: str = "") -> Path:
    """Return $HIRESNN_CACHE, or ~/.cache/hiresnn, or the folder `part` in it; UsageError if there is no home."""
    try:
        return Path(os.environ.get("HIRESNN_CACHE") or "~/.cache/hiresnn").expanduser() / part
    except RuntimeError:
        raise UsageError("the cache has no home folder to lie in; set HIRESNN_CACHE to a folder that exists.") from None


def keep_memory() -> bool:
    """Tell glibc's malloc, for the whole process, to reuse large blocks; True if it agreed.

    Page faults of blocks that glibc returned to the kernel cost up to a quarter of the arithmetic of a training step.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))


def keep_kernels() -> None:
    """Have torch store compiled kernels in hiresnn's cache, unless TORCHINDUCTOR_CACHE_DIR is set.

    By default torch uses the temporary folder, which is emptied at a restart. Call it before torch compiles.
    """
    if "TORCHINDUCTOR_CACHE_DIR" in os.environ:
        return
    try:
        kernels = cache_folder("kernels")
        kernels.mkdir(parents=True, exist_ok=True)
    except (OSError, UsageError):  # the home is missing or read-only: torch's default is good enough
        return
    if os.access(kernels, os.W_OK):  # else it belongs to another user
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(kernels)


def processes() -> int:
    """Return how many processes torchrun started; 1 without WORLD_SIZE, whatever else is in the environment."""
    size = os.environ.get("WORLD_SIZE", "")
    return max(1, int(size)) if size.isdecimal() else 1


def leads() -> bool:
    """Tell whether this process speaks for all: it is the only one, or rank 0."""
    return processes() == 1 or os.environ.get("RANK", "0") == "0"
