"""Follow what flows from layer to layer in a running network: is it still the image, spikes, or weighted currents?

A converted network has a graph that says so. A network of another library is a program, so each tensor carries a note
of where it came from, and each operation hands the notes of its inputs on.

What one update of a neuron of another library costs: its decaying states, each a multiplication per timestep.

Record the spikes of a network of another library: what leaves its layers of neurons, by timestep and image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from hiresnn.errors import UsageError
from hiresnn.foreign.unrolled import Layout, Unrolled, picked

PRODUCTS = frozenset({
    *("linear", "bilinear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("scaled_dot_product_attention", "einsum", "tensordot", "matmul", "mm", "mv", "bmm", "dot", "addmm", "addmv"),
    *("addbmm", "baddbmm", "inner", "outer", "ger", "addr", "vdot", "kron", "chain_matmul"),
    *("linalg_matmul", "linalg_multi_dot", "linalg_vecdot"),
})  # fmt: skip
"""Names of functions and methods that multiply by weights or by each other, in torch and in operator."""
_RESHAPES = frozenset({"flatten", "unflatten", "reshape", "view", "contiguous", "permute", "transpose", "unsqueeze"})


@dataclass(frozen=True)
class Signal:
    """Where a tensor came from.

    Attributes:
        timed: there is a layer of neurons, or an encoder, behind it.
        weighted: there is a weighted layer behind it, and no neurons since.
        source: the weighted layer of which it is the unchanged output; None for any other tensor.
    """

    timed: bool = False
    weighted: bool = False
    source: nn.Module | None = None


class Flow(TorchFunctionMode):
    """Hands signals on from the inputs of every function of torch to its outputs, while it is active.

    Raises:
        UsageError: a function multiplies what flows by weights outside any layer, so that nobody counts it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._signals: Any = WeakIdKeyDictionary()
        self._inside = 0

    def mark(self, value: Any, signal: Signal) -> None:
        """Note where the tensors in `value` came from."""
        for tensor in _tensors(value):
            self._signals[tensor] = signal

    def signal(self, value: Any) -> Signal | None:
        """Return where the tensors in `value` came from; None if no note reached them."""
        found = [self._signals[tensor] for tensor in _tensors(value) if tensor in self._signals]
        if len(found) < 2:
            return found[0] if found else None
        return Signal(any(each.timed for each in found), any(each.weighted for each in found))

    @contextmanager
    def layers(self, layers: Iterable[nn.Module]) -> Iterator[None]:
        """Let these layers multiply by weights inside the context: somebody counts them."""

        def enter(*_: Any) -> None:
            self._inside += 1

        def leave(*_: Any) -> None:
            self._inside -= 1

        with ExitStack() as stack:
            for layer in layers:
                stack.enter_context(layer.register_forward_pre_hook(enter))
                stack.enter_context(layer.register_forward_hook(leave))
            yield

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch and hand the signals of its inputs on."""
        given = (args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        signal = self.signal(given)
        if signal is None:
            return result
        name = getattr(func, "__name__", "").strip("_")
        if name in PRODUCTS and not self._inside:
            raise UsageError(f"{name} is called as a function and cannot be counted; use an nn.Linear or nn.Conv.")
        self.mark(result, signal if name in _RESHAPES else replace(signal, source=None))
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


class NeuronCost(NamedTuple):
    """Operations of one neuron in one timestep, apart from the addition of a spike's reset.

    Attributes:
        states: numbers that it stores from step to step, each of which something is added to.
        decays: how many of them are multiplied by a factor that is not 1. A factor on the input, as in
            v + (x - v) / tau, counts as part of the weights before it.
    """

    states: int
    decays: int


_LEAKY, _IDEAL, _TWO = NeuronCost(1, 1), NeuronCost(1, 0), NeuronCost(2, 2)
_COSTS: dict[str, dict[str, Callable[[Any], NeuronCost]]] = {
    "snntorch": {
        "Leaky": lambda neuron: NeuronCost(1, _decays(neuron.beta)),
        "Synaptic": lambda neuron: NeuronCost(2, _decays(neuron.alpha) + _decays(neuron.beta)),
    },
    "spikingjelly": {
        "IFNode": lambda _: _IDEAL,
        "LIFNode": lambda _: _LEAKY,
        "ParametricLIFNode": lambda _: _LEAKY,
    },
    "sinabs": {
        **dict.fromkeys(("IAF", "IAFSqueeze"), lambda _: _IDEAL),
        **dict.fromkeys(("LIF", "LIFSqueeze"), lambda _: _LEAKY),
    },
    "norse": {
        "IAFCell": lambda _: _IDEAL,
        "LIFBoxCell": lambda _: _LEAKY,
        **dict.fromkeys(("LIF", "LIFCell"), lambda _: _TWO),
    },
}
"""Library -> class -> the cost of one update. A user's subclass costs what its base costs."""


