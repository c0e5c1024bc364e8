"""Campaign "long": memory stays flat over many epochs and attacks; where one of several processes dies, all end."""

from __future__ import annotations

import gc
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.torture.harness import Case, in_child
from tests.torture.workshop import tiny_recipe

GROWTH = 48 << 20
"""Bytes by which the peak of a process may grow after its warm-up."""


def cases(seed: int, folder: Path) -> Iterator[Case]:
    """Two cases on memory, then deaths of one of two or three processes at random moments."""
    draw = random.Random(seed)
    yield Case("long", "memory over 300 epochs", lambda: in_child(lambda: _epochs(folder), seconds=600).complaint(0))
    yield Case("long", "memory over 3,000 attacks", lambda: in_child(_attacks, seconds=600).complaint(0))
    for size in (2, 3, 2, 3):
        yield Case("long", f"one of {size} processes dies", _death(folder, size, draw.random()))


def _peak() -> int:
    gc.collect()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _epochs(folder: Path) -> None:
    from hiresnn.app.recipe import read
    from hiresnn.app.train import train
    from hiresnn.progress import Progress

    run = Path(tempfile.mkdtemp(dir=folder))
    peaks = []
    for epochs in (40, 300):
        recipe = tiny_recipe(run / f"{epochs}.toml", snn__epochs=str(epochs), ann__epochs="1")
        train(read(str(recipe)), out=run / f"runs-{epochs}" / "run", progress=Progress(quiet=True))
        peaks.append(_peak())
    assert peaks[1] - peaks[0] < GROWTH, f"300 epochs take {(peaks[1] - peaks[0]) >> 20} MiB more than 40"


def _attacks() -> None:
    import torch

    import hiresnn

    torch.manual_seed(0)
    ann = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    images, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 3
    snn = hiresnn.convert(ann, images, timesteps=4)
    peaks = []
    for count in (500, 3000):
        for _ in range(count):
            hiresnn.attacks.pgd(snn, images, labels, iterations=1)
        peaks.append(_peak())
    assert peaks[1] - peaks[0] < GROWTH, f"3,000 attacks take {(peaks[1] - peaks[0]) >> 20} MiB more than 500"


def _death(folder: Path, size: int, moment: float) -> Callable[[], str | None]:
    def run() -> str | None:
        work = Path(tempfile.mkdtemp(dir=folder))
        tiny_recipe(work / "tiny.toml", ann__epochs="400")
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size), "-m"]
        process = subprocess.Popen(
            [sys.executable, *launcher, "hiresnn", "train", "tiny.toml", "--out", "runs/run", "--quiet"],
            cwd=work,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            text=True,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        deadline = time.monotonic() + 120
        while (
            not list(work.glob("runs/ann/*/metrics.jsonl")) and time.monotonic() < deadline and process.poll() is None
        ):
            time.sleep(0.05)
        time.sleep(moment)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if not children:
            return f"no process was found to kill: {process.communicate()[0][-300:]}"
        os.kill(int(children[-1]), signal.SIGKILL)
        try:
            output = process.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "the other processes did not end within a minute"
        if "gloo" in output.lower() and "Traceback" in output:
            return f"a traceback of gloo: {output[-300:]}"
        return None if "process" in output else f"no sentence on what happened: {output[-300:]}"

    return run
