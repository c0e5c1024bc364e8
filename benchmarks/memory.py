"""Section `memory`: the peak memory of a training step over T, and what recomputation saves and costs.

    python benchmarks/memory.py CANDIDATE --timesteps 8

measures one candidate in this process and prints JSON; the section starts a fresh process for each figure. The peak
is that of resident memory, above what the process holds just before the step: activations, gradients and what the
backward pass needs. The optimiser is left out, because it is the same for all.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from figures import PEERS, Section, over, spread, versions
from networks import TINY, Size, SpikingJelly, ours
from torch import nn
from turns import say

from hiresnn.process import keep_memory

MIB = 2**20
BLOCK = 65_536
"""Bytes from which a freed block goes back to the system, so that what is resident is what is in use."""
RECOMPUTING = "hiresnn, recomputing"
NETWORKS: dict[str, Callable[[Size], nn.Module]] = {
    "hiresnn": ours,
    RECOMPUTING: lambda size: ours(size).recompute(True),
    PEERS["spikingjelly"]: SpikingJelly,
}


def resident(field: str) -> int:
    """Return VmRSS or VmHWM of this process in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return next(1024 * int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{field}:"))


def one(name: str, size: Size, rounds: int) -> dict[str, list[float]]:
    """Return peak bytes and seconds of `rounds` steps in this process.

    Memory is read while freed blocks return to the system; time while they stay allocated, as in training.
    """
    torch.manual_seed(0)
    network = NETWORKS[name](size).train()
    images, labels = size.images(), size.labels()

    def step() -> None:
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        loss.item()

    def fresh() -> None:
        network.zero_grad(set_to_none=True)

    peaks, seconds = [], []
    for warm in (True, True, *[False] * rounds):
        fresh()
        before = resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
        step()
        if not warm:
            peaks.append(resident("VmHWM") - before)
    keep_memory()
    for warm in (True, True, *[False] * rounds):
        fresh()
        start = time.perf_counter()
        step()
        if not warm:
            seconds.append(time.perf_counter() - start)
    return {"bytes": peaks, "seconds": seconds}


def in_fresh_process(name: str, size: Size, rounds: int) -> dict[str, list[float]]:
    """Return what `one` returns, from a fresh process."""
    words = [sys.executable, __file__, name, "--rounds", str(rounds)]
    for key, value in vars(size).items():
        words += [f"--{key}", str(value)]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(BLOCK), "MALLOC_TRIM_THRESHOLD_": str(BLOCK)}
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_memory(quick: bool) -> Section:
    """Measure every candidate at every T, each in its own process."""
    size = TINY if quick else Size()
    rounds = 1 if quick else 3
    timesteps = (2, 4) if quick else (2, 4, 8, 16, 32)
    section = Section(
        "Memory over T",
        f"Forward and backward of the paper's VGG5, float32, batch {size.batch}, hidden {size.hidden}: the peak of "
        "resident memory above that before the step, and the time of the step, each candidate in a fresh process at "
        "each T. Recomputing stores less between forward and backward pass and repeats part of the forward pass.",
        {**vars(size), "over": {"timesteps": timesteps}, "rounds": rounds},
    )
    names = ["hiresnn", RECOMPUTING]
    section.leave_out("spikingjelly")
    if versions()["spikingjelly"]:
        names.append(PEERS["spikingjelly"])
    for count in timesteps:
        for name in names:
            found = in_fresh_process(name, size.at(timesteps=count), rounds)
            measures = {"MiB": spread(found["bytes"], 1 / MIB), "ms": spread(found["seconds"], 1e3)}
            section.add(name, measures, timesteps=count)
            say(f"  T = {count}: {name}")

    def most(name: str) -> float | None:
        return section.median(name, "MiB", timesteps=timesteps[-1])

    peer = most(PEERS["spikingjelly"])
    what = f"memory of hiresnn at T = {timesteps[-1]} over SpikingJelly (multi-step)"
    section.at_most(what, over(most("hiresnn"), peer), 0.5)
    section.notes += [_trade(section, count) for count in timesteps]
    return section


def _trade(section: Section, count: int) -> str:
    memory, longer = (
        over(section.median(RECOMPUTING, unit, timesteps=count), section.median("hiresnn", unit, timesteps=count)) or 0
        for unit in ("MiB", "ms")
    )
    return f"Recomputing at T = {count} needs {memory:.2f} times the memory and {longer:.2f} times the time."


def main() -> None:
    cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_argument("candidate", choices=list(NETWORKS))
    cli.add_argument("--rounds", type=int, default=3)
    kinds: dict[str, type[Any]] = {"batch": int, "timesteps": int, "hidden": int, "width": float}
    for name, kind in kinds.items():
        cli.add_argument(f"--{name}", type=kind, default=getattr(Size(), name))
    asked = cli.parse_args()
    size = Size(**{name: getattr(asked, name) for name in kinds})
    print(json.dumps(one(asked.candidate, size, asked.rounds)))


if __name__ == "__main__":
    main()