def neuron_cost(name: str, neuron: nn.Module) -> NeuronCost:
    """Return the cost of one update of each neuron in a layer.

    Raises:
        UsageError: the neuron is of no class whose operations are known; the message names the layer.
    """
    for kind in type(neuron).__mro__:
        known = _COSTS.get(kind.__module__.partition(".")[0], {})
        if kind.__name__ in known:
            return known[kind.__name__](neuron)
        if known:  # another neuron of the library, which may derive from a known one and do more
            break
    listed = "; ".join(f"{library}: {', '.join(known)}" for library, known in _COSTS.items())
    raise UsageError(
        f"layer {name!r} is a {type(neuron).__name__}, whose operations are not known, so its energy cannot be counted "
        f"(its activity can); known are {listed}."
    )


def _decays(factor: Any) -> int:
    """Return 1 unless the factor is exactly 1."""
    return int(not (bool((factor == 1).all()) if isinstance(factor, Tensor) else factor == 1))


@contextmanager
def record(network: Unrolled) -> Iterator[dict[str, Tensor]]:
    """Collect the spikes of every layer of neurons: name -> [T, B, ...], of the latest forward pass.

    Spikes are detached. Each forward pass inside the context fills the dictionary, which stays valid afterwards. It
    lacks layers that the pass did not call. A neuron that may spike several times per step has whole numbers above 1.

    Raises:
        UsageError: the adapter names no layer of neurons; or, in the forward pass, a layer is called for
            another number of steps than T, or returns values that are no whole numbers.
    """
    if not network.spiking:
        raise UsageError(
            f"the adapter of this {network.library} network names no layers of neurons; give hiresnn.foreign.Unrolled "
            "spiking=[...], the modules whose outputs are spikes."
        )
    spikes: dict[str, Tensor] = {}
    calls: dict[str, list[Tensor]] = {}
    batch = 0

    def start(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal batch
        batch = len(inputs[0])
        calls.clear()
        spikes.clear()

    def save(name: str, _: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        steps = in_steps(name, picked(output, 0).detach().clone(), network.timesteps, batch, network.layout)
        calls.setdefault(name, []).append(steps)

    def finish(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        for name, parts in calls.items():
            found = parts[0] if len(parts) == 1 else torch.cat(parts)
            require_steps(name, len(found), network.timesteps)
            if bool((found != found.round()).any()):
                raise UsageError(f"layer {name!r} returns numbers that are not whole, so they are no spikes.")
            spikes[name] = found

    with ExitStack() as stack:
        stack.enter_context(network.register_forward_pre_hook(start))
        stack.enter_context(network.register_forward_hook(finish))
        for name, layer in network.spiking.items():
            stack.enter_context(layer.register_forward_hook(partial(save, name)))
        yield spikes


def in_steps(name: str, rows: Tensor, timesteps: int, batch: int, layout: Layout) -> Tensor:
    """View what a layer gets or returns in one call as [steps, B, ...]; steps is T, or 1 where a call is one step.

    Raises:
        UsageError: the shape does not say which rows belong to which image and step.
    """
    shape = tuple(rows.shape)
    one_step, flat = shape[:1] == (batch,), shape[:1] == (timesteps * batch,)
    sequence = shape[:2] == (timesteps, batch) and (timesteps > 1 or layout == "sequence")
    if layout == "batch first" and shape[:2] == (batch, timesteps):
        return rows.transpose(0, 1)
    if layout == "batch first" and flat:
        return rows.reshape(batch, timesteps, *shape[1:]).transpose(0, 1)
    if layout == "sequence" and sequence:
        return rows
    if one_step and (layout == "steps" or not sequence):
        return rows[None]
    if sequence and not one_step:
        return rows
    if flat:
        return rows.reshape(timesteps, batch, *shape[1:])
    hint = "take another number of images per batch" if one_step else "keep images and timesteps in the first dimension"
    raise UsageError(
        f"layer {name!r} has rows of shape {list(shape)}, which do not tell {batch} images and {timesteps} timesteps "
        f"apart; {hint}."
    )


def require_steps(name: str, steps: int, timesteps: int) -> None:
    """Raise UsageError unless a layer was called for T timesteps."""
    if steps != timesteps:
        raise UsageError(
            f"layer {name!r} is called for {steps} timesteps, but the adapter has timesteps={timesteps}; give the "
            "network's own number there, and call every layer once per timestep."
        )
