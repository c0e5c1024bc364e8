"""The header of a weights file: the network's architecture as JSON, checked before anything is built from it.

Networks on disk: weights as safetensors, the architecture as JSON in their header. Nothing is pickled.

Weights that a network starts from: a safetensors file, or a state_dict that torch saved. Nothing in them can run.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from hiresnn.errors import HiresnnError, RunError, UsageError, in_a_line
from hiresnn.files import first_fault, write_atomically
from hiresnn.models import Normalise, OwnNetwork, build, spec_of
from hiresnn.network import SpikingNetwork, copied, spiking_graph, uncompiled
from hiresnn.neurons import Condition, Linear, Reset

FORMAT = 1


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


def read_header(text: str, path: Path) -> Header:
    """Return what the metadata of the file at `path` describe. Raises RunError where that is no network."""
    where = f"{path} was not written by hiresnn.save: its header does not describe a network"
    try:
        values = json.loads(text)
        if isinstance(values, dict) and isinstance(found := values.get("format"), int) and found > FORMAT:
            raise RunError(f"{path} has format {found}, but this hiresnn reads up to {FORMAT}; update hiresnn.")
        return Header.model_validate(values)
    except ValidationError as error:
        raise RunError(f"{where} ({first_fault(error)}); name a file that it wrote.") from None
    except (ValueError, RecursionError):
        raise RunError(f"{where}; name a file that it wrote.") from None


def save(model: nn.Module, path: str | Path) -> None:
    """Write a network made by `hiresnn.models.build` or `hiresnn.convert`, whole or not at all.

    A converted network of a user's own ANN can be saved too; `load` then needs that ANN for its structure.

    Raises:
        UsageError: a spiking network whose neurons differ in reset or surrogate or use an own surrogate, or another
            plain network.
        RunError: a weight is not finite, or the file cannot be written.
    """
    model = uncompiled(model)
    header: dict[str, Any] = {"format": FORMAT, "spec": spec_of(model)}
    if isinstance(model, SpikingNetwork):
        header["spiking"] = _describe(model)
    elif header["spec"] is None:
        raise UsageError(f"{type(model).__name__} is no hiresnn network; save its state_dict yourself.")
    tensors: dict[str, Tensor] = {}
    memory = set()
    for name, tensor in model.state_dict().items():
        stored = tensor.detach().cpu().contiguous()
        # Tied weights share memory, which safetensors refuses: the file gets a copy for each name.
        tensors[name] = stored.clone() if stored.untyped_storage().data_ptr() in memory else stored
        memory.add(stored.untyped_storage().data_ptr())
    require_finite(tensors, f"the network for {path}", "train it again with a lower learning rate")
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
        ann: that structure itself, which is copied; its weights do not matter. For a spiking network that has no ANN,
            such as an imported one, a spiking network of the same structure. Built-in models need neither.

    Raises:
        RunError: the file does not exist, is damaged, was not written by hiresnn, holds numbers that are not finite, or
            belongs to another architecture.
    """
    path, structure = Path(path), bare if ann is None else lambda _: copied(uncompiled(ann))
    if not path.is_file():
        raise RunError(f"there is no file {path}; name a model.safetensors that hiresnn wrote.")
    try:
        with safe_open(path, framework="pt") as file:
            header = read_header((file.metadata() or {}).get("hiresnn", ""), path)
            values = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
            model = _network(header, values, path, structure)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is damaged or cut short ({error}); copy it again or train the run again.") from None
    if header.checksum is not None and header.checksum != checksum(tensors):
        raise RunError(f"{path} is damaged: its weights do not match their checksum; copy it again or train again.")
    require_finite(tensors, str(path), "copy it again or train the run again")
    if {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()} == {torch.float64}:
        model.double()  # fewer bits than 32 are read into float32
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise RunError(f"{path} belongs to another architecture ({reason}); load it with the right one.") from None
    return model.eval()


def _network(header: Header, values: int, path: Path, bare: Callable[[OwnSpec | None], nn.Module] | None) -> nn.Module:
    """Build the network of `header`; one of the package only if it has no more parameters than the file has values."""
    spec = header.spec
    try:
        if bare is not None:
            own = spec if isinstance(spec, OwnSpec) else None
            given = bare(own)
            if isinstance(given, SpikingNetwork) and header.spiking is not None:
                if _describe(given) != header.spiking.model_dump(exclude_defaults=True):
                    raise UsageError("its neurons, encoding or timesteps are not those of the spiking network given.")
                return given
            ann = _wrapped(given, own)
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
    options = kind.model_dump(exclude={"gamma", "width"})
    return spiking_graph(ann, surrogate=Linear(kind.gamma, kind.width), **options)


