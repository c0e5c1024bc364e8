"""Options of attacks: types, limits and text form, the same in every attack."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from hiresnn.eps import format_eps, format_number, parse_eps, read_number
from hiresnn.errors import UsageError, quoted

Value = bool | int | float | str
"""A value of an option."""

STEP_SHARE = 0.01 / (8 / 255)
"""Step size as a share of eps unless an option says otherwise: the paper's alpha = 0.01 at eps = 8/255."""

NUMBERS: dict[str, tuple[Any, float, float]] = {
    "eps": (float, 0, 1),
    "step": (float, 0, 1),
    "relative_step": (float, 0, 1e6),
    "iterations": (int, 0, 100_000),
    "restarts": (int, 1, 1_000),
    "targets": (int, 1, 1_000),
    "draws": (int, 1, 100_000),
    "queries": (int, 0, 1_000_000),
    "finish": (int, 0, 1_000_000),
    "area": (float, 1e-6, 1),
    "seed": (int, 0, 2**63 - 1),
}
"""Numeric option -> its type, smallest and largest value. The largest values refuse typing errors such as 10**18."""
LARGEST = 1e18
"""Largest value of a number that only a user's attack has."""
SWITCHES = ("random_start", "mean_logits")
"""Options that are true or false."""


def relative_step(eps: float, share: float = STEP_SHARE) -> float:
    """Return the step size at a bound: the given share of eps, at most 1, rounded to 1e-12.

    >>> relative_step(8 / 255), relative_step(2 / 255)
    (0.01, 0.0025)
    """
    return min(round(share * eps, 12), 1.0)


def read_option(
    attack: str, name: str, value: Any, choices: Collection[str] | None = None, default: Value | None = None
) -> Value:
    """Return the value of an option, read from its text if it is one.

    Args:
        attack: name or text of the attack for the message.
        choices: the texts allowed, for an option that takes a text.
        default: of an option of a user's attack, which says its type.

    Raises:
        UsageError: the value has the wrong type or is outside its limits.
    """
    wrong = f"{attack}: {name} is {quoted(value)}; "
    if choices is not None:
        if value not in choices:
            raise UsageError(f"{wrong}choose one of {', '.join(choices)}.")
        return str(value)
    if name in SWITCHES or (isinstance(default, bool) and name not in NUMBERS):
        switch = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
        if not isinstance(switch, bool):
            raise UsageError(f"{wrong}write true or false.")
        return switch
    if name == "eps":
        try:
            return parse_eps(value)
        except UsageError as error:
            raise UsageError(f"{attack}: eps: {error}") from None
    kind: Any
    number: Any
    kind, low, high = NUMBERS[name] if name in NUMBERS else (type(default), -LARGEST, LARGEST)

    try:
        number = value if not isinstance(value, str) else int(value) if kind is int else read_number(value)
    except (ValueError, OverflowError):
        number = None
    if isinstance(number, np.number):
        number = number.item()
    if not (type(number) is int or type(number) is kind):
        raise UsageError(f"{wrong}write a {'whole number' if kind is int else 'number'}.")
    if not low <= number <= high:  # also true of NaN
        raise UsageError(f"{wrong}it must lie in [{low:,}, {high:,}].")
    return float(number) if kind is float else int(number)


def format_option(name: str, value: Value) -> str:
    """Return the text that `read_option` reads back as exactly `value`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return format_eps(value) if name == "eps" else format_number(value)
    return str(value)
