"""Section `startup`: the time of `hiresnn --help`, and the time until the first training step is done.

    python benchmarks/startup.py [--eager] [--tiny]

does one training step in this process and prints a line; the section runs it with an empty cache of compiled kernels,
with the cache that this filled, and without compiling.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Section, over, spread
from turns import say

UNIT = "s"
EMPTY, FILLED, EAGER = "first step, empty cache", "first step, filled cache", "first step, not compiled"


def help_seconds() -> float:
    """Return the seconds of `hiresnn --help` in a fresh process."""
    command = Path(sys.executable).with_name("hiresnn")
    words = [str(command)] if command.is_file() else [sys.executable, "-m", "hiresnn"]
    start = time.perf_counter()
    subprocess.run([*words, "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def first_step_seconds(cache: Path, *options: str) -> float:
    """Return the seconds from the start of a process, with kernels in `cache`, until its first step is done."""
    environment = {
        **os.environ,
        "TORCHINDUCTOR_CACHE_DIR": str(cache),
        "TRITON_CACHE_DIR": str(cache / "triton"),
    }
    words = [sys.executable, __file__, *options]
    start = time.perf_counter()
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()  # the end of the process, which closes a pool of compilers, does not count
        seconds = time.perf_counter() - start
        process.stdout.read()
    if process.returncode:
        raise SystemExit(f"benchmark startup: the first step ended with {process.returncode}.")
    return seconds


def measure_startup(quick: bool) -> Section:
    """Measure fresh processes in turns."""
    calls, rounds = (1, 1) if quick else (5, 3)
    tiny = ("--tiny",) if quick else ()
    section = Section(
        "Start-up",
        f"`hiresnn --help` in {calls} fresh process{'es' * (calls > 1)}; then the time of a fresh process until the "
        "end of its first training step (imports, network, calibration, step): with an empty cache of compiled "
        "kernels, with the cache that this run filled, and without compiling.",
        {"help": calls, "rounds": rounds, "batch": 32, "timesteps": 6, "hidden": 4096} if not quick else {},
    )
    help_seconds()  # reads the files from the disk
    section.add("hiresnn --help", {UNIT: spread([help_seconds() for _ in range(calls)])})
    seconds: dict[str, list[float]] = {EMPTY: [], FILLED: [], EAGER: []}
    for turn in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for name in seconds:
                options = (*tiny, "--eager") if name == EAGER else tiny
                seconds[name].append(first_step_seconds(Path(folder), *options))
                say(f"  round {turn + 1} of {rounds}: {name}")
    for name, values in seconds.items():
        section.add(name, {UNIT: spread(values)})
    section.at_most("hiresnn --help", section.median("hiresnn --help", UNIT), 0.5, " s")
    share = over(section.median(FILLED, UNIT), section.median(EMPTY, UNIT))
    cost = (section.median(FILLED, UNIT) or 0) - (section.median(EAGER, UNIT) or 0)
    section.notes.append(
        f"With a filled cache the first step takes {100 * (share or 0):.0f} % of the time with an empty one; "
        f"what compiling still adds to a start is {cost:.1f} s."
    )
    return section


if __name__ == "__main__":
    import plug
    import torch

    torch.manual_seed(0)
    sizes, width = ((2, 2, 16), 0.125) if "--tiny" in sys.argv else ((32, 6, 4096), 1.0)
    plug.step(*sizes, width=width, fused="--eager" not in sys.argv)()
    print("done", flush=True)
