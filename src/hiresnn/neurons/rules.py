"""Gradient rules by name, and the text form of a rule with its options: `arctan/alpha=4/reset`.

Swapping the gradient rule of a network: another guess for d spike / d z, without touching the forward pass.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from hiresnn.eps import format_number, read_number
from hiresnn.errors import UsageError, closest, quoted
from hiresnn.neurons.layer import LIF
from hiresnn.neurons.layer_rules import ASSG, BPTR, HART, PDSG, RGA, Conversion, LayerRule, Unrolled
from hiresnn.neurons.surrogate import (
    Arctan,
    Erfc,
    Exponential,
    Linear,
    Rectangular,
    Sigmoid,
    StraightThrough,
    Surrogate,
    triangular,
)
from hiresnn.plugins import find, offered

Rule = Surrogate | LayerRule
"""A gradient rule, as `gradient_rule` takes it."""

FLAGS = {"reset": "through_reset", "cut": "cut_time"}
"""Flag in a rule's text -> the option of `Unrolled`, ASSG and PDSG that it turns on."""


@dataclass(frozen=True)
class RuleInfo:
    """A named rule; `make` is the class or function that builds it from its options."""

    make: Callable[..., Rule]

    @property
    def summary(self) -> str:
        """One line for a table: the first of the rule's docstring."""
        return (inspect.getdoc(self.make) or "").partition("\n")[0]

    @property
    def options(self) -> dict[str, float]:
        """Numeric option -> published default."""
        parameters = inspect.signature(self.make).parameters.items()
        return {name: float(each.default) for name, each in parameters if type(each.default) in (int, float)}

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags that the rule takes: none for a layer rule without a temporal chain."""
        own = set(FLAGS.values()) <= set(inspect.signature(self.make).parameters)
        of_layer = isinstance(self.make, type) and issubclass(self.make, LayerRule)
        return tuple(FLAGS) if own or not of_layer else ()


RULES: dict[str, RuleInfo] = {
    "linear": RuleInfo(Linear),
    "triangular": RuleInfo(triangular),
    "arctan": RuleInfo(Arctan),
    "sigmoid": RuleInfo(Sigmoid),
    "exponential": RuleInfo(Exponential),
    "rectangular": RuleInfo(Rectangular),
    "erfc": RuleInfo(Erfc),
    "straight-through": RuleInfo(StraightThrough),
    "unrolled": RuleInfo(Unrolled),
    "bptr": RuleInfo(BPTR),
    "rga": RuleInfo(RGA),
    "conversion": RuleInfo(Conversion),
    "hart": RuleInfo(HART),
    "assg": RuleInfo(ASSG),
    "pdsg": RuleInfo(PDSG),
}
"""Rule name -> its description."""


def rule_from_text(text: str) -> Rule:
    """Build the rule that a text describes.

    Args:
        text: `name`, `name/option=value` or `name/flag`, with any number of options and flags. The flag `reset` lets
            the gradient of the spike pass through the reset; `cut` drops the gradient from one timestep to the one
            before. An elementwise rule with a flag becomes `Unrolled`. A value is a decimal, a fraction or inf.

    Raises:
        UsageError: an unknown rule, option or flag, or a value that does not parse or that the rule refuses.

    >>> rule_from_text("linear/width=1/2")
    Linear(gamma=0.3, width=0.5)
    >>> rule_from_text("arctan/alpha=4/reset")
    Unrolled(through_reset=True, cut_time=False, surrogate=Arctan(alpha=4.0))
    """
    name, options, flags = _read(text)
    turned_on = {FLAGS[flag]: True for flag in flags}
    make = RULES[name].make
    own_flags = FLAGS["reset"] in inspect.signature(make).parameters
    try:
        rule = make(**options, **turned_on) if own_flags else make(**options)
    except UsageError as error:
        raise UsageError(f"rule {quoted(text)}: {error}") from None
    if isinstance(rule, LayerRule):
        return rule
    if not torch.isfinite(rule(torch.tensor([-1.0, 0.0, 1.0]))).all():  # it would fill an attack with NaN
        raise UsageError(f"rule {quoted(text)}: its values are not finite; choose smaller options.")
    return Unrolled(rule, **turned_on) if flags else rule


def canonical_rule(text: str) -> str:
    """Return the one text of a rule: options in order, numbers in their shortest form, flags last.

    Raises:
        UsageError: as `rule_from_text`.

    >>> canonical_rule("linear/cut/width=1/2/gamma=3e-1")
    'linear/gamma=0.3/width=0.5/cut'
    """
    rule_from_text(text)
    name, options, flags = _read(text)
    parts = [f"{key}={format_number(options[key])}" for key in RULES[name].options if key in options]
    return "/".join([name, *parts, *(flag for flag in FLAGS if flag in flags)])


def _read(text: str) -> tuple[str, dict[str, float], list[str]]:
    """Split a rule's text into its name, options and flags."""
    where = f"rule {quoted(text)}"
    name, *parts = re.split(r"/(?![\d.])", text)  # before a digit, the slash is that of a fraction
    if name not in RULES:
        found = find("rules", name)
        if found is None:
            of = "" if name == text else f" of {quoted(text)}"
            known = closest(name, (*RULES, *offered("rules")))
            raise UsageError(f"rule {quoted(name)}{of} is not known; {known}.")
        RULES[name] = RuleInfo(found)
    info = RULES[name]
    options: dict[str, float] = {}
    flags: list[str] = []
    for part in parts:
        key, equals, value = part.partition("=")
        if key in options or key in flags:
            raise UsageError(f"{where}: {key} is given twice; give it once.")
        if key in info.options:
            options[key] = _number(where, key, value)
        elif key in info.flags and not equals:
            flags.append(key)
        elif key in FLAGS and not equals:
            raise UsageError(f"{where}: {name} has no temporal chain, so it takes neither reset nor cut.")
        else:
            has = ", ".join((*(f"{option}=VALUE" for option in info.options), *info.flags)) or "none"
            raise UsageError(f"{where}: {name} has no option {quoted(part)}; its options: {has}.")
    return name, options, flags


def _number(where: str, key: str, value: str) -> float:
    try:
        number = read_number(value)
    except (ValueError, OverflowError):
        number = math.nan
    if math.isnan(number):
        raise UsageError(f"{where}: {key} is {quoted(value)}; it takes a number.")
    return number


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
