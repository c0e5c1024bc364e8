"""Gradients straight through steps of the forward pass (BPDA with the identity, Athalye et al. 2018).

A model that rounds its images or activations has a gradient of zero almost everywhere, and stands under every
gradient attack for that reason alone. Here the forward pass stays as it is, bit for bit, and the backward pass takes
the rounded value for the value itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from hiresnn.attacks.gate import Model, frozen


def _of(*names: str) -> frozenset[Callable[..., Any]]:
    """The functions of those names in torch, and the methods of a tensor."""
    found = (getattr(owner, name, None) for name in names for owner in (torch, torch.Tensor))
    return frozenset(function for function in found if callable(function))  # torch.int is a dtype


STEPS = _of("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside") | {torch.special.round}
"""Taken for their first argument."""
QUOTIENTS = _of("floor_divide", "__floordiv__", "div", "divide")
"""Taken for the true quotient; div and divide where they are given a rounding mode."""
CASTS = _of("to", "type", "type_as", "byte", "char", "short", "int", "long", "float", "double", "half", "bfloat16")
"""From floats to integers and back they are taken for nothing."""
SCALINGS = _of("div", "divide", "true_divide", "__truediv__", "mul", "multiply", "__mul__")
"""What may stand in for the cast back: integers divided or multiplied to floats."""
IN_PLACE = {
    there: here
    for name in ("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside", "floor_divide", "div", "divide")
    for owner in (torch, torch.Tensor)
    if (there := getattr(owner, f"{name}_", None)) and (here := getattr(owner, name))
}
"""In-place form -> the form that returns its result."""


class _Straight(torch.autograd.Function):
    """The value that `compute` returns, with the gradient of `smooth`."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        ctx.shape, ctx.place = smooth.shape, {"dtype": smooth.dtype, "device": smooth.device}
        return compute()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.sum_to_size(ctx.shape).to(**ctx.place), None


_straight = cast("Callable[[Tensor, Callable[[], Tensor]], Tensor]", _Straight.apply)


class ThroughRounding(TorchFunctionMode):
    """What `through_rounding` enters.

    Attributes:
        hits: steps that a gradient was carried through.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hits = 0
        # Integers -> (what they were cast from, their version then: an integer changed in place is another number).
        self._sources: Any = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Every torch function that the model calls comes by here."""
        kwargs = kwargs or {}
        if not torch.is_grad_enabled() or "out" in kwargs:
            return func(*args, **kwargs)
        plain = IN_PLACE.get(func, func)
        smooth = _smooth(plain, args, kwargs)
        if smooth is not None and smooth.is_floating_point() and smooth.requires_grad:
            self.hits += 1
            result = _straight(smooth, lambda: plain(*args, **kwargs))
            return _first(args, kwargs).copy_(result) if func in IN_PLACE else result
        result = func(*args, **kwargs)
        if isinstance(result, Tensor) and (func in CASTS or (func in SCALINGS and not kwargs.get("rounding_mode"))):
            return self._cast(func, args, kwargs, result)
        return result

    def _cast(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor) -> Tensor:
        """`result` of a cast or scaling: integers are remembered with their source, floats given its gradient."""
        first = _first(args, kwargs)
        if not isinstance(first, Tensor):
            return result
        if first.is_floating_point():
            if first.requires_grad and _is_integer(result):
                # A node of its own, so that what happens to the source later does not matter.
                source = _straight(first, lambda: result.to(first.dtype))
                self._sources[result] = source, result._version
            return result
        source, version = self._sources.get(first, (None, None))
        if source is None or version != first._version:
            return result
        if result.is_floating_point():
            self.hits += 1
            smooth = source if func in CASTS else func(source, *args[1:], **kwargs)
            return _straight(smooth, lambda: result)
        if func in CASTS and _is_integer(result):
            self._sources[result] = source, result._version
        return result


@contextmanager
def through_rounding() -> Iterator[ThroughRounding]:
    """Carry gradients straight through the steps of any forward pass made inside; values stay equal bit for bit.

    Steps are round, floor, ceil, trunc, fix, sign, sgn and heaviside, as functions, methods and in place; division with
    a rounding mode and `//`, taken for the true quotient; and a cast to integers whose result is cast back, divided or
    multiplied to floats. Only where a gradient would pass: without one, and inside an `autograd.Function` of the
    model's own, which has its own backward pass, nothing changes and nothing is counted.

    Out of reach: comparisons (`(x > 0.5).float()`), arithmetic, indexing and views between the two casts, the
    remainder (`x - x % 0.1`), and steps outside torch or in TorchScript. What torch.compile made runs eager inside
    (torch 2.6 or later), so it is never compiled anew and its steps are seen too; the backward pass may be taken
    outside.
    """
    with _eager(), ThroughRounding() as mode:
        yield mode


def rounds(model: Model, images: Float[Tensor, "batch channel height width"]) -> bool:
    """Whether a gradient in the images meets a step that `through_rounding` would carry it through.

    One forward pass in eval mode; a model that draws, draws once.
    """
    with frozen(model), torch.enable_grad(), through_rounding() as mode:
        model(images.detach().clone().requires_grad_())
    return mode.hits > 0


def _smooth(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """What stands for a step in the backward pass; None where `func` is none."""
    if func in STEPS:
        return cast("Tensor", _first(args, kwargs))
    if func is torch.Tensor.__rfloordiv__:
        return torch.true_divide(args[1], args[0])
    if func in QUOTIENTS and (func not in SCALINGS or kwargs.get("rounding_mode")):
        return torch.true_divide(*args, **{key: value for key, value in kwargs.items() if key != "rounding_mode"})
    return None


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs["input"]


def _is_integer(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool)


def _eager() -> AbstractContextManager[None]:
    """Compiled functions run eager for a while: compiling under a mode would compile the mode into them."""
    if not hasattr(torch.compiler, "set_stance"):
        return nullcontext()
    return cast("AbstractContextManager[None]", torch.compiler.set_stance("force_eager"))
