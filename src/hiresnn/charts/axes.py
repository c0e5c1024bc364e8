"""Axes of an SVG chart: their range and their ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HUGE = 1e300  # values beyond this are drawn at the edge, so that the range of an axis never overflows


@dataclass(frozen=True)
class Axis:
    """A label with its unit, the visible range, and the ticks as (value, text)."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        """Position of a value, from 0 to 1; a value outside the range is at its edge."""
        return (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)


def percent_axis(label: str) -> Axis:
    """The full range from 0 to 100 percent, so that charts can be compared with each other."""
    return Axis(label, 0, 100, tuple((value, str(value)) for value in (0, 25, 50, 75, 100)))


def category_axis(label: str, names: Sequence[str]) -> Axis:
    """Ordered names at 0, 1, ..., with a margin at both ends."""
    return Axis(label, -0.25, max(len(names), 1) - 0.75, tuple(enumerate(names)))


def epoch_axis(last: int) -> Axis:
    """Epochs 1 to `last`; a single epoch is in the middle."""
    if last <= 1:
        return Axis("epoch", 0.5, 1.5, ((1, "1"),))
    step = max(1, math.ceil(_step(last - 1, 6)))
    # Epoch 1 gets a tick only where the next tick is far enough away for both texts.
    marks = [*([1] if step > 2 else []), *range(step, last + 1, step)]
    return Axis("epoch", 1, last, tuple((mark, str(mark)) for mark in marks))


def number_axis(label: str, values: Iterable[float], *, zero: bool = False, most: float = HUGE) -> Axis:
    """An axis from one round tick to another that holds all values.

    Args:
        label: text beside the axis, with the unit.
        values: finite numbers; the axis ends at plus and minus 1e300.
        zero: whether the axis also holds 0.
        most: the largest number that there can be, a round one, such as 100 for percent.

    Example:
        >>> number_axis("loss", [0.31, 1.9], zero=True).ticks
        ((0.0, '0'), (0.5, '0.5'), (1.0, '1'), (1.5, '1.5'), (2.0, '2'))
    """
    known = [min(max(value, -HUGE), HUGE) for value in values] + ([0.0] if zero else []) or [0.0, 1.0]
    low, high = min(known), max(known)
    if math.isclose(low, high, abs_tol=1e-300):
        # One value gives no scale: use a tenth of it around the value, or 1 where it is 0 (which `zero` may pin).
        low, high = low - (0 if zero else abs(low) / 10 or 1), min(high + (abs(high) / 10 or 1), most)
    step = _step(high - low, 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # 95 * 0.01 is 0.9500000000000001, so a value of 0.95 would lie outside without rounding.
    marks = [float(f"{index * step:.12g}") for index in range(first, last + 1)]
    return Axis(label, marks[0], marks[-1], tuple((mark, f"{mark:.6g}") for mark in marks))


def _step(span: float, parts: int) -> float:
    """The round number (1, 2, 2.5 or 5 times a power of ten) that divides `span` into at most `parts` parts."""
    power = 10.0 ** math.floor(math.log10(span / parts))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power * parts >= span * (1 - 1e-9))
