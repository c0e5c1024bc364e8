"""Networks on disk: weights as safetensors, the architecture as JSON in their header; and weights of other files."""

import hashlib
import json
import logging
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, Field, validate_call
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from hiresnn.errors import HiresnnError, RunError, UsageError, in_a_line
from hiresnn.files import parse_json, write_atomically
from hiresnn.models import Normalise, OwnNetwork, build, spec_of
from hiresnn.network import SpikingNetwork, spiking_graph, uncompiled
from hiresnn.neurons import Condition, Linear, Reset

FORMAT = 1
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network")  # keys of a state_dict in a checkpoint
PREFIXES = ("module.", "network.", "_orig_mod.")  # by DataParallel, by an ANN of a hiresnn run, by torch.compile
NUMBERS = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8}
NUMBERS |= {torch.int8, torch.int16, torch.int32, torch.int64}  # not complex, quantised, or floats of eight bits


class _Part(BaseModel):
    model_config = {"extra": "forbid", "frozen": True, "allow_inf_nan": False}


class OwnSpec(_Part):
    """A user's own network: its code is `source`, which a file of weights never runs by itself."""

    name: str
    source: str
    num_classes: int
    in_channels: Annotated[int, Field(ge=1, le=10**6)]
    height: int
    width: int
    normalise: bool
    events: bool = False


Structure = Callable[[OwnSpec | None], nn.Module]


LONGEST = 10**4
"""Most timesteps of a network in a file, as in a recipe: memory and time grow with them."""


class Spiking(_Part):
    """Timesteps and neurons of a spiking network; its thresholds and leaks are tensors of the file."""

    timesteps: Annotated[int, Field(ge=1, le=LONGEST)]
    encoding: Literal["direct", "poisson", "frames"]
    reset: Reset
    gamma: Annotated[float, Field(gt=0)]
    width: Annotated[float, Field(gt=0)]
    trainable: bool
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    condition: Condition = ">"
    wait: bool = False
    max_pool: Literal["spikes", "currents"] = "spikes"


class Header(_Part):
    """The JSON in the metadata of a weights file; `spec` may hold the arguments of `hiresnn.models.build`."""

    format: Annotated[int, Field(ge=1, le=FORMAT)]
    spec: Annotated[OwnSpec | dict[str, Any] | None, Field(union_mode="left_to_right")]
    spiking: Spiking | None = None
    checksum: str | None = None


def save(model: nn.Module, path: str | Path) -> None:
    """Write a network made by `hiresnn.models.build` or `hiresnn.convert`, whole or not at all.

    `load` needs a user's own ANN again, for its structure.

    Raises:
        UsageError: another network, or a spiking one whose neurons differ or do not use the linear surrogate.
        RunError: a weight is not finite, or the file cannot be written.
    """
    model = uncompiled(model)
    header: dict[str, Any] = {"format": FORMAT, "spec": spec_of(model)}
    if isinstance(model, SpikingNetwork):
        header["spiking"] = _describe(model)
        if header["spec"] is None:
            text = "%s does not hold the structure of your own network: load it with hiresnn.load(path, ann=...)."
            logging.getLogger("hiresnn").warning(text, path)
    elif header["spec"] is None:
        raise UsageError(f"{type(model).__name__} is no hiresnn network; save its state_dict yourself.")
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        tensors[name] = tensor.detach().cpu().contiguous().clone()  # safetensors refuses tied weights
    require_finite(tensors, f"the network for {path}", "train it again with a lower learning rate")
    header["checksum"] = checksum(tensors)
    write_atomically(Path(path), _sealed(to_bytes(tensors, metadata={"hiresnn": json.dumps(header)})))


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, as in files of version 0.2."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sealed(content: bytes) -> bytes:
    """Add the SHA-256 of our header to a safetensors file, whose library writes two entries in random order."""
    start = 8 + int.from_bytes(content[:8], "little")
    head = json.loads(content[8:start])
    metadata = head["__metadata__"]
    metadata["sha256"] = hashlib.sha256(metadata["hiresnn"].encode()).hexdigest()
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[start:]


def load(path: str | Path, structure: Structure | None = None) -> nn.Module:
    """Read a file that `save` wrote; `structure` returns a user's own network, or a spiking one that has no ANN."""
    path = Path(path)
    if not path.is_file():
        raise RunError(f"there is no file {path}; name a model.safetensors that hiresnn wrote.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path} is damaged or cut short ({error}); copy it again or train the run again.") from None
    text = metadata.get("hiresnn", "")
    if metadata.get("sha256") not in (None, hashlib.sha256(text.encode()).hexdigest()):  # version 0.2 wrote none
        raise RunError(f"{path} is damaged: its header does not match its checksum; copy it again or train again.")
    remedy = "name a file that hiresnn.save wrote, or update hiresnn if a later version wrote it"
    header = parse_json(text, Header, f"the header of {path}", remedy=remedy)
    if header.checksum not in (None, checksum(tensors)):
        raise RunError(f"{path} is damaged: its weights do not match their checksum; copy it again or train again.")
    require_finite(tensors, str(path), "copy it again or train the run again")
    model = _network(header, sum(tensor.numel() for tensor in tensors.values()), path, structure)
    if {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()} == {torch.float64}:
        model.double()  # fewer bits than 32 are read into float32
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise RunError(f"{path} belongs to another architecture ({reason}); load it with the right one.") from None
    return model.eval()


