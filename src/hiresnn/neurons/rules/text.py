"""Gradient rules by name, and the text form of a rule with its options: `arctan/alpha=4/reset`."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

from hiresnn.eps import format_number, read_number
from hiresnn.errors import UsageError, closest, quoted
from hiresnn.neurons.rules.adaptive import ASSG, PDSG
from hiresnn.neurons.rules.layer_rules import BPTR, HART, RGA, Conversion, LayerRule, Unrolled
from hiresnn.neurons.rules.rules import Arctan, Erfc, Exponential, Rectangular, Sigmoid, StraightThrough, triangular
from hiresnn.neurons.surrogate import Linear, Surrogate
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
