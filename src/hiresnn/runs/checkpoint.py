"""Networks on disk: weights as safetensors, the architecture as JSON in their header. Nothing is pickled."""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import nn

from hiresnn.errors import RunError, UsageError
from hiresnn.models import build
from hiresnn.network import SpikingNetwork, spiking_graph
from hiresnn.neurons import Linear
from hiresnn.runs.atomic import write_atomically

FORMAT = 1


def save(model: nn.Module, path: str | Path) -> None:
    """Write a network made by `hiresnn.models.build` or `hiresnn.convert`, whole or not at all.

    A converted network of a user's own ANN is saved too; `load` then needs that ANN for its structure.

    Raises:
        UsageError: a spiking network whose neurons differ in reset or surrogate, or use an own surrogate.
        RunError: the file cannot be written.
    """
    header: dict[str, Any] = {"format": FORMAT, "spec": getattr(model, "spec", None)}
    if isinstance(model, SpikingNetwork):
        header["spiking"] = _describe(model)
    elif header["spec"] is None:
        raise UsageError(f"{type(model).__name__} is no hiresnn network; save its state_dict yourself.")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(Path(path), to_bytes(tensors, metadata={"hiresnn": json.dumps(header)}))


def load(path: str | Path, *, ann: nn.Module | None = None) -> nn.Module:
    """Read a network in eval mode, on the CPU: an ANN or a `SpikingNetwork`, as it was saved.

    Args:
        ann: the structure of a user's own network; its weights do not matter. Built-in models need none.

    Raises:
        RunError: no such file, a file cut short, not by hiresnn, or weights of another architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise RunError(f"there is no file {path}; name a model.safetensors that hiresnn wrote.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is damaged or cut short ({error}); copy or train it again.") from None
    try:
        header = json.loads(metadata["hiresnn"])
        if header["format"] > FORMAT:
            raise RunError(f"{path} has format {header['format']}, this hiresnn reads up to {FORMAT}; update hiresnn.")
        spec, spiking = header["spec"], header.get("spiking")
        if spec is None and ann is None:
            raise RunError(f"{path} holds a network of your own; pass its ANN: hiresnn.load(path, ann=...).")
        model: nn.Module = ann if ann is not None else build(**spec)
        if spiking is not None:
            model = _spiking(model, spiking)
    except (KeyError, ValueError, TypeError):
        raise RunError(f"{path} was not written by hiresnn.save: its header does not describe a network.") from None
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise RunError(f"{path} belongs to another architecture: {reason}") from None
    return model.eval()


def _describe(network: SpikingNetwork) -> dict[str, Any]:
    kinds = {(lif.reset, lif.surrogate, lif.leak.requires_grad) for lif in network.neurons.values()}
    if len(kinds) != 1:
        raise UsageError("the neurons differ in reset, surrogate or trainability; a file holds one kind.")
    ((reset, surrogate, trainable),) = kinds
    if not isinstance(surrogate, Linear):
        raise UsageError(f"the surrogate is {surrogate!r}; a file holds the linear rule of Eq. 5 alone.")
    return {
        "timesteps": network.timesteps,
        "encoding": network.encoding.encoding,
        "reset": reset,
        "gamma": surrogate.gamma,
        "width": surrogate.width,
        "trainable": trainable,
    }


def _spiking(ann: nn.Module, kind: dict[str, Any]) -> SpikingNetwork:
    network = spiking_graph(
        ann,
        kind["timesteps"],
        reset=kind["reset"],
        surrogate=Linear(kind["gamma"], kind["width"]),
        encoding=kind["encoding"],
    )
    network.train_neurons_(kind["trainable"])
    return network


def resume_bytes(state: dict[str, Any]) -> bytes:
    """A training state (tensors, numbers, text, lists and dicts of them) as bytes for `read_resume`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def read_resume(path: Path) -> dict[str, Any]:
    """Read a training state; torch's loader is restricted to data, so the file cannot run code.

    Raises:
        RunError: the file is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of a foreign pickle before it refuses it
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}); delete it to train from the start.") from None
    if not isinstance(state, dict):
        raise RunError(f"{path} is no training state; delete it to train from the start.")
    return state
