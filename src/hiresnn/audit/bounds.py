"""Bounds of a robustness curve: L-infinity radii in pixel units, from 0 to none at all."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from hiresnn.errors import UsageError


@dataclass(frozen=True, order=True)
class Bound:
    """One radius.

    Attributes:
        eps: in pixel units, at least 0; infinity is the attack that [0, 1] alone bounds.
        label: how it is written, "8/255" or "inf".
    """

    eps: float
    label: str

    @property
    def radius(self) -> float:
        """eps as an attack takes it: 1 reaches every image of [0, 1]."""
        return min(self.eps, 1.0)


CLEAN = Bound(0.0, "0")
CURVE = ("0", "0.5/255", "1/255", "2/255", "4/255", "8/255", "16/255", "64/255", "inf")
"""Where a curve is taken if nobody asks otherwise."""


def bound(text: str) -> Bound:
    """Read "8/255", "0.5/255", "0.03" or "inf".

    Raises:
        UsageError: not a number of at least 0.

    >>> bound("2/255") == bound("2.0/255")
    True
    """
    try:
        top, slash, bottom = text.strip().partition("/")
        eps = math.inf if text.strip() == "inf" else float(Fraction(top) / Fraction(bottom if slash else "1"))
    except (ValueError, ZeroDivisionError, OverflowError):
        eps = -1.0
    if not eps >= 0:
        raise UsageError(f"bound {text!r} is not a radius; write one like 8/255, 0.03 or inf.")
    return of(eps)


def of(eps: float) -> Bound:
    """The bound of that radius; within rounding of a multiple of half a 255th it is that multiple, and named so."""
    if not eps:
        return CLEAN
    if math.isinf(eps) or eps >= 1:
        return Bound(math.inf, "inf")
    levels = 255 * eps
    if abs(levels * 2 - round(levels * 2)) < 1e-6:
        return Bound(round(levels * 2) / 2 / 255, f"{round(levels * 2) / 2:g}/255")
    return Bound(eps, f"{eps:.6g}")


def curve(bounds: Iterable[str], headline: Bound) -> tuple[Bound, ...]:
    """The bounds of a curve in order: those named, 0, and the headline; each once.

    Raises:
        UsageError: a text that is no bound, or a headline of 0.
    """
    if not headline.eps:
        raise UsageError("the headline's bound is 0, at which there is no attack; name one like 8/255.")
    found = {each.label: each for each in (CLEAN, *map(bound, bounds), headline)}
    return tuple(sorted(found.values()))
