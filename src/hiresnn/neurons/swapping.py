"""Swapping the gradient rule of a network: another guess for d spike / d z, without touching the forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol, runtime_checkable

from torch import nn

from hiresnn.errors import UsageError
from hiresnn.neurons.layer import LIF
from hiresnn.neurons.rules.layer_rules import LayerRule
from hiresnn.neurons.rules.text import Rule, rule_from_text


@runtime_checkable
class RuleTaker(Protocol):
    """A module that swaps the rule of its neurons itself, as the adapters of other libraries do."""

    def gradient_rule(self, rule: Rule) -> AbstractContextManager[None]:
        """Use `rule` in every neuron inside the context; raise UsageError where that is impossible."""


@contextmanager
def gradient_rule(model: nn.Module, rule: Rule | str) -> Iterator[None]:
    """Use `rule` in every neuron of `model` inside the context; afterwards each neuron has its own rule again.

    Only the backward pass changes: logits stay the same, and so do other networks in the process. A rule that collects
    statistics (ASSG) starts afresh, in every layer, each time the context is entered. A module with a method
    `gradient_rule(rule)`, which may be `model` itself, swaps the rule of everything inside it.

    Args:
        model: a network with spiking neurons.
        rule: a rule, a function z -> d spike / d z, or the text of a rule such as "arctan/alpha=4" (see
            `hiresnn.neurons.RULES`).

    Raises:
        UsageError: `rule` is unknown or no rule, or `model` has no spiking neuron, so that nothing would change.

    Example:
        >>> with gradient_rule(network, "arctan"):  # doctest: +SKIP
        ...     adversarial = pgd(network, images, labels)
    """
    rule = rule_from_text(rule) if isinstance(rule, str) else rule
    if isinstance(rule, type) or not (isinstance(rule, LayerRule) or callable(rule)):
        raise UsageError(
            f'gradient_rule: {rule!r} is no rule; give a name such as "arctan", a rule such as Arctan(), or a '
            "function z -> d spike / d z."
        )
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


def takes_rule(model: nn.Module, rule: Rule) -> bool:
    """Tell whether `gradient_rule` could use `rule` in `model`."""
    try:
        with gradient_rule(model, rule):
            return True
    except UsageError:
        return False


def _rule_takers(model: nn.Module) -> Iterator[RuleTaker]:
    """Yield every outermost module that swaps rules itself."""
    if isinstance(model, RuleTaker):
        yield model
        return
    for child in model.children():
        yield from _rule_takers(child)
