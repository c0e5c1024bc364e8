"""Networks on disk: weights as safetensors, the architecture as JSON in their header. Nothing is pickled."""

from __future__ import annotations

import hashlib
import io
import json
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from hiresnn.errors import HiresnnError, RunError, UsageError
from hiresnn.models import OwnNetwork, build
from hiresnn.network import SpikingNetwork, spiking_graph
from hiresnn.neurons import Condition, Linear, Reset
from hiresnn.runs.atomic import write_atomically
from hiresnn.runs.faults import brief
from hiresnn.runs.weights import kind_refused

FORMAT = 1
SEAL = b"hiresnn-sha256:"
"""Precedes the SHA-256 at the end of a training state; version one wrote none."""


class _Part(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False, frozen=True, extra="forbid")


class Spec(_Part):
    """Arguments of `hiresnn.models.build`. The limits keep the sizes of layers within 64-bit integers."""

    name: str
    num_classes: Annotated[int, Field(ge=1, le=10**6)]
    in_channels: Annotated[int, Field(ge=1, le=10**4)] = 3
    image_size: Annotated[int, Field(ge=1, le=10**4)] = 32
    width: Annotated[float, Field(gt=0, le=1000)] = 1.0
    hidden: Annotated[int, Field(ge=1, le=10**6)] = 4096
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    batch_norm: bool = False
    activation: Literal["relu", "qcfs"] = "relu"
    levels: Annotated[int, Field(ge=1, le=10**6)] = 8
    mean: list[float] | None = None
    std: list[float] | None = None


class OwnSpec(_Part):
    """A user's own network: its code is `source`, which a file of weights never runs by itself."""

    name: str
    source: str
    num_classes: Annotated[int, Field(ge=1, le=10**6)]
    in_channels: Annotated[int, Field(ge=1, le=10**4)]
    height: Annotated[int, Field(ge=1, le=10**4)]
    width: Annotated[int, Field(ge=1, le=10**4)]
    normalise: bool


class Spiking(_Part):
    """What makes the ANN a spiking network, apart from thresholds and leaks, which are tensors of the file."""

    timesteps: Annotated[int, Field(ge=1, le=10**6)]
    encoding: Literal["direct", "poisson"]
    reset: Reset
    gamma: Annotated[float, Field(gt=0, le=1e6)]
    width: Annotated[float, Field(gt=0, le=1e6)]
    trainable: bool
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    condition: Condition = ">"
    wait: bool = False
    max_pool: Literal["spikes", "currents"] = "spikes"


class Header(_Part):
    """The JSON in the metadata of a weights file. `checksum` is absent in files of version one."""

    format: int
    spec: Spec | OwnSpec | None
    spiking: Spiking | None = None
    checksum: str | None = None


def save(model: nn.Module, path: str | Path) -> None:
    """Write a network made by `hiresnn.models.build` or `hiresnn.convert`, whole or not at all.

    A converted network of a user's own ANN can be saved too; `load` then needs that ANN for its structure.

    Raises:
        UsageError: a spiking network whose neurons differ in reset or surrogate or use an own surrogate, or another
            plain network.
        RunError: a weight is not finite, or the file cannot be written.
    """
    header: dict[str, Any] = {"format": FORMAT, "spec": getattr(model, "spec", None)}
    if isinstance(model, SpikingNetwork):
        header["spiking"] = _describe(model)
    elif header["spec"] is None:
        raise UsageError(f"{type(model).__name__} is no hiresnn network; save its state_dict yourself.")
    tensors: dict[str, Tensor] = {}
    memory = set()
    for name, tensor in model.state_dict().items():
        copy = tensor.detach().cpu().contiguous()
        # Tied weights share memory, which safetensors refuses: the file gets a copy for each name.
        tensors[name] = copy.clone() if copy.untyped_storage().data_ptr() in memory else copy
        memory.add(copy.untyped_storage().data_ptr())
    _require_finite(tensors, f"the network for {path}", "train it again with a lower learning rate")
    header["checksum"] = checksum(tensors)
    write_atomically(Path(path), to_bytes(tensors, metadata={"hiresnn": json.dumps(header)}))


def load(
    path: str | Path, bare: Callable[[OwnSpec | None], nn.Module] | None = None, *, ann: nn.Module | None = None
) -> nn.Module:
    """Read a network in eval mode, on the CPU: an ANN or a `SpikingNetwork`, as it was saved.

    The size of the network is compared with that of the file before any memory is allocated.

    Args:
        path: a file that `save` wrote.
        bare: returns the structure of a user's own network, without normalisation.
        ann: that structure itself; its weights do not matter. Built-in models need neither.

    Raises:
        RunError: the file does not exist, is damaged, was not written by hiresnn, holds numbers that are not finite, or
            belongs to another architecture.
    """
    path, structure = Path(path), bare if ann is None else lambda _: ann
    if not path.is_file():
        raise RunError(f"there is no file {path}; name a model.safetensors that hiresnn wrote.")
    try:
        with safe_open(path, framework="pt") as file:
            header = _header((file.metadata() or {}).get("hiresnn", ""), path)
            values = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
            model = _network(header, values, path, structure)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is damaged or cut short ({error}); copy it again or train the run again.") from None
    if header.checksum is not None and header.checksum != checksum(tensors):
        raise RunError(f"{path} is damaged: its weights do not match their checksum; copy it again or train again.")
    _require_finite(tensors, str(path), "copy it again or train the run again")
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise RunError(f"{path} belongs to another architecture ({reason}); load it with the right one.") from None
    return model.eval()


