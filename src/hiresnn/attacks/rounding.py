"""Gradients through rounding: BPDA with the identity (Athalye et al. 2018).

A model that rounds its images or activations has a gradient of zero almost everywhere, so every gradient attack fails
on it for that reason alone. `through_rounding` leaves the forward pass unchanged, bit for bit, and treats rounding as
the identity in the backward pass.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from hiresnn.attacks.gate import Model, frozen


def _of(*names: str) -> frozenset[Callable[..., Any]]:
    """Return the functions of those names in torch and the methods of those names of a tensor."""
    found = (getattr(owner, name, None) for name in names for owner in (torch, torch.Tensor))
    return frozenset(function for function in found if callable(function))  # torch.int is a dtype


_STEPS = ("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "heaviside")
_CLAMPS = ("clamp", "clip", "clamp_min", "clamp_max")
STEPS = _of(*_STEPS) | {torch.special.round}
"""Step functions; the backward pass replaces them by their first argument."""
QUOTIENTS = _of("floor_divide", "__floordiv__", "div", "divide")
"""Rounded divisions, replaced by the true quotient; div and divide count only with a rounding mode."""
CASTS = _of("to", "type", "type_as", "byte", "char", "short", "int", "long", "float", "double", "half", "bfloat16")
"""Casts; from floats to integers and back they are replaced by the identity."""
SCALINGS = _of("div", "divide", "true_divide", "__truediv__", "mul", "multiply", "__mul__")
"""Operations that can replace the cast back, because they turn integers into floats."""
CLAMPS = _of(*_CLAMPS)
"""Their gradient at a limit, such as that of a black pixel at 0, is 1 in torch 2.13 and 0 in 2.15; here it is 1."""
IN_PLACE = {
    there: here
    for name in (*_STEPS, *_CLAMPS, "floor_divide", "div", "divide")
    for owner in (torch, torch.Tensor)
    if (there := getattr(owner, f"{name}_", None)) and (here := getattr(owner, name))
}
"""In-place function -> the function that returns a new tensor."""


class _Straight(torch.autograd.Function):
    """Returns the value of `compute()` in the forward pass and passes the gradient to `smooth`."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        ctx.shape, ctx.place = smooth.shape, {"dtype": smooth.dtype, "device": smooth.device}
        return compute()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.sum_to_size(ctx.shape).to(**ctx.place), None


_straight = cast("Callable[[Tensor, Callable[[], Tensor]], Tensor]", _Straight.apply)


class ThroughRounding(TorchFunctionMode):
    """The mode that `through_rounding` enters.

    Attributes:
        hits: number of rounding operations that a gradient was passed through.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hits = 0
        # Integer tensor -> (the floats it was cast from, its version then; a later version has other values).
        self._sources: Any = WeakTensorKeyDictionary()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Intercept every torch function that the model calls."""
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
        """Remember the source of integers made by a cast; give floats made from such integers the source's gradient."""
        first = _first(args, kwargs)
        if not isinstance(first, Tensor):
            return result
        if first.is_floating_point():
            if first.requires_grad and _is_integer(result):
                # A separate node, so that later in-place changes of the source have no effect.
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
    """Pass gradients through rounding in any forward pass inside the block; all values stay equal bit for bit.

    Covered are round, floor, ceil, trunc, fix, sign, sgn and heaviside as functions, methods and in place; `//` and
    division with a rounding mode, replaced by the true quotient; a cast to integers followed by a cast, division
    or multiplication back to floats; and values that lie exactly at a limit of a clamp, such as black pixels, where
    newer versions of torch have no gradient. An `autograd.Function` of the model keeps its own backward pass.

    Not covered are comparisons (`(x > 0.5).float()`), arithmetic, indexing and views between the two casts, the
    remainder (`x - x % 0.1`), and rounding outside torch or in TorchScript. Compiled functions run eagerly inside the
    block, because torch.compile would compile the mode into them. The backward pass may run outside the block.
    """
    with torch.compiler.set_stance("force_eager"), ThroughRounding() as mode:
        yield mode


def rounds(model: Model, images: Float[Tensor, "batch ..."]) -> bool:
    """Return whether `through_rounding` would change the gradient of the images, from one forward pass in eval mode."""
    with frozen(model), torch.enable_grad(), through_rounding() as mode:
        model(images.detach().requires_grad_().clone())
    return mode.hits > 0


def _smooth(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Return the tensor that replaces a rounding operation in the backward pass; None for other functions."""
    if func in STEPS:
        return cast("Tensor", _first(args, kwargs))
    if func in CLAMPS:
        return _unclamped(func, args, kwargs)
    if func is torch.Tensor.__rfloordiv__:
        return torch.true_divide(args[1], args[0])
    if func in QUOTIENTS and (func not in SCALINGS or kwargs.get("rounding_mode")):
        return torch.true_divide(*args, **{key: value for key, value in kwargs.items() if key != "rounding_mode"})
    return None


def _unclamped(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Return the input of a clamp, with the gradient 1 up to and at the limits; None if torch has that itself."""
    tensor = _first(args, kwargs)
    if not (tensor.is_floating_point() and tensor.requires_grad):
        return None
    limits = {key: value for key, value in kwargs.items() if key != "input"}
    probe = tensor.detach().requires_grad_()
    clamped = func(probe, *args[1:], **limits)
    inside = clamped.detach() == probe.detach()
    if torch.equal(torch.autograd.grad(clamped.sum(), probe)[0] != 0, inside):
        return None
    return torch.where(inside, tensor, tensor.detach())


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if args else kwargs["input"]


def _is_integer(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool)
