"""A network as an ONNX file: images [B, C, H, W] -> logits [B, K], for any B, all timesteps unrolled."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from hiresnn.exchange.compare import Answers, optional, quiet
from hiresnn.exchange.step_graph import require_direct
from hiresnn.files import write_atomically
from hiresnn.network import SpikingNetwork

PRODUCER = "hiresnn"
"""The program that wrote a file, as the file says."""


def write_onnx(network: SpikingNetwork, path: Path, images: Tensor) -> None:
    """Write a network as an ONNX file with input "images" and output "logits".

    Args:
        network: with direct encoding; it does not change.
        images: one or more images of the data set, [B, C, H, W].

    Raises:
        UsageError: a package of the extra "onnx" is missing, or the images are encoded as Poisson spikes.
        RunError: the file cannot be written; what was there is kept.
    """
    for package in ("onnx", "onnxscript"):
        optional(package, "onnx")
    require_direct(network)
    subject = copy.deepcopy(network).cpu().float().eval().fuse(False).requires_grad_(False)
    pair = torch.cat([images[:1]] * 2).cpu().float()  # torch.export takes a dimension of 1 for a constant
    batch = torch.export.Dim("batch", min=1, max=2**20)
    with quiet("torch.onnx", "onnxscript", "onnx_ir"), torch.no_grad():
        program = torch.onnx.export(
            subject, (pair,), dynamo=True, input_names=["images"],
            output_names=["logits"], dynamic_shapes=({0: batch},), verbose=False,
        )  # fmt: skip
        assert program is not None
        model = program.model_proto
    model.producer_name = PRODUCER
    write_atomically(path, model.SerializeToString())


def is_exported_onnx(path: Path) -> bool:
    """Tell whether a file is an ONNX file that `write_onnx` wrote. Raises UsageError if the package onnx is missing."""
    onnx = optional("onnx", "onnx")
    try:
        return bool(onnx.load(path, load_external_data=False).producer_name == PRODUCER)
    except Exception:  # of onnx or protobuf, for whatever else is in the file
        return False


def onnx_runner(path: Path) -> Callable[[Tensor], Answers]:
    """Return a function that computes logits by onnxruntime, on the CPU; UsageError if it is not installed."""
    session = optional("onnxruntime", "onnx").InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Answers:
        (logits,) = session.run(["logits"], {"images": images.cpu().float().numpy()})
        return torch.from_numpy(logits), {}

    return run