def _network(header: Header, values: int, path: Path, structure: Structure | None) -> nn.Module:
    """Build the network of `header`; one of the package may have no more weights than the file has `values`."""
    spec = header.spec
    if structure is not None:
        own = spec if isinstance(spec, OwnSpec) else None
        ann = structure(own)
        if isinstance(ann, SpikingNetwork) and header.spiking is not None:
            if _describe(ann) != header.spiking.model_dump(exclude_defaults=True):
                raise UsageError("its neurons, encoding or timesteps are not those of the spiking network given.")
            return ann
        if own is not None and not isinstance(ann, OwnNetwork):
            # Wrapped as in training; the file holds the numbers of the normalisation.
            channels = own.in_channels if own.normalise else 0
            ann = OwnNetwork(
                ann, own.model_dump(exclude_defaults=True), [0.0] * channels or None, [1.0] * channels or None
            )
    elif isinstance(spec, dict):
        ann = _built(spec, values, path)
    else:
        code = f", {spec.source}" if spec else ""
        run = f"hiresnn.load({str(path.parent)!r}) executes it, or " if (path.parent / "source.json").is_file() else ""
        raise RunError(f"{path} holds a network of your own{code}; {run}pass its ANN: hiresnn.load(path, ann=...).")
    if header.spiking is None:
        return ann
    options = header.spiking.model_dump(exclude={"gamma", "width"})
    return spiking_graph(ann, surrogate=Linear(header.spiking.gamma, header.spiking.width), **options)


def _built(spec: dict[str, Any], values: int, path: Path) -> nn.Module:
    try:
        with torch.device("meta"):
            parameters = validate_call(build)(**spec).parameters()
        # Weights alone: a spiking network has a bias instead of each batch norm.
        if sum(parameter.numel() for parameter in parameters if parameter.dim() > 1) <= values:
            return build(**spec)
    except (UsageError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise RunError(f"the header of {path} describes no network ({in_a_line(error)}); copy it again.") from None
    raise RunError(f"{path} is damaged: its header describes a network of more than its {values:,} values.")


def _describe(network: SpikingNetwork) -> dict[str, Any]:
    neuron = network.neuron
    if not isinstance(neuron.surrogate, Linear):
        raise UsageError(f"the surrogate is {neuron.surrogate!r}; a file can hold only the linear rule of Eq. 5.")
    if network.timesteps > LONGEST:
        raise UsageError(f"the network has {network.timesteps:,} timesteps; a file holds one of at most {LONGEST:,}.")
    spiking = Spiking(
        timesteps=network.timesteps, encoding=network.encoding.encoding, reset=neuron.reset,
        gamma=neuron.surrogate.gamma, width=neuron.surrogate.width, trainable=neuron.trainable, start=neuron.v_init,
        condition=neuron.condition, wait=neuron.wait, max_pool="currents" if network.pools_currents else "spikes",
    )  # fmt: skip
    return spiking.model_dump(exclude_defaults=True)


def require_finite(
    tensors: Mapping[str, Tensor], source: str, remedy: str, error: type[HiresnnError] = RunError
) -> None:
    """Raise `error` for a tensor that cannot be a weight."""
    for name, tensor in tensors.items():
        if tensor.dtype not in NUMBERS or tensor.layout is not torch.strided:
            raise error(f"{source}: {name!r} is {tensor.dtype} in {tensor.layout}, not real numbers; {remedy}.")
        if not tensor.isfinite().all():
            raise error(f"{source}: {name!r} holds numbers that are not finite; {remedy}.")


def load_weights(network: nn.Module, path: Path) -> None:
    """Load the weights in `path`, see `read_state`, into `network`: all of them, by name, or a UsageError."""
    weights, names = read_state(path), set(network.state_dict())
    require_finite(weights, f"weights {path}", "use another file, in float32", UsageError)
    for prefix in PREFIXES:
        if not names.issuperset(weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    # Older files do not count batches, files of other libraries lack our normalisation, and ours have it.
    normalisation = {"normalise.mean", "normalise.std"}
    optional = {name for name in names if name.endswith("num_batches_tracked")}
    if isinstance(getattr(network, "normalise", None), Normalise):
        optional |= normalisation
    try:
        missing, unexpected = network.load_state_dict(weights, strict=False)
        problems = [f"it lacks {name!r}" for name in missing if name not in optional]
        problems += [f"the network has no {name!r}" for name in unexpected if name not in normalisation]
    except RuntimeError as error:  # of shapes
        problems = [line.strip().rstrip(".") for line in str(error).splitlines()[1:]]
    if problems:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        raise UsageError(f"weights {path} do not fit the network: {problems[0]}{more}; save those of this network.")
    require_finite(network.state_dict(), f"weights {path} in the network", "use another file", UsageError)


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file, or of a state_dict that torch saved, alone or in a checkpoint."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about a foreign pickle before it refuses it
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise RunError(f"there is no file {path}; name a .safetensors file or a state_dict.") from None
    except Exception as error:  # torch raises errors of many types for damaged files
        code = re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error))
        problem = f"would run code, {code[1]}, which hiresnn does not do" if code else "is damaged or of another format"
        raise RunError(f"{path} {problem}; save the weights with torch.save(network.state_dict(), FILE).") from error
    while isinstance(state, Mapping) and (inner := [key for key in WRAPPERS if isinstance(state.get(key), Mapping)]):
        state = state[inner[0]]
    content = state.items() if isinstance(state, Mapping) else ()
    tensors = {str(name): value for name, value in content if isinstance(value, Tensor)}
    if not tensors:
        raise RunError(f"{path} holds a {type(state).__name__}, not a state_dict of tensors; save one.")
    return tensors
