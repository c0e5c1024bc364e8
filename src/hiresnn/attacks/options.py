"""Options of attacks: their types, their limits, and their text form.

An option has the same meaning and the same limits in every attack, so one table serves all of them. Attack functions
check their arguments with `check_options`; `AttackSpec` reads and writes options with `read_option` and
`format_option`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hiresnn.eps import format_eps, format_number, parse_eps, read_number
from hiresnn.errors import UsageError, quoted

Value = bool | int | float | str
"""A value of an option."""

STEP_SHARE = 0.01 / (8 / 255)
"""Step size as a share of eps unless an option says otherwise: the paper's alpha = 0.01 at eps = 8/255."""


@dataclass(frozen=True)
class Number:
    """Limits of a number.

    Attributes:
        kind: int for whole numbers, float for others.
        low: smallest value.
        high: largest value.
        positive: whether `low` itself is excluded.
    """

    kind: type
    low: int | float
    high: int | float
    positive: bool = False


NUMBERS = {
    "eps": Number(float, 0, 1),
    "step": Number(float, 0, 1),
    "relative_step": Number(float, 0, 1e6),
    "iterations": Number(int, 0, 100_000),
    "restarts": Number(int, 1, 1_000),
    "targets": Number(int, 1, 1_000),
    "draws": Number(int, 1, 100_000),
    "queries": Number(int, 0, 1_000_000),
    "finish": Number(int, 0, 1_000_000),
    "area": Number(float, 0, 1, positive=True),
    "seed": Number(int, 0, 2**63 - 1),
}
"""Limits of every numeric option. The upper limits refuse typing errors such as 10**18 iterations."""


def relative_step(eps: float, share: float = STEP_SHARE) -> float:
    """Return the step size at a bound: the given share of eps, at most 1.

    The product is rounded to 1e-12, so that the paper's step at eps = 8/255 is exactly 0.01.

    >>> relative_step(8 / 255), relative_step(2 / 255)
    (0.01, 0.0025)
    """
    return min(round(share * eps, 12), 1.0)


def check_options(attack: str, **options: object) -> None:
    """Check the values of numeric options.

    Args:
        attack: name of the attack for the message.
        options: option name -> value.

    Raises:
        UsageError: a value has the wrong type, is not finite, or is outside its limits.
    """
    for name, value in options.items():
        limits = NUMBERS[name]
        kinds = (int,) if limits.kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise UsageError(f"{attack}: {name} is {quoted(value)}; it must be a {_noun(limits)}.")
        if name == "eps":
            _parse_eps(attack, value)
        elif not limits.low <= value <= limits.high or (limits.positive and value == limits.low):  # NaN fails too
            raise UsageError(f"{attack}: {name} is {quoted(value)}; it must lie in {_interval(limits)}.")


def read_option(attack: str, name: str, text: str, default: object, choices: Sequence[str] | None) -> Value:
    """Read the text of one option.

    Args:
        attack: text of the attack for the message.
        name: of the option.
        text: what follows the equals sign.
        default: of the option; a truth value is recognised by it.
        choices: the texts allowed, for an option that takes a text.

    Raises:
        UsageError: the text is not a value of the option.
    """
    if choices is not None:
        return text
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise UsageError(f"{attack}: {name} is {quoted(text)}; write true or false.")
        return text.lower() == "true"
    if name == "eps":
        return _parse_eps(attack, text)
    limits = NUMBERS[name]
    try:
        return int(text) if limits.kind is int else read_number(text)
    except (ValueError, OverflowError):
        raise UsageError(f"{attack}: {name} is {quoted(text)}; write a {_noun(limits)}.") from None


def format_option(name: str, value: Value) -> str:
    """Return the text that `read_option` reads back as exactly `value`."""
    if name == "eps":
        return format_eps(float(value))
    if isinstance(value, bool):
        return str(value).lower()
    return format_number(value) if isinstance(value, float) else str(value)


def _parse_eps(attack: str, value: str | float) -> float:
    try:
        return parse_eps(value)
    except UsageError as error:
        raise UsageError(f"{attack}: {error}") from None


def _noun(limits: Number) -> str:
    return "whole number" if limits.kind is int else "number"


def _interval(limits: Number) -> str:
    low, high = f"{limits.low:,}", f"{limits.high:,}"
    return f"({low}, {high}]" if limits.positive else f"[{low}, {high}]"
