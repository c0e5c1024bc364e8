"""Keep freed memory in the process: large activations are otherwise mapped and zeroed anew at every step.

glibc hands blocks above some tens of megabytes straight back to the kernel, and every page of the next one is
a fault. For a training step of an SNN that costs as much as a quarter of the arithmetic.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # names and values of glibc's malloc.h


def keep_memory() -> bool:
    """Tell glibc's malloc to reuse large blocks; True where it took the hint.

    Affects the whole process and lasts: the command line calls it, a library user may. Elsewhere than on
    Linux with glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library, such as musl
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
