"""Gradient rules by name, and rules with their options as one text: `arctan/alpha=4/reset`."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from fractions import Fraction

import torch

from hiresnn.errors import UsageError
from hiresnn.neurons.rules.adaptive import ASSG, PDSG
from hiresnn.neurons.rules.elementwise import (
    Arctan,
    Erfc,
    Exponential,
    Rectangular,
    Sigmoid,
    StraightThrough,
    triangular,
)
from hiresnn.neurons.rules.layer import LayerRule
from hiresnn.neurons.rules.rate import BPTR, RGA, Conversion
from hiresnn.neurons.rules.temporal import HART, Unrolled
from hiresnn.neurons.surrogate import Linear, Surrogate

Rule = Surrogate | LayerRule
"""What `gradient_rule` takes."""

RULES: dict[str, Callable[..., Rule]] = {
    "linear": Linear,
    "triangular": triangular,
    "arctan": Arctan,
    "sigmoid": Sigmoid,
    "exponential": Exponential,
    "rectangular": Rectangular,
    "erfc": Erfc,
    "straight-through": StraightThrough,
    "unrolled": Unrolled,
    "bptr": BPTR,
    "rga": RGA,
    "conversion": Conversion,
    "hart": HART,
    "assg": ASSG,
    "pdsg": PDSG,
}
"""Name -> what makes the rule, with its published defaults."""

FLAGS = {"reset": "through_reset", "cut": "cut_time"}
"""Word in a text -> option of `Unrolled`, ASSG and PDSG that it turns on."""


def named(text: str) -> Rule:
    """Read `name`, `name/option=value` or `name/flag`, with as many options and flags as wanted.

    The flags are those of `Unrolled`, which an elementwise rule is then wrapped in: `reset` passes on the gradient
    of the spike inside the reset, `cut` drops the gradient from a step to the one before it. A value is a decimal,
    a fraction or inf.

    Raises:
        UsageError: an unknown rule, option or flag, a value that does not parse or that the rule refuses, or a flag
            for a rule that forgets time.

    >>> named("linear/width=1/2")
    Linear(gamma=0.3, width=0.5)
    >>> named("arctan/alpha=4/reset")
    Unrolled(surrogate=Arctan(alpha=4.0), through_reset=True, cut_time=False)
    """
    name, *parts = re.split(r"/(?![\d.])", text)  # before a digit the slash is that of a fraction
    if name not in RULES:
        where = "" if name == text else f" of {text!r}"
        raise UsageError(f"rule {name!r}{where} is not known; choose one of {', '.join(RULES)}.")
    make = RULES[name]
    parameters = inspect.signature(make).parameters
    numbers = [key for key, parameter in parameters.items() if type(parameter.default) in (int, float)]
    own = FLAGS["reset"] in parameters  # flags of its own; else those of Unrolled, which takes no rule of a layer
    timeless = not own and isinstance(make, type) and issubclass(make, LayerRule)
    options: dict[str, float] = {}
    flags: dict[str, bool] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if key in options or FLAGS.get(key) in flags:
            raise UsageError(f"rule {text!r}: {key} is given twice; give it once.")
        if key in numbers:
            options[key] = _number(text, key, value)
        elif key not in FLAGS or equals:
            has = ", ".join((*(f"{number}=VALUE" for number in numbers), *(() if timeless else FLAGS))) or "none"
            raise UsageError(f"rule {text!r}: {name} has no option {part!r}; it has {has}.")
        elif timeless:
            why = "cuts the chain in time itself" if make is HART else "forgets time"
            raise UsageError(f"rule {text!r}: {name} {why}, so it takes neither reset nor cut; leave {key} out.")
        else:
            flags[FLAGS[key]] = True
    try:
        rule = make(**options, **flags) if own else make(**options)
    except UsageError as error:
        raise UsageError(f"rule {text!r}: {error}") from None
    if isinstance(rule, LayerRule):
        return rule
    if not torch.isfinite(rule(torch.tensor([-1.0, 0.0, 1.0]))).all():  # it would fill an attack with NaN
        raise UsageError(f"rule {text!r}: its values are not finite; choose smaller options.")
    return Unrolled(rule, **flags) if flags else rule


def _number(text: str, key: str, value: str) -> float:
    try:
        return math.inf if value == "inf" else float(Fraction(value))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise UsageError(f"rule {text!r}: {key} is {value!r}; it takes a number.") from None
