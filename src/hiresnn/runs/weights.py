"""Weights that a network starts from: a safetensors file, or a state_dict that torch saved. Nothing in them can run."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hiresnn.errors import UsageError, in_a_line
from hiresnn.models import Normalise

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
