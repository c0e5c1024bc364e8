"""Networks whose spikes are made in `forward` itself, by their own autograd function, such as `Spike.apply(u - 1)`.

Such a network has no module whose surrogate could be replaced. Its spike function is found in the autograd graph of one
call, and a gradient rule takes the place of the function's backward pass while it is used.
"""

import itertools
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import Function

from hiresnn.foreign.unrolled import Stepwise
from hiresnn.modes import evaluating
from hiresnn.neurons.rules import Surrogate


class FunctionCall(NamedTuple):
    """A call of an autograd function: its tensor input, its output, and the lines of code that led to it."""

    x: Tensor
    spikes: Tensor
    site: tuple[tuple[str, int], ...]


@dataclass(frozen=True, eq=False)
class FunctionSlot:
    """The surrogate of one layer of neurons that calls the spike function `function` in `forward`.

    The layers call it in turn: those calls belong to this layer whose number, divided by `layers`, leaves `layer`. For
    the function's input x a rule gets z = (x - jump) / unit. If the function compares the membrane potential itself,
    both are its threshold. If it gets potential minus threshold, the threshold cannot be told; then `jump` is 0 and
    `unit` the root mean square of x in a trial.
    """

    function: type[Function]
    layer: int
    layers: int
    jump: float
    unit: float

    def __str__(self) -> str:
        """How reports name the layer, such as "Spike 1"."""
        return f"{self.function.__name__} {self.layer + 1}"

    @contextmanager
    def holding(self, rule: Surrogate) -> Iterator[None]:
        """Use `rule` in the backward pass of this layer inside the context; the spikes stay the same."""
        numbers, mine = itertools.count(), f"_hiresnn_{id(self)}"
        own_backward = self.function.backward

        def note(ctx: Any, inputs: tuple[Any, ...]) -> None:
            if next(numbers) % self.layers == self.layer:
                place, x = _potential(inputs)
                z = (x.detach() - self.jump) / self.unit
                slope = rule.of_step(z) if isinstance(rule, Stepwise) else rule
                setattr(ctx, mine, (place, len(inputs), slope, z))

        def backward(ctx: Any, *gradients: Any) -> Any:
            if not hasattr(ctx, mine):
                return own_backward(ctx, *gradients)
            place, count, slope, z = getattr(ctx, mine)
            answer: list[Tensor | None] = [None] * count
            answer[place] = (gradients[0] * slope(z) / self.unit).to(z.dtype)
            return tuple(answer)

        with (
            _observed(self.function, lambda ctx, inputs, _: note(ctx, inputs)),
            _replaced(self.function, "backward", backward),
        ):
            yield


def function_slots(network: nn.Module, images: Tensor) -> tuple[list[FunctionSlot], int]:
    """Return a slot for each layer of neurons, and the number of timesteps; no slot if no function makes spikes.

    The network is called once or twice with the images [B, C, H, W], and keeps what its modules store: restore that.
    """
    slots, steps = list[FunctionSlot](), set[int]()
    for function, calls in _calls(network, images).items():
        if not all(call.spikes.shape == call.x.shape and binary(call.spikes) for call in calls):
            continue
        x, fired = (
            torch.cat([row.flatten() for row in rows]) for rows in zip(*(call[:2] for call in calls), strict=True)
        )
        below, above = x[fired == 0], x[fired == 1]
        if not len(below) or not len(above) or below.max() > above.min():
            continue
        low, high = float(below.max()), float(above.min())
        jump = 0.0 if low <= 0 <= high else (low + high) / 2
        layers = _period([(call.site, call.x.shape) for call in calls])
        steps.add(len(calls) // layers)
        for layer in range(layers):
            spread = float(torch.cat([call.x.flatten() for call in calls[layer::layers]]).square().mean().sqrt())
            slots.append(FunctionSlot(function, layer, layers, jump, abs(jump) or spread or 1.0))
    return slots, steps.pop() if len(steps) == 1 else 1


def _calls(network: nn.Module, images: Tensor) -> dict[type[Function], list[FunctionCall]]:
    """The calls of each autograd function of the user's code in one pass of the network; {} if the network fails."""
    calls: dict[type[Function], list[FunctionCall]] = {}

    def note(function: type[Function], _: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, x = _potential(inputs)
        if isinstance(x, Tensor) and isinstance(output, Tensor):
            calls.setdefault(function, []).append(FunctionCall(x.detach(), output.detach(), _site()))

    device = next((parameter.device for parameter in network.parameters()), images.device)
    with ExitStack() as stack, evaluating(network), torch.enable_grad(), torch.random.fork_rng([]):
        try:
            functions = _functions(network(images.to(device).clone().requires_grad_()))
            for function in functions:
                stack.enter_context(_observed(function, partial(note, function)))
            if functions:  # the graph says which; a second pass, how they are called
                network(images.to(device).clone())
        except Exception:  # whatever code raises for an input that it does not expect
            return {}
    return calls


def _functions(output: Any) -> list[type[Function]]:
    """The autograd functions of the user's code in the graph of an output, in no particular order."""
    output = output[0] if isinstance(output, (tuple, list)) and output else output
    seen, found = set[Any](), dict[type[Function], None]()
    waiting = [output.grad_fn] if isinstance(output, Tensor) else []
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        function = getattr(node, "_forward_cls", None)
        if function is not None and function.__module__.partition(".")[0] not in ("torch", "hiresnn"):
            found[function] = None
        waiting += [parent for parent, _ in node.next_functions]
    return list(found)


@contextmanager
def _observed(function: type[Function], observe: Callable[[Any, tuple[Any, ...], Any], None]) -> Iterator[None]:
    """Call `observe` with (ctx, inputs, output) at each call of an autograd function inside the context."""
    if function.setup_context is not Function.setup_context:  # the form in which `forward` gets no ctx
        own_setup = function.setup_context

        def setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            own_setup(ctx, inputs, output)
            observe(ctx, inputs, output)

        with _replaced(function, "setup_context", setup):
            yield
        return
    own_forward = function.forward

    def forward(ctx: Any, *inputs: Any) -> Any:
        output = own_forward(ctx, *inputs)
        observe(ctx, inputs, output)
        return output

    with _replaced(function, "forward", forward):
        yield


@contextmanager
def _replaced(function: type[Function], name: str, method: Callable[..., Any]) -> Iterator[None]:
    inherited, own = name not in vars(function), vars(function).get(name)
    setattr(function, name, staticmethod(method))
    try:
        yield
    finally:
        delattr(function, name) if inherited else setattr(function, name, own)


def _potential(inputs: tuple[Any, ...]) -> tuple[int, Any]:
    """The first tensor among the inputs of a spike function, and its place; (0, None) without one."""
    return next(((place, value) for place, value in enumerate(inputs) if isinstance(value, Tensor)), (0, None))


def binary(rows: Tensor) -> bool:
    """Whether a tensor holds zeros and ones alone."""
    return bool(((rows == 0) | (rows == 1)).all())


def _site() -> tuple[tuple[str, int], ...]:
    frame, lines = sys._getframe(3), list[tuple[str, int]]()
    while frame is not None and frame.f_code is not _calls.__code__:
        lines.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back  # type: ignore[assignment]
    return tuple(lines)


def _period(values: list[Any]) -> int:
    """The length of the shortest list that, repeated, gives the values."""
    count = len(values)
    return next(n for n in range(1, count + 1) if count % n == 0 and values == values[:n] * (count // n))
