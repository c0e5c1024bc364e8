"""`hiresnn quickstart`: the first training and attack; `hiresnn doctor`: checks of the machine, and what to do."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from hiresnn.cli.common import display
from hiresnn.errors import command_line, in_a_line
from hiresnn.progress import Progress


def quickstart(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR")] = Path("runs/quickstart"),
    seed: Annotated[int, typer.Option(metavar="N", min=0)] = 0,
) -> None:
    """Train an ANN and three SNNs on handwritten digits, attack them, and print a table.

    One SNN is trained traditionally, one by HIRE-SNN, and one is converted from an ANN trained on adversarial examples.
    Two cores need one to two minutes. The table shows accuracies on clean images and under FGSM and PGD, white and
    black box. A second call with the same options trains nothing.

    Options:
        out: Folder for the run folders, one per method and seed.
        seed: Seed of all random numbers.
    """
    from hiresnn.app.quickstart import quickstart as run

    text = run(out, seed=seed, progress=Progress())
    hire, robust = (out / f"{row}-seed{seed}" for row in ("hire", "robust"))
    print(f"{text}\nNext: {command_line('audit', hire)}\n      {command_line('audit', robust)}")


class Finding(NamedTuple):
    """The outcome of one check: `ok`, `slow` (works, but takes more time) or `broken` (must be fixed)."""

    verdict: Literal["ok", "slow", "broken"]
    detail: str


def doctor() -> None:
    """Check this machine: Python, torch, threads, compiler, bfloat16, CUDA, cache, and the result of one neuron.

    The table says ok, slow (works, but takes more time) or broken, and what to do; the last gives the exit code 1.
    """
    table, broken = Table(show_header=False, box=None, padding=(0, 2)), []
    for name, check in CHECKS.items():
        try:
            finding = check()
        except Exception as error:  # an unexpected failure of a check is a finding too
            finding = Finding("broken", in_a_line(error))
        colour = {"ok": "green", "slow": "yellow", "broken": "red"}[finding.verdict]
        table.add_row(name, Text(finding.verdict, colour), finding.detail)
        broken += [name] if finding.verdict == "broken" else []
    display(table)
    if broken:
        print(f"Broken: {', '.join(broken)}.", file=sys.stderr)
        raise typer.Exit(1)


def _versions() -> Finding:
    import torch
    import torchvision

    return Finding("ok", f"torch {torch.__version__}, torchvision {torchvision.__version__}")


def _threads() -> Finding:
    import torch

    return Finding("ok", f"{torch.get_num_threads()} of {os.cpu_count()} cores; OMP_NUM_THREADS changes it")


def _compiler() -> Finding:
    import torch

    compiler = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
    if compiler is None:
        return Finding("slow", "no C++ compiler, so neurons run eagerly; install g++ for fused neurons")
    try:
        # `dynamic` skips a second compilation; the cache of torch keeps this check short the next time.
        doubled = torch.compile(lambda values: values * 2, dynamic=False)(torch.arange(4.0))
    except Exception as error:
        return Finding("slow", f"torch.compile fails with {compiler}, so neurons run eagerly: {in_a_line(error)}")
    if doubled.tolist() != [0, 2, 4, 6]:
        return Finding("broken", f"torch.compile with {compiler} computes wrong values; set compile = never")
    return Finding("ok", f"torch.compile works with {compiler}")


def _bfloat16() -> Finding:
    from hiresnn.app.folder import cpu_flags, cpu_model

    if sets := sorted(cpu_flags() & {"amx_bf16", "avx512_bf16"}):
        return Finding("ok", f"{cpu_model()}: {', '.join(sets)}")
    return Finding("slow", f"{cpu_model()}: not in hardware, so precision = float32 is the faster one")


def _cuda() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("ok", torch.cuda.get_device_name(0))
    return Finding("slow", "no GPU that torch can use; the -cpu recipes are sized for that")


def _cache() -> Finding:
    from hiresnn.process import cache_folder

    folder = cache_folder()
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if existing.is_dir() and os.access(existing, os.W_OK):
        return Finding("ok", str(folder))
    return Finding("broken", f"{folder} cannot be written; set HIRESNN_CACHE to a folder that can")


def _neuron() -> Finding:
    """Check a neuron by hand: 0.6 per step at threshold 1 without leak, so u = 0.6, 1.2, 0.8, 1.4: two spikes."""
    import torch
    from torch import nn

    import hiresnn

    ann = nn.Sequential(nn.Flatten(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    image = torch.full((1, 1, 1, 1), 0.6)
    with torch.no_grad():
        for parameter in ann.parameters():
            parameter.fill_(1.0)
        network = hiresnn.convert(ann, image, timesteps=4, leak=1.0)
        for neuron in network.neurons.values():
            neuron.threshold.fill_(1.0)
        spikes = float(network(image))
    if spikes != 2.0:
        return Finding("broken", f"a neuron that must spike 2 times in 4 steps gave {spikes:g}")
    return Finding("ok", "a neuron spikes 2 times in 4 steps, as worked out by hand")


CHECKS: dict[str, Callable[[], Finding]] = {
    "Python": lambda: Finding("ok", f"{sys.version.split()[0]} at {sys.executable}"),
    "torch": _versions,
    "threads": _threads,
    "compiler": _compiler,
    "bfloat16": _bfloat16,
    "CUDA": _cuda,
    "cache": _cache,
    "neuron": _neuron,
}
