"""Where a run took place: versions, machine, code. Kept in every run folder."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("hiresnn", "torch", "torchvision", "numpy")


def environment() -> dict[str, Any]:
    """Versions of Python and the packages, platform, processor, threads, git commit and date (UTC).

    JSON-able. A package that is not installed and a commit where there is no checkout are None. Torch is
    not imported for it, but where it is loaded `threads` is its number of threads.
    """
    commit, changed = code_version()
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "threads": threads(),
        "git_commit": commit,
        "git_changed": changed,
    }


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """The processor's instruction sets by Linux's names (`avx512_bf16`, `amx_bf16`); empty elsewhere."""
    return frozenset(_cpuinfo().get("flags", "").split())


def threads() -> int:
    """Threads that torch computes with, or would by default."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return int(torch.get_num_threads())
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else os.cpu_count() or 1


def code_version() -> tuple[str | None, bool | None]:
    """The git commit that this package's code comes from, and whether tracked files differ from it.

    (None, None) where the package is installed outside a checkout of its own.
    """
    here = Path(__file__)
    if not any((folder / ".git").exists() for folder in here.parents):
        return None, None
    # An environment inside another project's checkout would give that project's commit.
    if _git(here.parent, "ls-files", "--error-unmatch", here.name) is None:
        return None, None
    commit = _git(here.parent, "rev-parse", "HEAD")
    return commit, bool(_git(here.parent, "status", "--porcelain", "--untracked-files=no"))


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpuinfo() -> dict[str, str]:
    """What Linux tells of the first processor; nothing elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