def _describe(network: SpikingNetwork) -> dict[str, Any]:
    neuron = network.neuron
    if not isinstance(neuron.surrogate, Linear):
        raise UsageError(f"the surrogate is {neuron.surrogate!r}; a file can hold only the linear rule of Eq. 5.")
    kind = Spiking.model_construct(
        timesteps=network.timesteps, encoding=network.encoding.encoding, reset=neuron.reset,
        gamma=neuron.surrogate.gamma, width=neuron.surrogate.width, trainable=neuron.trainable, start=neuron.v_init,
        condition=neuron.condition, wait=neuron.wait, max_pool="currents" if network.pools_currents else "spikes",
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


def require_finite(tensors: Mapping[str, Tensor], where: str, hint: str) -> None:
    """Raise RunError where a tensor cannot be a weight or holds numbers that are not finite."""
    for name, tensor in tensors.items():
        if reason := kind_refused(tensor):
            raise RunError(f"{where}: {name} {reason}; {hint}.")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise RunError(f"{where}: {name} holds numbers that are not finite; {hint}.")


WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network")
"""Keys under which training scripts store the state_dict of a network in a checkpoint."""
PREFIXES = ("module.", "network.", "_orig_mod.")
"""What DataParallel, an ANN of a hiresnn run and torch.compile put before every name."""

NUMBERS = (
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8, torch.int8, torch.int16,
    torch.int32, torch.int64,
)  # fmt: skip
"""Types that a weight or a buffer in a file may have: not complex, quantised, or floats of eight bits."""


def kind_refused(tensor: Tensor) -> str | None:
    """Return what is wrong with the kind of a tensor in a file; None if it is an ordinary one of real numbers."""
    if tensor.dtype in NUMBERS and tensor.layout is torch.strided and not tensor.is_meta:
        return None
    return f"is {tensor.dtype} in {tensor.layout}, not an ordinary tensor of real numbers"


def load_weights(network: nn.Module, path: Path) -> None:
    """Load the weights in `path` into `network`, all of them.

    Raises:
        UsageError: the file is no .safetensors file and no state_dict, a weight is not finite or is sparse, quantised
            or complex, or names or shapes do not fit the network.
    """
    weights = _fitted(_read(path), network)
    own = network.state_dict()
    # Older files do not count batches, and those of other libraries do not hold our normalisation.
    ours = isinstance(getattr(network, "normalise", None), Normalise)
    needed = [name for name in own if not name.endswith("num_batches_tracked")]
    needed = [name for name in needed if not (ours and name.startswith("normalise."))]
    problems = [f"it lacks {name!r}" for name in needed if name not in weights]
    problems += [f"the network has no {name!r}" for name in weights if name not in own]
    problems += [
        f"{name!r} is {list(weights[name].shape)} in the file and {list(own[name].shape)} in the network"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise UsageError(
            f"weights {path} do not fit the network: {problems[0]}{more}; save the state_dict of this network, or load "
            "what fits inside your function."
        )
    if odd := [f"{name!r} {reason}" for name, tensor in weights.items() if (reason := kind_refused(tensor))]:
        raise UsageError(f"weights {path}: {odd[0]}; save it as float32.")
    if bad := [name for name, tensor in weights.items() if not tensor.to(own[name].dtype).isfinite().all()]:
        raise UsageError(
            f"weights {path}: {bad[0]!r} holds numbers that are not finite as {own[bad[0]].dtype}; use another file."
        )
    network.load_state_dict({**own, **weights})


def _read(path: Path) -> dict[str, Tensor]:
    """Return name -> tensor."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about a foreign pickle before it refuses it
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, ValueError) as error:
        raise UsageError(
            f"weights {path} cannot be read ({in_a_line(error)[:200]}); check the path, or save them again."
        ) from None
    except Exception:
        raise UsageError(
            f"weights {path} are no state_dict of tensors that torch saved, and nothing else is read, because it could "
            "run code; save them with torch.save(network.state_dict(), FILE)."
        ) from None
    while isinstance(state, Mapping) and (inner := [key for key in WRAPPERS if isinstance(state.get(key), Mapping)]):
        state = state[inner[0]]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()) or not state:
        raise UsageError(
            f"weights {path} hold {type(state).__name__}, not a state_dict of tensors; save them with "
            "torch.save(network.state_dict(), FILE)."
        )
    return {str(name): tensor for name, tensor in state.items()}


def _fitted(weights: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Remove prefixes that the names of the network do not have."""
    own = network.state_dict()
    for prefix in PREFIXES:
        inner = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
        others = {name for name in weights if not name.startswith(prefix)}
        if inner and others <= {"normalise.mean", "normalise.std"} and not set(weights) <= set(own):
            weights = inner
    return weights
