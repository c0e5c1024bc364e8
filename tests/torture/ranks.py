"""Campaign "ranks": 1, 2 and 3 processes train the same network; where one dies, the others end with a sentence."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.torture.harness import Case
from tests.torture.workshop import tiny_recipe

IMAGES = ("120", "121", "83", "41")
"""Training images in batches of 40: whole batches, and last batches of 1, 3 and 1 images."""


def cases(seed: int, folder: Path) -> Iterator[Case]:
    """Equal networks for every count of images, method and number of processes, then deaths at random moments."""
    draw = random.Random(seed)
    for method in ("hire", "traditional"):
        for images in IMAGES:
            for size in (2, 3):
                name = f"{method}, {images} images, {size} processes"
                yield Case("ranks", name, _equal(folder, method, images, size))
    for number in range(6):
        yield Case("ranks", f"one of {2 + number % 2} processes dies", _death(folder, 2 + number % 2, draw.random()))


def start(folder: Path, size: int, out: str, *more: str) -> subprocess.Popen[str]:
    """`hiresnn train` with `size` processes, in a session of its own."""
    launcher = [] if size == 1 else ["torch.distributed.run", "--nproc-per-node", str(size), "--master-port", "0", "-m"]
    if size > 1:
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(size), "-m"]
    command = [sys.executable, "-m", *launcher, "hiresnn", "train", "tiny.toml", "--out", out, "--quiet", *more]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _equal(folder: Path, method: str, images: str, size: int) -> Callable[[], str | None]:
    def run() -> str | None:
        import torch

        from hiresnn.app.networks import load

        place = Path(tempfile.mkdtemp(dir=folder))
        tiny_recipe(place / "tiny.toml", method=f'"{method}"', model__dropout="0.0", data__train_images=images)
        states = []
        for count in (1, size):
            process = start(place, count, f"runs-{count}/run")
            output = process.communicate(timeout=300)[0]
            if process.returncode:
                return f"{count} processes end with code {process.returncode}: {output[-400:]}"
            states.append(load(place / f"runs-{count}" / "run" / "model.safetensors").state_dict())
        worst = max(float((states[0][name] - states[1][name]).abs().max()) for name in states[0])
        close = all(torch.allclose(states[0][name], states[1][name], rtol=1e-3, atol=1e-4) for name in states[0])
        return None if close else f"the weights differ by {worst:.2g}"

    return run


def _death(folder: Path, size: int, moment: float) -> Callable[[], str | None]:
    def run() -> str | None:
        place = Path(tempfile.mkdtemp(dir=folder))
        tiny_recipe(place / "tiny.toml", ann__epochs="400")
        process = start(place, size, "runs/run")
        metrics = place / "runs" / "ann"
        deadline = time.monotonic() + 120
        while not list(metrics.glob("*/metrics.jsonl")) and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        time.sleep(moment)
        children = _children(process.pid)
        if not children:
            process.communicate()
            return "no process was found to kill"
        os.kill(children[-1], signal.SIGKILL)
        try:
            output = process.communicate(timeout=60)[0]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "the other processes did not end within a minute"
        ours = [line for line in output.splitlines() if "gloo" in line.lower() and "Traceback" in output]
        if ours:
            return f"a traceback of gloo: {ours[-1][:200]}"
        return None if "process" in output else f"no sentence on what happened: {output[-300:]}"

    return run


def _children(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(word) for word in text.split()]
