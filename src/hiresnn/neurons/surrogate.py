"""Surrogate gradients: what stands for the derivative of a spike (Eq. 5).

A spike is a step of z = u / threshold - 1, so its derivative is zero almost everywhere. Training and
attacks put a rule in its place: a function z -> d spike / d z, applied element by element. The rule is a
guess that the trainer made; an attacker is free to make another one, see `gradient_rule` and neurons/rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError

if TYPE_CHECKING:
    from hiresnn.neurons.rules.layer import LayerRule

Surrogate = Callable[[Tensor], Tensor]
"""A rule: normalised membrane z of any shape -> d spike / d z, same shape. Hashable, without state."""


@dataclass(frozen=True)
class Linear:
    """The paper's rule (Eq. 5, Bellec et al. 2018): gamma * max(0, 1 - |z| / width).

    Args:
        gamma: height at the threshold, the damping factor of Eq. 5; above 0.
        width: distance from the threshold, in units of it, at which the gradient vanishes; above 0.
    """

    gamma: float = 0.3
    width: float = 1.0

    def __post_init__(self) -> None:
        for field, value in (("gamma", self.gamma), ("width", self.width)):
            if not value > 0:
                raise UsageError(f"Linear surrogate: {field} is {value}; it must be above 0.")

    def __call__(self, z: Tensor) -> Tensor:
        """Return d spike / d z at the normalised membrane z."""
        return self.gamma * torch.clamp(1 - z.abs() / self.width, min=0)


@runtime_checkable
class RuleTaker(Protocol):
    """A module that swaps the rule of its neurons itself, as the networks of other libraries do."""

    def gradient_rule(self, rule: Surrogate | LayerRule) -> AbstractContextManager[None]:
        """Use `rule` in every neuron for a while, put the old ones back; UsageError where it cannot."""


@contextmanager
def gradient_rule(model: nn.Module, rule: Surrogate | LayerRule) -> Iterator[None]:
    """Use `rule` in every neuron of `model` for a while; the rules found there are put back afterwards.

    Only the backward pass changes: logits stay the same. Other networks in the process are not touched. A rule
    that keeps statistics (ASSG) starts afresh, in every layer, each time this is entered. A module, also `model`
    itself, that has a method `gradient_rule(rule)` is asked to swap the rule for all that is inside it.

    Raises:
        UsageError: if `model` has no spiking neuron, so that the rule would change nothing.
    """
    from hiresnn.neurons.lif import LIF
    from hiresnn.neurons.rules.layer import LayerRule

    neurons = [module for module in model.modules() if isinstance(module, LIF)]
    takers = list(dict.fromkeys(_rule_takers(model)))
    if not neurons and not takers:
        raise UsageError(f"{type(model).__name__} has no LIF neuron: a gradient rule would change nothing.")
    before = [neuron.surrogate for neuron in neurons]
    with ExitStack() as stack:
        for taker in takers:
            stack.enter_context(taker.gradient_rule(rule))
        try:
            for neuron in neurons:
                neuron.surrogate = rule.fresh() if isinstance(rule, LayerRule) else rule
            yield
        finally:
            for neuron, own in zip(neurons, before, strict=True):
                neuron.surrogate = own


def takes_rule(model: nn.Module, rule: Surrogate | LayerRule) -> bool:
    """Whether `gradient_rule` would swap `rule` into the neurons of `model`."""
    try:
        with gradient_rule(model, rule):
            return True
    except UsageError:
        return False


def _rule_takers(model: nn.Module) -> Iterator[RuleTaker]:
    """Every outermost module that swaps rules itself."""
    if isinstance(model, RuleTaker):
        yield model
        return
    for child in model.children():
        yield from _rule_takers(child)
