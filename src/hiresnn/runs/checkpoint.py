"""Networks on disk: weights as safetensors, the architecture as JSON in their header. Nothing is pickled."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from hiresnn.atomic import write_atomically
from hiresnn.errors import HiresnnError, RunError, UsageError
from hiresnn.models import OwnNetwork, build, spec_of
from hiresnn.network import SpikingNetwork, copied, spiking_graph, uncompiled
from hiresnn.neurons import Linear
from hiresnn.runs.header import FORMAT, Header, OwnSpec, Spec, Spiking, read_header
from hiresnn.runs.weights import kind_refused


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


def require_finite(tensors: Mapping[str, Tensor], where: str, hint: str) -> None:
    """Raise RunError where a tensor cannot be a weight or holds numbers that are not finite."""
    for name, tensor in tensors.items():
        if reason := kind_refused(tensor):
            raise RunError(f"{where}: {name} {reason}; {hint}.")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise RunError(f"{where}: {name} holds numbers that are not finite; {hint}.")
