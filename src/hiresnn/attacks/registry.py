"""Attacks by name, as the command line and recipes ask for them: `pgd:eps=2/255,iterations=20,rule=arctan`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from torch import Tensor, nn

from hiresnn.attacks.apgd import apgd
from hiresnn.attacks.autoattack import autoattack
from hiresnn.attacks.fgsm import fgsm
from hiresnn.attacks.gate import Model
from hiresnn.attacks.greedy import greedy
from hiresnn.attacks.pgd import pgd
from hiresnn.attacks.random_noise import random_noise
from hiresnn.attacks.restarts import pgd_restarts
from hiresnn.attacks.sa_pgd import sa_pgd
from hiresnn.attacks.square import square
from hiresnn.errors import UsageError
from hiresnn.neurons import gradient_rule
from hiresnn.neurons.rules import Rule, named

ATTACKS: dict[str, Callable[..., Tensor]] = {
    "fgsm": fgsm,
    "pgd": pgd,
    "pgd-restarts": pgd_restarts,
    "apgd": apgd,
    "sa-pgd": sa_pgd,
    "greedy": greedy,
    "square": square,
    "noise": random_noise,
    "autoattack": autoattack,
}
RULED = ("fgsm", "pgd", "pgd-restarts", "apgd", "sa-pgd", "autoattack")
"""Attacks that follow one gradient rule, and so take the option `rule`."""
CHOOSING = ("greedy",)
"""Attacks that choose among several rules, and so take `rule` as a list, `rule=arctan/alpha=4+bptr`."""


@dataclass(frozen=True)
class AttackSpec:
    """An attack with its options; callable as (model, images, labels) -> images.

    Attributes:
        label: the text it was read from, under which results are filed.
        rule: text of the gradient rule that the model's neurons use meanwhile, as `neurons.rules.named` reads it; for
            greedy choice several, joined by +. None leaves the neurons their own, and greedy choice its default.
    """

    label: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    rule: str | None = None

    @property
    def eps(self) -> float:
        """The bound it claims, its function's default where the text names none."""
        default = inspect.signature(ATTACKS[self.name]).parameters["eps"].default
        return float(self.options.get("eps", default))

    def __call__(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Run the attack; with a rule the model must have LIF neurons, or it is a UsageError."""
        if self.rule is None:
            return ATTACKS[self.name](model, images, labels, **self.options)
        if not isinstance(model, nn.Module):
            raise UsageError(f"attack {self.label!r}: rule={self.rule} needs a network with LIF neurons.")
        rules = _rules(self.rule)
        if self.name in CHOOSING:
            return ATTACKS[self.name](model, images, labels, rules=rules, **self.options)
        with gradient_rule(model, rules[0]):
            return ATTACKS[self.name](model, images, labels, **self.options)


def parse(text: str, **defaults: Any) -> AttackSpec:
    """Read `name` or `name:option=value,...`; `defaults` are options that the text may override.

    Raises:
        UsageError: an unknown attack, option or rule, or a value that does not parse.

    >>> parse("pgd:eps=2/255,iterations=20").options == {"eps": 2 / 255, "iterations": 20}
    True
    """
    name, _, rest = text.partition(":")
    if name not in ATTACKS:
        raise UsageError(f"attack {name!r} is not known; choose one of {', '.join(ATTACKS)}.")
    parameters = inspect.signature(ATTACKS[name]).parameters
    known = {key: p.default for key, p in parameters.items() if isinstance(p.default, (bool, int, float, str))}
    options = {key: value for key, value in defaults.items() if key in known}
    rule = None
    for pair in filter(None, rest.split(",")):
        key, _, value = pair.partition("=")
        if key == "rule" and name in (*RULED, *CHOOSING):
            rule = _checked(text, name, value)
            continue
        if key not in known:
            has = ", ".join((*known, "rule") if name in (*RULED, *CHOOSING) else known)
            raise UsageError(f"attack {text!r}: {name} has no option {key!r}; it has {has}.")
        options[key] = _value(text, key, value, type(known[key]))
    return AttackSpec(text, name, options, rule)


def _rules(text: str) -> list[Rule]:
    """The rules of `rule=`: one, or several joined by +; one inside a number (1e+3) joins nothing."""
    return [named(each) for each in re.split(r"\+(?!\d)", text)]


def _checked(text: str, name: str, rule: str) -> str:
    """The text of a rule, read once so that what is wrong with it comes out before any attack runs."""
    try:
        rules = _rules(rule)
    except UsageError as error:
        raise UsageError(f"attack {text!r}: {error}") from None
    if len(rules) > 1 and name not in CHOOSING:
        raise UsageError(
            f"attack {text!r}: {name} follows one rule, {rule!r} are {len(rules)}; use greedy for several."
        )
    return rule


def _value(text: str, key: str, value: str, kind: type) -> bool | int | float | str:
    if kind is str:
        return value
    try:
        if kind is bool:
            return {"true": True, "false": False}[value.lower()]
        return int(value) if kind is int else float(Fraction(value))
    except (ValueError, KeyError, ZeroDivisionError, OverflowError):
        raise UsageError(f"attack {text!r}: {key} is {value!r}; it takes a {kind.__name__}.") from None
