"""`hiresnn quickstart`: the first training and attack; `hiresnn doctor`: checks of the machine, and what to do."""

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer
from rich.text import Text

from hiresnn.cli.common import Source, display
from hiresnn.errors import DataError, UsageError, command_line, in_a_line, install_command
from hiresnn.process import keep_kernels
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
    """The outcome of one check: `ok`, `slow` (takes more time), `absent` (an option) or `broken` (must be fixed)."""

    verdict: Literal["ok", "slow", "absent", "broken"]
    detail: str


COLOURS = {"ok": "green", "slow": "yellow", "absent": "yellow", "broken": "red"}


def doctor(
    data: Source = None,
    size: Annotated[int | None, typer.Option(min=1, metavar="N")] = None,
    compile: Annotated[bool, typer.Option("--compile")] = False,
) -> None:
    """Check this machine and, with --data, a folder of images; say what to do about each problem.

    The rows say ok, slow (works, but takes more time), absent (what an optional feature needs) or broken, which gives
    the exit code 1. Example: hiresnn doctor --data my_images/

    Options:
        data: Also read these images, and list every file that cannot be used.
        size: Read them as --set data.size=N of hiresnn train does: scaled, and cropped to squares of N pixels.
        compile: Also compile a function with torch.compile, which takes ten seconds the first time.
    """
    if size is not None and data is None:
        raise UsageError("--size is that of the images of --data; name them, or leave it out.")
    checks = {**CHECKS, **({"torch.compile": _torch_compile} if compile else {})}
    broken = []
    for name, check in checks.items():
        try:
            finding = check()
        except Exception as error:  # an unexpected failure of a check is a finding too
            finding = Finding("broken", in_a_line(error))
        _print(name, finding)
        broken += [name] if finding.verdict == "broken" else []
    for finding in () if data is None else _data(data, size):
        _print("data", finding)
        broken += ["data"] if finding.verdict == "broken" and "data" not in broken else []
    if broken:
        print(f"Broken: {', '.join(broken)}.", file=sys.stderr)
        raise typer.Exit(1)


def _print(name: str, finding: Finding) -> None:
    verdict = (f"{finding.verdict:<8}", COLOURS[finding.verdict])
    display(Text.assemble(f"{name:<15}", verdict, finding.detail), soft_wrap=True)


def _data(source: str, size: int | None) -> Iterator[Finding]:
    """Yield what is in a data set, and each of its files that cannot be used."""
    from hiresnn.data.sources import load, read_folder

    path, problems = Path(source).expanduser(), list[str]()
    try:
        dataset, problems = read_folder(path, size) if path.is_dir() else (load(source, size=size), problems)
    except DataError as error:
        yield from (Finding("broken", line) for line in str(error).splitlines())
        return
    if problems:
        yield Finding("broken", f"without the files below: {dataset.summary}")
    else:
        yield Finding("ok", dataset.summary)
    yield from (Finding("broken", problem) for problem in problems)


def _versions() -> Finding:
    return Finding("ok", ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision")))


def _extra(name: str, use: str, *modules: str) -> Callable[[], Finding]:
    """Return the check of an extra of hiresnn: nothing is imported."""

    def check() -> Finding:
        absent = [module for module in modules if importlib.util.find_spec(module) is None]
        if not absent:
            return Finding("ok", use)
        return Finding("absent", f"{', '.join(absent)}: for {use}; run: {install_command(name)}")

    return check


def _threads() -> Finding:
    import torch

    return Finding("ok", f"{torch.get_num_threads()} of {os.cpu_count()} cores; OMP_NUM_THREADS changes it")


def _compiler() -> Finding:
    """Compile a C++ function with the headers that torch.compile needs: a tenth of the time that it would take."""
    compiler = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
    if compiler is None:
        return Finding("slow", "no C++ compiler, so neurons run eagerly; install g++ for fused neurons")
    headers = ("-I", sysconfig.get_path("include"))
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "twice.cpp"), Path(folder, "twice.so")
        source.write_text('#include <Python.h>\n#include <omp.h>\nextern "C" int twice(int x) { return 2 * x; }\n')
        command = [compiler, "-shared", "-fPIC", "-fopenmp", *headers, str(source), "-o", str(library)]
        compiled = subprocess.run(command, capture_output=True, text=True)
        if compiled.returncode:
            reason = next((line for line in compiled.stderr.splitlines() if "error" in line), "it gives no reason")
            return Finding("slow", f"{compiler} fails, so neurons run eagerly; install what it misses: {reason}")
        if ctypes.CDLL(str(library)).twice(21) != 42:
            return Finding("broken", f"{compiler} compiles a wrong program; set compile = never")
    return Finding("ok", f"{compiler} works, so neurons can be compiled; --compile tries torch.compile as well")


def _torch_compile() -> Finding:
    import torch

    keep_kernels()
    try:
        # `dynamic` skips a second compilation; the cache of torch keeps this check short the next time.
        doubled = torch.compile(lambda values: values * 2, dynamic=False)(torch.arange(4.0))
    except Exception as error:
        return Finding("slow", f"it fails, so neurons run eagerly: {in_a_line(error)}")
    if doubled.tolist() != [0, 2, 4, 6]:
        return Finding("broken", "it computes wrong values; set compile = never")
    return Finding("ok", "it works")


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
    "cache": _cache,
    "nir": _extra("nir", "export --to nir", "nir"),
    "onnx": _extra("onnx", "export --to onnx", "onnx", "onnxscript", "onnxruntime"),
    "hub": _extra("hub", "publish, and from_pretrained of a hub", "huggingface_hub"),
    "tensorboard": _extra("tensorboard", "train --log tensorboard", "tensorboard"),
    "autoattack": _extra("autoattack", "--attack autoattack", "pyautoattack"),
    "paper": _extra("paper", "figures of the paper, of analyze conversion and in notebooks", "matplotlib", "joblib"),
    "compiler": _compiler,
    "bfloat16": _bfloat16,
    "threads": _threads,
    "CUDA": _cuda,
    "neuron": _neuron,
}
