"""Gradient rules: what an attacker may use as the derivative of a spike, by name and as text.

A rule is written as a call, `arctan(alpha=4, reset=True)`. `gradient_rule` uses it in the neurons of a network: another
guess for d spike / d z, which leaves the forward pass as it is.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from hiresnn.calls import Call, format_value, read_call, typed
from hiresnn.eps import format_number
from hiresnn.errors import UsageError, closest, quoted
from hiresnn.neurons.layer import LIF, SWAPPED_RULES
from hiresnn.neurons.layer_rules import (
    ASSG,
    BPTR,
    HART,
    HART_WIDTHS,
    PDSG,
    RGA,
    Conversion,
    LayerPass,
    LayerRule,
    Unrolled,
)
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

__all__ = [
    "ASSG",
    "BPTR",
    "HART",
    "HART_WIDTHS",
    "PDSG",
    "RGA",
    "RULES",
    "Arctan",
    "Conversion",
    "Erfc",
    "Exponential",
    "LayerPass",
    "LayerRule",
    "Linear",
    "Rectangular",
    "Rule",
    "RuleInfo",
    "Sigmoid",
    "StraightThrough",
    "Unrolled",
    "canonical_rule",
    "gradient_rule",
    "rule_from_text",
    "takes_rule",
    "triangular",
]

Rule = Surrogate | LayerRule
"""A gradient rule, as `gradient_rule` takes it."""

FLAGS = {"reset": "through_reset", "cut": "cut_time"}
"""Option in a rule's text -> the parameter of `Unrolled`, ASSG and PDSG that it sets."""


@dataclass(frozen=True)
class RuleInfo:
    """A named rule; `make` is the class or function that builds it, and its signature says the options."""

    make: Callable[..., Rule]

    @property
    def summary(self) -> str:
        """One line for a table: the first of the rule's docstring."""
        return (inspect.getdoc(self.make) or "").partition("\n")[0]

    @property
    def numbers(self) -> dict[str, float]:
        """Numeric option -> published default."""
        parameters = inspect.signature(self.make).parameters.items()
        return {name: float(one.default) for name, one in parameters if type(one.default) in (int, float)}

    @property
    def has_flags(self) -> bool:
        """Whether the rule itself takes the flags of `FLAGS`."""
        return set(FLAGS.values()) <= set(inspect.signature(self.make).parameters)

    @property
    def options(self) -> dict[str, float]:
        """Option -> default; only a layer rule without a temporal chain has no flags."""
        is_layer_rule = isinstance(self.make, type) and issubclass(self.make, LayerRule)
        flags = {} if is_layer_rule and not self.has_flags else dict.fromkeys(FLAGS, False)
        return {**self.numbers, **flags}

    @property
    def usage(self) -> str:
        """The options with their defaults, as in a call: `alpha=2, reset=False, cut=False`."""
        return ", ".join(f"{option}={format_value(default)}" for option, default in self.options.items())


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
        text: a name of `RULES`, with options in parentheses. `reset=True` lets the gradient of the spike pass through
            the reset; `cut=True` drops the gradient from one timestep to the one before. An elementwise rule with one
            of them becomes `Unrolled`. A number is a decimal, a fraction or inf.

    Raises:
        UsageError: an unknown rule or option, or a value that does not parse or that the rule refuses.

    >>> rule_from_text("linear(width=1/2)")
    Linear(gamma=0.3, width=0.5)
    >>> rule_from_text("arctan(alpha=4, reset=True)")
    Unrolled(through_reset=True, cut_time=False, surrogate=Arctan(alpha=4.0))
    """
    return _build(_read(text))


def canonical_rule(text: str) -> str:
    """Return the one text of a rule that results store, in the syntax of version 0.2.

    Raises:
        UsageError: as `rule_from_text`.

    >>> canonical_rule("linear(cut=True, width=1/2, gamma=3e-1)")
    'linear/gamma=0.3/width=0.5/cut'
    """
    call = _read(text)
    _build(call)  # refuses values that the rule does not take
    numbers = [f"{key}={format_number(call.options[key])}" for key in RULES[call.name].numbers if key in call.options]
    return "/".join([call.name, *numbers, *(flag for flag in FLAGS if call.options.get(flag))])


def _read(text: str) -> Call:
    """Read a rule's text, with its options as the types of their defaults."""
    call = read_call(text, "rule")
    if call.name not in RULES:
        make = find("rules", call.name)
        if make is None:
            raise UsageError(
                f"rule {quoted(call.name)} is not known; {closest(call.name, (*RULES, *offered('rules')))}."
            )
        RULES[call.name] = RuleInfo(make)
    defaults, where = RULES[call.name].options, f"rule {quoted(text)}"
    call.require(defaults, where)
    return Call(call.name, {key: typed(value, defaults[key], f"{where}: {key}") for key, value in call.options.items()})


def _build(call: Call) -> Rule:
    info = RULES[call.name]
    flags = {FLAGS[key]: value for key, value in call.options.items() if key in FLAGS}
    options: dict[str, Any] = {key: value for key, value in call.options.items() if key not in FLAGS}
    try:
        rule = info.make(**options, **flags) if info.has_flags else info.make(**options)
    except UsageError as error:
        raise UsageError(f"rule {quoted(str(call))}: {error}") from None
    if isinstance(rule, LayerRule):
        return rule
    if not torch.isfinite(rule(torch.tensor([-1.0, 0.0, 1.0]))).all():  # it would fill an attack with NaN
        raise UsageError(f"rule {quoted(str(call))}: its values are not finite; choose smaller options.")
    return Unrolled(rule, **flags) if any(flags.values()) else rule


@runtime_checkable
class RuleTaker(Protocol):
    """A module that swaps the rule of its neurons itself, as the adapters of other libraries do."""

    def gradient_rule(self, rule: Rule) -> AbstractContextManager[None]:
        """Use `rule` in every neuron inside the context; raise UsageError where that is impossible."""


@contextmanager
def gradient_rule(model: nn.Module, rule: Rule | str) -> Iterator[None]:
    """Use `rule` in every neuron of `model` inside the context; afterwards each neuron has its own rule again.

    Only the backward pass changes: logits stay the same, and so do other networks, and other threads, which need a
    context of their own. A rule that collects statistics (ASSG) starts afresh, in every layer, each time the context is
    entered. A module with a method `gradient_rule(rule)`, which may be `model` itself, swaps the rule of everything
    inside it; the adapters of other libraries do so for all threads.

    Args:
        model: a network with spiking neurons.
        rule: a rule, a function z -> d spike / d z, or the text of a rule such as "arctan(alpha=4)" (see
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
    swapped = {neuron: rule.fresh() if isinstance(rule, LayerRule) else rule for neuron in neurons}
    with ExitStack() as stack:
        for taker in takers:
            stack.enter_context(taker.gradient_rule(rule))
        token = SWAPPED_RULES.set(SWAPPED_RULES.get() | swapped)
        try:
            yield
        finally:
            SWAPPED_RULES.reset(token)


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
