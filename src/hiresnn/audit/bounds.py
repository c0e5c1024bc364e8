"""Bounds of a robustness curve: L-infinity radii in pixel units, from 0 up to an attack without a bound."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from hiresnn.eps import parse_eps
from hiresnn.errors import UsageError


@dataclass(frozen=True, order=True)
class Bound:
    """One radius."""

    eps: float  # in pixel units, from 0 to 1; infinity stands for the attack that only [0, 1] limits
    label: str  # the bound as text, for example "8/255" or "inf"

    @property
    def radius(self) -> float:
        """eps as an attack takes it; a radius of 1 reaches every image in [0, 1]."""
        return min(self.eps, 1.0)


CLEAN = Bound(0.0, "0")
UNBOUNDED = Bound(math.inf, "inf")
CURVE = ("0", "0.5/255", "1/255", "2/255", "4/255", "8/255", "16/255", "64/255", "inf")  # the default bounds of a curve


def parse_bound(value: str | float) -> Bound:
    """Read "8/255", "0.5/255", "0.03", 0.03 or "inf"; see `hiresnn.eps.parse_eps`.

    Raises:
        UsageError: the value is not a number from 0 to 1 and not "inf".

    >>> parse_bound("2/255") == parse_bound("2.0/255")
    True
    """
    if str(value).strip() == "inf":
        return UNBOUNDED
    try:
        return bound_at(parse_eps(value))
    except UsageError as error:
        raise UsageError(f"bound {error}") from None


def bound_at(eps: float) -> Bound:
    """The bound of that radius, named in 255ths where it is a multiple of a quarter of one."""
    if not eps:
        return CLEAN
    if eps >= 1:
        return UNBOUNDED
    quarters = 4 * 255 * eps
    if round(quarters) and abs(quarters - round(quarters)) < 1e-6:
        return Bound(round(quarters) / 4 / 255, f"{round(quarters) / 4:g}/255")
    return Bound(eps, f"{eps:.6g}")


def curve(bounds: Iterable[str | float], headline: Bound) -> tuple[Bound, ...]:
    """The bounds of a curve in increasing order: 0, those named and the headline, each once.

    Raises:
        UsageError: a value that is not a bound, or a headline of 0.
    """
    if not headline.eps:
        raise UsageError("eps is 0, where there is nothing to attack; name a bound like 8/255.")
    by_label = {each.label: each for each in (CLEAN, *map(parse_bound, bounds), headline)}
    return tuple(sorted(by_label.values()))