def _header(text: str, path: Path) -> Header:
    where = f"{path} was not written by hiresnn.save: its header does not describe a network"
    try:
        values = json.loads(text)
        if isinstance(values, dict) and isinstance(found := values.get("format"), int) and found > FORMAT:
            raise RunError(f"{path} has format {found}, but this hiresnn reads up to {FORMAT}; update hiresnn.")
        return Header.model_validate(values)
    except ValidationError as error:
        raise RunError(f"{where} ({brief(error)}); name a file that it wrote.") from None
    except (ValueError, RecursionError):
        raise RunError(f"{where}; name a file that it wrote.") from None


def _network(header: Header, values: int, path: Path, bare: Callable[[OwnSpec | None], nn.Module] | None) -> nn.Module:
    """Build the network of `header`; one of the package only if it has no more parameters than the file has values."""
    spec = header.spec
    try:
        if bare is not None:
            own = spec if isinstance(spec, OwnSpec) else None
            ann = _wrapped(bare(own), own)
        elif isinstance(spec, Spec):
            ann = _built(spec, values, path)
        else:
            run = (
                f"hiresnn.load({str(path.parent)!r}) executes it, or "
                if (path.parent / "source.json").is_file()
                else ""
            )
            code = f", {spec.source}" if spec else ""
            raise RunError(f"{path} holds a network of your own{code}; {run}pass its ANN: hiresnn.load(path, ann=...).")
        return ann if header.spiking is None else _spiking(ann, header.spiking)
    except UsageError as error:
        raise error if bare is not None else RunError(f"{path} was not written by hiresnn.save: {error}") from None
    except HiresnnError:
        raise
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"{path} was not written by hiresnn.save: its header describes no network ({reason}).") from None


def _built(spec: Spec, values: int, path: Path) -> nn.Module:
    options = spec.model_dump()
    with torch.device("meta"):
        network = build(**options)
    # Weights alone: a spiking network has a bias instead of each batch norm.
    parameters = sum(parameter.numel() for parameter in network.parameters() if parameter.dim() > 1)
    if parameters > values:
        raise RunError(
            f"{path} is damaged: its header describes a network of {parameters:,} weights, but the file has "
            f"{values:,}; copy it again."
        )
    return build(**options)


def _wrapped(ann: nn.Module, spec: OwnSpec | None) -> nn.Module:
    """Return a user's network as training wrapped it; the file holds the numbers of the normalisation."""
    if spec is None or isinstance(ann, OwnNetwork):
        return ann
    statistics: Any = ([0.0] * spec.in_channels, [1.0] * spec.in_channels) if spec.normalise else (None, None)
    return OwnNetwork(ann, spec.model_dump(), *statistics)


def _spiking(ann: nn.Module, kind: Spiking) -> SpikingNetwork:
    options = kind.model_dump(exclude={"gamma", "width", "trainable"})
    network = spiking_graph(ann, surrogate=Linear(kind.gamma, kind.width), **options)
    return network.train_neurons_(kind.trainable)


def _describe(network: SpikingNetwork) -> dict[str, Any]:
    neurons = network.neurons.values()
    kinds = {(lif.reset, lif.start, lif.condition, lif.wait, lif.surrogate, lif.leak.requires_grad) for lif in neurons}
    if len(kinds) != 1:
        raise UsageError(
            "the neurons differ in reset, start, condition, wait, surrogate or trainability; a file can hold only one "
            "kind."
        )
    ((reset, start, condition, wait, surrogate, trainable),) = kinds
    if not isinstance(surrogate, Linear):
        raise UsageError(f"the surrogate is {surrogate!r}; a file can hold only the linear rule of Eq. 5.")
    kind = Spiking.model_construct(
        timesteps=network.timesteps, encoding=network.encoding.encoding, reset=reset, gamma=surrogate.gamma,
        width=surrogate.width, trainable=trainable, start=start, condition=condition, wait=wait,
        max_pool="currents" if network.pools_currents else "spikes",
    )  # fmt: skip
    return kind.model_dump(exclude_defaults=True)  # without what version one does not know


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _require_finite(tensors: Mapping[str, Tensor], where: str, hint: str) -> None:
    for name, tensor in tensors.items():
        if reason := kind_refused(tensor):
            raise RunError(f"{where}: {name} {reason}; {hint}.")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise RunError(f"{where}: {name} holds numbers that are not finite; {hint}.")


def resume_bytes(state: dict[str, Any]) -> bytes:
    """Return a training state (tensors, numbers, text, lists and dicts of them) as bytes for `read_resume`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    return content + SEAL + hashlib.sha256(content).digest()


def read_resume(path: Path) -> dict[str, Any]:
    """Read a training state. torch's loader is restricted to data, so the file cannot run code.

    Raises:
        RunError: the file is damaged, or a weight in it is not finite.
    """
    hint = "delete it to train from the start"
    try:
        content, seal, checksum = path.read_bytes().rpartition(SEAL)
        if not seal:
            content = checksum  # version one wrote no checksum
        elif checksum != hashlib.sha256(content).digest():
            raise ValueError
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about a foreign pickle before it refuses it
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}); {hint}.") from None
    if not isinstance(state, dict):
        raise RunError(f"{path} is no training state; {hint}.")
    weights = state.get("model")
    if isinstance(weights, dict):
        _require_finite({k: v for k, v in weights.items() if isinstance(v, Tensor)}, str(path), hint)
    return state
