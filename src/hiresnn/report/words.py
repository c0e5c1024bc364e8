"""Numbers and names as the pages write them. A number that was not measured is a dash, never 0."""

from __future__ import annotations

import json
import re
from typing import Any

from markupsafe import Markup

MISSING = "–"
UNBOUNDED = "inf"


def percent(value: float | None) -> str:
    """One digit behind the point, without the sign of percent: 3.5. Rounding leaves no minus before 0.0."""
    return MISSING if value is None else f"{round(value, 1) + 0.0:.1f}"


def interval(low: float, high: float) -> str:
    """An interval in percent: 1.7–7.0."""
    return f"{percent(low)}–{percent(high)}"


def change(value: float, digits: int = 1) -> str:
    """A difference: +37.5, 0.0, −0.5 (with the minus sign that is as wide as a plus)."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def bound(label: str) -> str:
    """A bound as prose and table heads write it."""
    return "no bound" if label == UNBOUNDED else label


def ticks(labels: list[str]) -> tuple[list[str], str]:
    """Short names of bounds under an axis, and the axis' label, which takes over the unit where all share it.

    >>> ticks(["0", "0.5/255", "inf"])
    (['0', '0.5', '∞'], 'bound on each pixel (L∞), in 1/255')
    """
    shared = all(label.endswith("/255") or label in ("0", UNBOUNDED) for label in labels)
    short = ["∞" if label == UNBOUNDED else label.removesuffix("/255") if shared else label for label in labels]
    return short, "bound on each pixel (L∞), in 1/255" if shared else "bound on each pixel (L∞)"


def breakable(text: str) -> Markup:
    """A name that may break behind its commas and colons, for narrow columns; escaped."""
    return Markup("<wbr>").join(re.split(r"(?<=[,:])", text))


def number(value: float | None) -> str:
    """Up to four digits: 0.4608, 1.884, 12.5, 1,234."""
    if value is None:
        return MISSING
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def plain(value: Any) -> str:
    """A recipe's or an environment's value: text as it is, everything else as JSON; None is a dash."""
    if value is None:
        return MISSING
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
