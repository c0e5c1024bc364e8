"""Where a foreign neuron keeps its surrogate, and how another rule is put there for a while.

The spike stays the library's own, to the bit: the swapped-in function calls the surrogate that it replaces for
the forward pass and answers for the backward pass alone. With x = u - threshold, which is what a library hands to
its surrogate, z = x / threshold and d spike / d x = rule(z) / threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hiresnn.errors import UsageError
from hiresnn.neurons.rules import RULES, LayerRule, Rule
from hiresnn.neurons.surrogate import Surrogate

ELEMENTWISE = tuple(name for name, info in RULES.items() if not info.is_layer_rule)
"""Names of the rules that any neuron can take; a layer rule needs the scan of hiresnn's own LIF."""


@dataclass(frozen=True, eq=False)
class Slot:
    """The surrogate of one neuron layer.

    Attributes:
        neuron: the layer.
        attribute: name under which it keeps its surrogate.
        ruled: (neuron, the surrogate found there, rule) -> what stands there meanwhile. It is given the neuron, so
            that a deep copy of a network swaps the rules of the copy.
    """

    neuron: nn.Module
    attribute: str
    ruled: Callable[[Any, Any, Surrogate], Any]

    @contextmanager
    def holding(self, rule: Surrogate) -> Iterator[None]:
        """Keep `rule` in the slot for a while; what was there is put back, also after an error."""
        own = getattr(self.neuron, self.attribute)
        setattr(self.neuron, self.attribute, _like(own, self.ruled(self.neuron, own, rule)))
        try:
            yield
        finally:
            setattr(self.neuron, self.attribute, own)


def elementwise(rule: Rule, library: str) -> Surrogate:
    """`rule` itself, a function z -> d spike / d z of any shape.

    Raises:
        UsageError: it is a rule of a whole layer.
    """
    if isinstance(rule, LayerRule):
        raise UsageError(
            f"{type(rule).__name__} replaces the backward pass of a whole layer, which a {library} neuron does not "
            f"give away: choose one of {', '.join(ELEMENTWISE)}, or a function z -> d spike / d z of your own."
        )
    return rule


def ruled_spike(
    own: Callable[[Tensor], Tensor], rule: Surrogate, threshold: Callable[[], Tensor | float]
) -> Callable[[Tensor], Tensor]:
    """The spike function x = u - threshold -> spike that is `own` forward and `rule` backward.

    Args:
        threshold: gives the threshold at the time of a call, a number or a tensor that broadcasts against x.
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
        # snnTorch's spikes are float32 whatever the membrane is; the gradient goes back in the membrane's type.
        return (grad * slope).to(x.dtype), None, None, None


_ruled = cast("Callable[..., Tensor]", _RuledSpike.apply)


class _Wrapped(nn.Module):
    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Any) -> Tensor:
        return self.function(*inputs)


def _like(own: Any, function: Callable[..., Tensor]) -> Any:
    """`function` as a module where `own` is one: torch takes nothing else in the place of a child module."""
    return _Wrapped(function) if isinstance(own, nn.Module) else function
