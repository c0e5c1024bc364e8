"""Numbers and names as the pages write them. A value that was not measured is a dash, never 0."""

import json
import re
from typing import Any

from markupsafe import Markup

MISSING, UNBOUNDED = "–", "inf"
LONGEST = 300  # characters of a setting


def percent(value: float | None) -> str:
    """One decimal without the percent sign, such as 3.5. Rounding never leaves "-0.0"."""
    return MISSING if value is None else f"{round(value, 1) + 0.0:.1f}"


def interval(low: float, high: float) -> str:
    """An interval in percent, such as 1.7–7.0."""
    return f"{percent(low)}–{percent(high)}"


def change(value: float, digits: int = 1) -> str:
    """A difference with its sign: +37.5, 0.0, −0.5 (with a minus sign as wide as the plus)."""
    text = f"{value:+.{digits}f}"
    return text.replace("-", "−") if float(text) else text[1:]


def bound(label: str) -> str:
    """A bound in prose and table headings."""
    return "no bound" if label == UNBOUNDED else label


def ticks(labels: list[str]) -> tuple[list[str], str]:
    """Short names of bounds for an axis, and the label of the axis, which holds the unit if all bounds share it."""
    shared = all(label.endswith("/255") or label in ("0", UNBOUNDED) for label in labels)
    short = ["∞" if label == UNBOUNDED else label.removesuffix("/255") if shared else label for label in labels]
    return short, "bound on each pixel (L∞), in 1/255" if shared else "bound on each pixel (L∞)"


def breakable(text: str) -> Markup:
    """A name, escaped, that may wrap after its commas and colons."""
    return Markup("<wbr>").join(re.split(r"(?<=[,:])", text))


def number(value: float | None) -> str:
    """Up to four digits: 0.4608, 1.884, 12.5, 1,234, 1e+308."""
    return MISSING if value is None else f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def plain(value: Any) -> str:
    """A setting as its file writes it: text as it is, None as a dash, everything else as JSON; long ones are cut."""
    if value is None:
        return MISSING
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
