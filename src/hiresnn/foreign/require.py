"""Refuse networks of other spiking libraries that no adapter resets: their answers depend on earlier calls."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from hiresnn.errors import UsageError

RESETS = {"spikingjelly": "reset", "snntorch": "reset_mem", "sinabs": "reset_states"}
"""Library -> the method that resets its stateful modules. Its other modules have no state."""
UNSUPPORTED = frozenset({"bindsnet", "braincog", "brian2", "lava", "nengo_dl", "rockpool"})
"""Libraries without an adapter, all modules of which are refused."""


def require_adapter(model: Any) -> None:
    """Refuse a model with stateful modules of another spiking library outside an adapter.

    Call this before treating a model as a pure function of its images, as evaluation and audit do. A module with a
    method `gradient_rule`, as every adapter has, is trusted with all that it contains. A function cannot be inspected.

    Args:
        model: a module, a bound method of a module, or any callable.

    Raises:
        UsageError: names the module and its library, and gives the line that wraps the network.

    >>> require_adapter(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    """
    model = getattr(model, "__self__", model)
    for name, module, library in _foreign_modules(model, "") if isinstance(model, nn.Module) else ():
        fix = f"hiresnn.foreign.{library}(network, timesteps=...)"
        if library in UNSUPPORTED:
            fix = (
                f"hiresnn.foreign.Unrolled(network, timesteps=..., library={library!r}, own_loop=True, reset=...), as "
                "this library has no adapter; reset is a function that puts the network to rest"
            )
        elif library in ("spikingjelly", "snntorch"):
            fix += " (add own_loop=True if forward itself loops over time)"
        problem = "returns its state" if library == "norse" else "keeps its state, so answers depend on earlier images"
        raise UsageError(
            f"the network contains {type(module).__module__}.{type(module).__qualname__} (layer {name!r}), which "
            f"{problem}; wrap the network: {fix}."
        )


def _foreign_modules(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module, str]]:
    """Yield (name, module, library) of every module to refuse, without looking inside adapters."""
    if callable(getattr(module, "gradient_rule", None)):
        return
    for library in sorted({kind.__module__.partition(".")[0] for kind in type(module).__mro__}):
        # norse passes its state explicitly, so only a network that is itself of norse returns it to the caller.
        stateful = callable(getattr(module, RESETS.get(library, ""), None)) or (library == "norse" and not name)
        if stateful or library in UNSUPPORTED:
            yield name, module, library
    for child_name, child in module.named_children():
        yield from _foreign_modules(child, f"{name}.{child_name}".strip("."))
