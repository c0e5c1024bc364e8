"""Follow what flows from layer to layer in a running network: is it still the image, spikes, or weighted currents?

Each tensor carries a note of where it came from, and each operation hands the notes of its inputs on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from hiresnn.errors import UsageError

PRODUCTS = frozenset({
    *("linear", "bilinear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("scaled_dot_product_attention", "einsum", "tensordot", "matmul", "mm", "mv", "bmm", "dot", "addmm", "addmv"),
    *("addbmm", "baddbmm", "inner", "outer", "ger", "addr", "vdot", "kron", "chain_matmul"),
    *("linalg_matmul", "linalg_multi_dot", "linalg_vecdot"),
})  # fmt: skip
"""Functions and methods of torch that multiply by weights or by each other."""
_RESHAPES = frozenset({"flatten", "unflatten", "reshape", "view", "contiguous", "permute", "transpose", "unsqueeze"})


@dataclass(frozen=True)
class Signal:
    """Where a tensor came from.

    Attributes:
        timed: there is a layer of neurons, or an encoder, behind it, so that it changes from step to step.
        weighted: there is a weighted layer, or the image itself, behind it, and no neurons since.
        source: the weighted layer of which it is the unchanged output; None for any other tensor.
    """

    timed: bool = False
    weighted: bool = False
    source: nn.Module | None = None


class Flow(TorchFunctionMode):
    """Hands signals on from the inputs of every function of torch to its outputs, while it is active.

    Raises:
        UsageError: a function multiplies a tensor with a signal by weights outside any counted layer.
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
        signals = [self._signals[tensor] for tensor in _tensors(value) if tensor in self._signals]
        if len(signals) < 2:
            return signals[0] if signals else None
        return Signal(any(signal.timed for signal in signals), any(signal.weighted for signal in signals))

    @contextmanager
    def layers(self, layers: Iterable[nn.Module]) -> Iterator[None]:
        """Let these layers multiply by weights inside the context, because they are counted."""

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
        inputs = (args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        signal = self.signal(inputs)
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
        for element in value:
            yield from _tensors(element)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
