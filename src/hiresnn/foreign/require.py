"""Refuse networks of other spiking libraries that no adapter resets: their answers depend on earlier calls."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from hiresnn.errors import UsageError

RESETS = {"spikingjelly": "reset", "snntorch": "reset_mem", "sinabs": "reset_states"}
"""Library -> the method by which its stateful modules are put to rest. Its other modules hold no state."""
UNSUPPORTED = frozenset({"bindsnet", "braincog", "brian2", "lava", "nengo", "nengo_dl", "rockpool", "slayer"})
"""Libraries without an adapter: every module of theirs is refused."""


def require_adapter(model: Any) -> None:
    """Refuse a model with stateful modules of another spiking library that stand outside an adapter.

    Everything that treats a model as a pure function of its images (evaluation, attacks, audit) calls this first.
    A module with a method `gradient_rule`, as every adapter of `hiresnn.foreign` has, answers for all that it contains.
    A plain function cannot be inspected and is accepted.

    Args:
        model: a module, a bound method of a module, or any callable.

    Raises:
        UsageError: the message names the module and its library, and gives the line that wraps the network.

    >>> require_adapter(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    """
    model = getattr(model, "__self__", model)
    if not isinstance(model, nn.Module):
        return
    for name, module, library in _foreign_modules(model, ""):
        raise UsageError(
            f"the network contains {type(module).__module__}.{type(module).__qualname__}"
            f"{f' (layer {name!r})' if name else ''}, which {_problem(library)}; "
            f"wrap the network: {_fix(library)}."
        )


def _foreign_modules(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield (name, module, library) of every refused module, without looking inside adapters."""
    if callable(getattr(module, "gradient_rule", None)):
        return
    libraries = {kind.__module__.partition(".")[0] for kind in type(module).__mro__}
    for library in sorted(libraries):
        # norse passes its state explicitly, so only a network that is itself of norse returns it to the caller.
        stateful = callable(getattr(module, RESETS.get(library, ""), None)) or (library == "norse" and not name)
        if stateful or library in UNSUPPORTED:
            yield name, module, library
    for child_name, child in module.named_children():
        yield from _foreign_modules(child, f"{name}.{child_name}" if name else child_name)


def _problem(library: str) -> str:
    if library == "norse":
        return "returns its state beside its output"
    return "keeps its state between calls, so that answers depend on earlier images"


def _fix(library: str) -> str:
    if library in UNSUPPORTED:
        return (
            f"hiresnn.foreign.Unrolled(network, timesteps=..., library={library!r}, own_loop=True, reset=...), where "
            "reset is a function that puts the network to rest (hiresnn has no adapter for this library)"
        )
    own_loop = (
        " (with own_loop=True if forward itself loops over time)" if library in ("spikingjelly", "snntorch") else ""
    )
    return f"hiresnn.foreign.{library}(network, timesteps=...){own_loop}"
