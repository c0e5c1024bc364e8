"""Attack bounds (L-infinity radii in pixel units) and other numbers as text: one parser and one text form for each."""

import math
from dataclasses import dataclass
from typing import Any

from hiresnn.errors import UsageError, quoted


def parse_eps(value: Any) -> float:
    """Read an attack bound such as "8/255", "0.03" or 8 / 255; UsageError unless it is a number in [0, 1]."""
    text = quoted(value)
    try:
        eps = read_number(value) if isinstance(value, str) else float(value)
    except (ValueError, TypeError, OverflowError):
        raise UsageError(f"{text} is not a number; write one from 0 to 1, or a fraction such as 8/255.") from None
    if eps > 1 and math.isfinite(eps):
        level = f"{eps:g}/255" if eps <= 255 and "/" not in str(value) else "8/255"
        raise UsageError(f"{text} is too large, because pixels lie in [0, 1]; did you mean {level}?")
    if not 0 <= eps <= 1:  # also true of NaN
        raise UsageError(f"{text} does not lie in [0, 1]; write a number such as 8/255.")
    return eps


def format_eps(eps: float) -> str:
    """Return the shorter of a decimal and a fraction of 255 that `parse_eps` reads back as exactly `eps`.

    >>> format_eps(8 / 255), format_eps(0.1 / 255), format_eps(0.03)
    ('8/255', '0.1/255', '0.03')
    """
    decimal, fraction = format_number(eps), f"{eps * 255:.6g}/255"
    return fraction if read_number(fraction) == eps and len(fraction) < len(decimal) else decimal


def read_number(text: str) -> float:
    """Read a decimal, which may be infinite, or a fraction of two; ValueError for other texts."""
    numerator, slash, denominator = text.partition("/")
    if slash and float(denominator) == 0:
        raise ValueError("division by zero")
    return float(numerator) / float(denominator if slash else 1)


def format_number(value: float) -> str:
    """Return the shortest text that `read_number` reads back as exactly `value`: 4, 0.5, 0.3333333333333333."""
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


@dataclass(frozen=True, order=True)
class Bound:
    """A radius of a robustness curve: `eps` from 0 to 1, or infinite if only [0, 1] limits; and its text, "8/255"."""

    eps: float
    label: str

    @property
    def radius(self) -> float:
        """`eps` as an attack takes it; a radius of 1 reaches every image in [0, 1]."""
        return min(self.eps, 1.0)


CLEAN, UNBOUNDED = Bound(0.0, "0"), Bound(math.inf, "inf")


def parse_bound(value: str | float) -> Bound:
    """Read "8/255", "0.03", 0.03 or "inf"; raises UsageError unless it is a number from 0 to 1 or "inf".

    >>> parse_bound("2/255") == parse_bound("2.0/255")
    True
    """
    try:
        return UNBOUNDED if str(value).strip() == "inf" else bound_at(parse_eps(value))
    except UsageError as error:
        raise UsageError(f"bound {error}") from None


def bound_at(eps: float) -> Bound:
    """Return the bound of that radius, named in 255ths where it is a multiple of a quarter of one."""
    if not eps or eps >= 1:
        return UNBOUNDED if eps else CLEAN
    quarters = 4 * 255 * eps
    if round(quarters) and abs(quarters - round(quarters)) < 1e-6:
        return Bound(round(quarters) / 4 / 255, f"{round(quarters) / 4:g}/255")
    return Bound(eps, f"{eps:.6g}")
