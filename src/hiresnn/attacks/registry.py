"""Attacks by name, as the command line and recipes ask for them: `pgd:eps=2/255,iterations=20`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from torch import Tensor

from hiresnn.attacks.fgsm import fgsm
from hiresnn.attacks.gate import Model
from hiresnn.attacks.pgd import pgd
from hiresnn.errors import UsageError

ATTACKS: dict[str, Callable[..., Tensor]] = {"fgsm": fgsm, "pgd": pgd}


@dataclass(frozen=True)
class AttackSpec:
    """An attack with its options; callable as (model, images, labels) -> images.

    Attributes:
        label: the text it was read from, under which results are filed.
    """

    label: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def eps(self) -> float:
        """The bound it claims, its function's default where the text names none."""
        default = inspect.signature(ATTACKS[self.name]).parameters["eps"].default
        return float(self.options.get("eps", default))

    def __call__(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Run the attack."""
        return ATTACKS[self.name](model, images, labels, **self.options)


def parse(text: str, **defaults: Any) -> AttackSpec:
    """Read `name` or `name:option=value,...`; `defaults` are options that the text may override.

    Raises:
        UsageError: an unknown attack or option, or a value that does not parse.

    >>> parse("pgd:eps=2/255,iterations=20").options == {"eps": 2 / 255, "iterations": 20}
    True
    """
    name, _, rest = text.partition(":")
    if name not in ATTACKS:
        raise UsageError(f"attack {name!r} is not known; choose one of {', '.join(ATTACKS)}.")
    parameters = inspect.signature(ATTACKS[name]).parameters
    known = {key: p.default for key, p in parameters.items() if isinstance(p.default, (bool, int, float))}
    options = {key: value for key, value in defaults.items() if key in known}
    for pair in filter(None, rest.split(",")):
        key, _, value = pair.partition("=")
        if key not in known:
            raise UsageError(f"attack {text!r}: {name} has no option {key!r}; it has {', '.join(known)}.")
        options[key] = _value(text, key, value, type(known[key]))
    return AttackSpec(text, name, options)


def _value(text: str, key: str, value: str, kind: type) -> bool | int | float:
    try:
        if kind is bool:
            return {"true": True, "false": False}[value.lower()]
        return int(value) if kind is int else float(Fraction(value))
    except (ValueError, KeyError, ZeroDivisionError):
        raise UsageError(f"attack {text!r}: {key} is {value!r}; it takes a {kind.__name__}.") from None
