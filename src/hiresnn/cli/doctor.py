"""`hiresnn doctor`: checks of the machine, and what to do where one fails."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from hiresnn.cli import output
from hiresnn.errors import in_a_line


class Finding(NamedTuple):
    """The outcome of one check: `ok`, `slow` (works, but takes more time) or `broken` (must be fixed)."""

    verdict: str
    detail: str


def doctor() -> None:
    """Check this machine: Python, torch, threads, compiler, bfloat16, CUDA, cache, and the result of one neuron.

    The table says for each of them ok, slow (works, but takes more time) or broken, and what to do. The exit code is 1
    if something is broken.

    Example: hiresnn doctor
    """
    findings = {name: _guarded(check) for name, check in CHECKS.items()}
    shown = Table(show_header=False, box=None, padding=(0, 2))
    for name, finding in findings.items():
        colour = {"ok": "green", "slow": "yellow", "broken": "red"}[finding.verdict]
        shown.add_row(name, Text(finding.verdict, colour), finding.detail)
    output.console().print(shown)
    broken = [name for name, finding in findings.items() if finding.verdict == "broken"]
    if broken:
        print(f"Broken: {', '.join(broken)}.", file=sys.stderr)
        raise typer.Exit(1)


def _guarded(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # an unexpected failure of a check is a finding too
        return Finding("broken", in_a_line(error))


def check_python() -> Finding:
    """Report the interpreter."""
    return Finding("ok", f"{sys.version.split()[0]} at {sys.executable}")


def check_torch() -> Finding:
    """Check that torch and torchvision can be imported."""
    import torch
    import torchvision

    return Finding("ok", f"torch {torch.__version__}, torchvision {torchvision.__version__}")


def check_threads() -> Finding:
    """Report the threads that torch uses."""
    import torch

    return Finding("ok", f"{torch.get_num_threads()} of {os.cpu_count()} cores; OMP_NUM_THREADS changes it")


def check_compile() -> Finding:
    """Check that torch.compile builds and runs a small function."""
    import torch

    named = os.environ.get("CXX", "g++")
    found = shutil.which(named) or shutil.which("clang++")
    if found is None:
        return Finding("slow", "no C++ compiler, so neurons run eagerly; install g++ for fused neurons")
    # `dynamic` skips a second compilation; the cache of torch keeps this check short the next time.
    doubled = torch.compile(lambda values: values * 2 + 1, dynamic=False)
    try:
        right = bool((doubled(torch.arange(4.0)) == torch.tensor([1.0, 3.0, 5.0, 7.0])).all())
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return Finding("slow", f"torch.compile fails with {found}, so neurons run eagerly: {first}")
    if not right:
        return Finding("broken", f"torch.compile with {found} computes wrong values; set compile = never")
    return Finding("ok", f"torch.compile works with {found}")


def check_bfloat16() -> Finding:
    """Check whether the processor has bfloat16 instructions."""
    from hiresnn.app.folder import cpu_flags, cpu_model

    sets = sorted(flag for flag in cpu_flags() if flag in ("amx_bf16", "avx512_bf16"))
    if sets:
        return Finding("ok", f"{cpu_model()}: {', '.join(sets)}")
    return Finding("slow", f"{cpu_model()}: not in hardware, so precision = float32 is the faster one")


def check_cuda() -> Finding:
    """Report the GPU that torch sees."""
    import torch

    if not torch.cuda.is_available():
        return Finding("slow", "no GPU that torch can use; the -cpu recipes are sized for that")
    return Finding("ok", torch.cuda.get_device_name(0))


def check_cache() -> Finding:
    """Check that the cache folder for downloads can be written. Writes nothing."""
    from hiresnn.process import cache_folder

    folder = cache_folder()
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        return Finding("broken", f"{folder} cannot be written; set HIRESNN_CACHE to a folder that can")
    return Finding("ok", str(folder))


def check_neuron() -> Finding:
    """Check a neuron by hand: 0.6 per step at threshold 1 without leak, so u = 0.6, 1.2, 0.8, 1.4: two spikes."""
    import torch
    from torch import nn

    import hiresnn

    ann = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    for parameter in ann.parameters():
        nn.init.ones_(parameter)
    image = torch.full((1, 1, 1, 1), 0.6)
    network = hiresnn.convert(ann, image, timesteps=4, leak=1.0)
    with torch.no_grad():
        for neuron in network.neurons.values():
            neuron.threshold.fill_(1.0)
        spikes = float(network(image))
    if spikes != 2.0:
        return Finding("broken", f"a neuron that must spike 2 times in 4 steps gave {spikes:g}")
    return Finding("ok", "a neuron spikes 2 times in 4 steps, as worked out by hand")


CHECKS: dict[str, Callable[[], Finding]] = {
    "Python": check_python,
    "torch": check_torch,
    "threads": check_threads,
    "compiler": check_compile,
    "bfloat16": check_bfloat16,
    "CUDA": check_cuda,
    "cache": check_cache,
    "neuron": check_neuron,
}
