"""Where a neuron of another library stores its surrogate, and how a gradient rule takes its place temporarily.

The spike stays that of the library, bit for bit: the replacement calls the library's surrogate in the forward pass and
computes only the backward pass. A library calls its surrogate with x = u - threshold, so z = x / threshold and
d spike / d x = rule(z) / threshold.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hiresnn.neurons.surrogate import Surrogate


@dataclass(frozen=True, eq=False)
class Slot:
    """The surrogate of one neuron layer.

    Attributes:
        neuron: the layer.
        attribute: the name under which it stores its surrogate.
        ruled: (neuron, its surrogate, rule) -> replacement. The neuron is an argument, so that a deep copy of a network
            replaces the surrogates of the copy.
    """

    neuron: nn.Module
    attribute: str
    ruled: Callable[[Any, Any, Surrogate], Any]

    @contextmanager
    def holding(self, rule: Surrogate) -> Iterator[None]:
        """Use `rule` inside the context; the library's surrogate is restored afterwards."""
        own = getattr(self.neuron, self.attribute)
        replacement = self.ruled(self.neuron, own, rule)
        if isinstance(own, nn.Module):  # torch accepts only a module in the place of a child module
            replacement = _FunctionModule(replacement)
        with temporarily([self.neuron], **{self.attribute: replacement}):
            yield


@contextmanager
def temporarily(modules: Iterable[Any], **attributes: Any) -> Iterator[None]:
    """Set attributes of modules inside the context and restore the old values afterwards."""
    before = [(module, name, getattr(module, name)) for module in modules for name in attributes]
    try:
        for module, name, _ in before:
            setattr(module, name, attributes[name])
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


def ruled_spike(
    own: Callable[[Tensor], Tensor], rule: Surrogate, threshold: Callable[[], Tensor | float]
) -> Callable[[Tensor], Tensor]:
    """Return the spike function x = u - threshold -> spike that is `own` in the forward pass and `rule` backward.

    `threshold` returns the threshold at the time of a call: a number, or a tensor that broadcasts against x.
    """

    def spike(x: Tensor) -> Tensor:
        level = threshold()
        return _ruled(x, level.detach() if isinstance(level, Tensor) else level, own, rule)

    return spike


class _RuledSpike(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, threshold: Tensor | float, own: Callable[[Tensor], Tensor], rule: Surrogate
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.threshold, ctx.rule = threshold, rule
        return own(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        slope = ctx.rule(x / ctx.threshold) / ctx.threshold
        # The spikes of snnTorch are float32 for any membrane; the gradient has the type of the membrane.
        return (grad * slope).to(x.dtype), None, None, None


_ruled = cast("Callable[..., Tensor]", _RuledSpike.apply)


class _FunctionModule(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.forward = function
