"""Keep compiled kernels over restarts of the machine: compiling the neurons takes half a minute."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$HIRESNN_CACHE, or ~/.cache/hiresnn. Raises RuntimeError where there is no home."""
    return Path(os.environ.get("HIRESNN_CACHE") or Path.home() / ".cache" / "hiresnn").expanduser()


def keep_kernels() -> None:
    """Have torch keep compiled kernels in the cache of hiresnn, unless TORCHINDUCTOR_CACHE_DIR names a place.

    torch's own place is the temporary folder, which a restart empties. Affects the whole process and those that it
    starts; to be called before torch compiles anything: the command line calls it, a library user may.
    """
    if "TORCHINDUCTOR_CACHE_DIR" in os.environ:
        return
    try:
        kernels = cache_folder() / "kernels"
        kernels.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a home that cannot be written, or none: torch's own place will do
        return
    if not os.access(kernels, os.W_OK):  # another user's
        return
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(kernels)
