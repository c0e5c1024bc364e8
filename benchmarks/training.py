"""Sections `step` and `sweep`: the time of one training step, at the paper's size and over T, batch and width.

A step is zero_grad, forward over all timesteps, cross-entropy, backward, SGD with momentum, on random images.
"""

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import product
from pathlib import Path

import plug
import torch
import torch.nn.functional as F
from figures import PEERS, Section, over, spread, versions
from networks import TINY, Dense, Size, SnnTorch, SpikingJelly
from torch import nn
from turns import in_turns, say

Step = Callable[[], float]

FLOOR = "dense float32"
SWEEPS = {"timesteps": (1, 2, 4, 8, 16), "batch": (8, 16, 32, 64), "width": (0.25, 0.5, 1.0)}


def step_of(network: nn.Module, size: Size, device: str = "cpu", *, fused: bool | None = None) -> Step:
    """Return a training step of a network of another library; `plug.step` is that of hiresnn."""
    network.to(device).train()
    images, labels = size.images(device), size.labels(device)
    if isinstance(network, Dense):
        images = images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9, fused=fused)

    def one() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images).float(), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return one


def _ours(size: Size, device: str, *, bfloat16: bool = False) -> Step:
    return plug.step(size.batch, size.timesteps, size.hidden, width=size.width, bfloat16=bfloat16, device=device)


STEPS: dict[str, Callable[[Size, str], Step]] = {
    FLOOR: lambda size, device: step_of(Dense(size), size, device),
    "dense float32, fused SGD": lambda size, device: step_of(Dense(size), size, device, fused=True),
    "dense bfloat16": lambda size, device: step_of(Dense(size, bfloat16=True), size, device),
    "hiresnn float32": lambda size, device: _ours(size, device),
    "hiresnn bfloat16": lambda size, device: _ours(size, device, bfloat16=True),
    PEERS["spikingjelly"]: lambda size, device: step_of(SpikingJelly(size), size, device),
    PEERS["snntorch"]: lambda size, device: step_of(SnnTorch(size), size, device),
}
"""Candidate -> (size, device) -> a step."""


def candidates(size: Size, names: Sequence[str] = tuple(STEPS), device: str = "cpu") -> dict[str, Step]:
    """Return the steps of the installed candidates, each from the same seed."""
    missing = {PEERS[peer] for peer, found in versions().items() if found is None}
    steps: dict[str, Step] = {}
    for name in names:
        if name not in missing:
            torch.manual_seed(0)
            steps[name] = STEPS[name](size, device)
    return steps


PRECISIONS = {"hiresnn float32": False, "hiresnn bfloat16": True}

WORKER = """
import sys, torch
sys.path[:0] = sys.argv[1:3]
import plug
torch.manual_seed(0)
one = plug.step({batch}, {timesteps}, {hidden}, width={width}, bfloat16={bfloat16})
for line in sys.stdin:
    print(one(), flush=True)
"""


@contextmanager
def in_own_processes(versions: Mapping[str, Path], size: Size) -> Iterator[Mapping[str, Step]]:
    """Steps of several versions, each in its own process because one process can import only one hiresnn.

    Args:
        versions: what is added to the candidate's name -> the `src` folder of a checkout, whose `benchmarks/plug.py`
            makes the step.
    """
    workers: dict[str, subprocess.Popen[str]] = {}
    for (name, bfloat16), (version, source) in product(PRECISIONS.items(), versions.items()):
        code = WORKER.format(**vars(size), bfloat16=bfloat16)
        words = [sys.executable, "-c", code, str(source), str(source.parent / "benchmarks")]
        workers[name + version] = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def step_in(worker: subprocess.Popen[str]) -> float:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write("step\n")
        return float(worker.stdout.readline())

    try:
        yield {name: partial(step_in, worker) for name, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.communicate()


def measure_step(quick: bool, before: Path | None = None) -> Section:
    """All candidates at batch 32, T = 6, hidden 4096, and hiresnn as it was in the checkout of `before`."""
    size = TINY if quick else Size(hidden=4096)
    rounds, warmup = (1, 1) if quick else (9, 3)
    section = Section(
        "Training step",
        "The paper's VGG5 on random images: zero_grad, forward over all timesteps, cross-entropy, backward, SGD with "
        "momentum. `dense` has the same convolutions and linear layers, but no neurons. hiresnn uses torch's fused "
        "SGD, as `hiresnn train` does, which saves passes over the weights; the others use torch's default, as their "
        "users do. To see the cost of the neurons, compare hiresnn with `dense float32, fused SGD`. `before` is an "
        "earlier version of hiresnn (`--before`).",
        {**vars(size), "rounds": rounds, "warmup": warmup},
        ratio="of dense float32",
    )
    section.leave_out("spikingjelly", "snntorch")
    own = {", own process": Path(__file__).parents[1] / "src", ", before": before} if before else {}
    with in_own_processes(own, size) as others:
        seconds = in_turns({**candidates(size), **others}, rounds=rounds, warmup=warmup)
    found = {name: spread(values, 1e3) for name, values in seconds.items()}
    for name, times in found.items():
        section.add(name, {"ms": times}, times["median"] / found[FLOOR]["median"])
    floor = section.median("dense float32, fused SGD", "ms")
    for name, most in zip(PRECISIONS, (1.05, 0.60), strict=True):
        what = f"time of {name} over dense float32 with fused SGD"
        section.at_most(what, over(section.median(name, "ms"), floor), most)
    for name in PRECISIONS if before else ():
        now, was = (section.median(name + version, "ms") for version in (", own process", ", before"))
        what = f"time of {name} over the version before (each in its own process)"
        section.at_most(what, over(now, was), 1.02)
    return section


def measure_sweep(quick: bool) -> Section:
    """Over T, batch and width one at a time, the others at T = 6, batch 32, width 1."""
    base = TINY if quick else Size()
    rounds, warmup = (1, 1) if quick else (3, 1)
    sweeps = {"timesteps": (1, 2), "batch": (2, 4), "width": (0.125, 0.25)} if quick else SWEEPS
    names = (FLOOR, "hiresnn float32", "hiresnn bfloat16", PEERS["spikingjelly"])
    section = Section(
        "Training step over T, batch and width",
        f"The step above, with one size changed at a time. To save time the hidden layers have {base.hidden} "
        "neurons, not 4096; over the width they are scaled with the channels.",
        {**vars(base), "over": sweeps, "rounds": rounds, "warmup": warmup},
        ratio="of dense float32",
    )
    section.leave_out("spikingjelly")
    for over_what, values in sweeps.items():
        for value in values:
            size = base.at(**{over_what: value})
            if over_what == "width":
                size = size.at(hidden=round(base.hidden * value / base.width))
            say(f"  {over_what} {value:g}")
            seconds = in_turns(candidates(size, names), rounds=rounds, warmup=warmup)
            found = {name: spread(times, 1e3) for name, times in seconds.items()}
            for name, times in found.items():
                section.add(name, {"ms": times}, times["median"] / found[FLOOR]["median"], over=over_what, value=value)
            gc.collect()  # frees reference cycles before the next size
    return section
