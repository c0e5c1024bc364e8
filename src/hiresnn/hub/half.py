"""Store the weights of a run as float16, in half the bytes: before its audit, so that all numbers are those of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from hiresnn import data
from hiresnn.data import Batches, Split
from hiresnn.errors import RunError, UsageError
from hiresnn.runs.atomic import write_atomically
from hiresnn.runs.checkpoint import checksum, load
from hiresnn.runs.folder import ENVIRONMENT, METRICS, MODEL, RECIPE, RunFolder

NOTE = "weights"
"""Key of environment.json that says how the weights were rounded."""


def half(run: Path, out: Path, *, source: str | None = None) -> str:
    """Write the run in `run` to the new folder `out` with weights in float16; returns what changed, in a sentence.

    Only weights of layers are rounded; biases, thresholds and leaks stay as they are. A network loads in float32. The
    results and the audit of the run are not copied, because they are those of other weights.

    Args:
        source: the data whose test images are classified by both networks; None takes those of the recipe.

    Raises:
        RunError: the run has no network, or a weight is too large for float16.
        UsageError: `out` exists.
    """
    folder = RunFolder.open(run)
    path = folder.require(MODEL)
    if out.exists():
        raise UsageError(f"{out} exists and is not replaced; name a new folder.")
    before = load(path)
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["hiresnn"])
        tensors = {name: _rounded(file.get_tensor(name), f"{path}: {name}") for name in file.keys()}  # noqa: SIM118
    header["checksum"] = checksum(tensors)
    test = data.load(source or folder.recipe.data.source).test
    out.mkdir(parents=True)
    write_atomically(out / MODEL, to_bytes(tensors, metadata={"hiresnn": json.dumps(header)}))
    changed = int((_classes(before, test) != _classes(load(out / MODEL), test)).sum())
    note = (
        f"float16; {changed} of {len(test):,} test images get another class than with the float32 weights of training"
    )
    environment = folder.read_json(ENVIRONMENT) if folder.has(ENVIRONMENT) else {}
    write_atomically(out / ENVIRONMENT, (json.dumps({**environment, NOTE: note}, indent=2) + "\n").encode())
    for name in (METRICS, RECIPE):
        if folder.has(name):
            shutil.copyfile(run / name, out / name)
    return note


def _rounded(tensor: Tensor, where: str) -> Tensor:
    if tensor.dim() < 2 or tensor.dtype != torch.float32:
        return tensor
    rounded = tensor.half()
    if not rounded.isfinite().all():
        raise RunError(f"{where} has values above 65,504, the largest of float16; keep this run in float32.")
    return rounded


@torch.no_grad()
def _classes(network: nn.Module, split: Split) -> Tensor:
    return torch.cat([network(images).argmax(1) for images, _ in Batches(split, 200)])
