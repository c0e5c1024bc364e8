"""Axes of a chart: where ticks lie, and where a value lands on the drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """A label with its unit, the range that is drawn, and the ticks in it: (value, text)."""

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Frame:
    """The rectangle that the data fills, in the units of the drawing's viewBox; y grows downward."""

    left: float
    top: float
    right: float
    bottom: float

    def x(self, value: float, axis: Axis) -> float:
        """The horizontal place of a value."""
        return self.left + (value - axis.low) / (axis.high - axis.low) * (self.right - self.left)

    def y(self, value: float, axis: Axis) -> float:
        """The vertical place of a value."""
        return self.bottom - (value - axis.low) / (axis.high - axis.low) * (self.bottom - self.top)


def percents(label: str) -> Axis:
    """0 to 100 percent, whole, so that two charts compare at a glance."""
    return Axis(label, 0, 100, tuple((value, str(value)) for value in (0, 25, 50, 75, 100)))


def categories(label: str, names: Sequence[str]) -> Axis:
    """The whole numbers 0, 1, ... as ordered names, with a little air at both ends."""
    return Axis(label, -0.25, max(len(names), 1) - 0.75, tuple(enumerate(names)))


def epochs(last: int) -> Axis:
    """Epochs 1 to `last`; one epoch alone stands in the middle."""
    if last <= 1:
        return Axis("epoch", 0.5, 1.5, ((1, "1"),))
    step = max(1, math.ceil(_step(last - 1, 6)))
    # Epoch 1 gets its tick where the next is far enough away for both texts.
    marks = [*([1] if step > 2 else []), *range(step, last + 1, step)]
    return Axis("epoch", 1, last, tuple((mark, str(mark)) for mark in marks))


def numbers(label: str, values: Iterable[float], *, zero: bool = False) -> Axis:
    """A range that holds all `values` (and 0 where `zero`), from round tick to round tick.

    >>> numbers("loss", [0.31, 1.9], zero=True).ticks
    ((0.0, '0'), (0.5, '0.5'), (1.0, '1'), (1.5, '1.5'), (2.0, '2'))
    """
    known = [*values, *([0.0] if zero else [])] or [0.0, 1.0]
    low, high = min(known), max(known)
    if math.isclose(low, high):
        # Without a range there is no scale: a tenth around the value, or one around zero, which may be the beginning.
        low, high = low - (0 if zero else abs(low) / 10 or 1), high + (abs(high) / 10 or 1)
    step = _step(high - low, 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    # 95 * 0.01 is 0.9500000000000001, and a value of 0.95 would lie outside.
    marks = [float(f"{index * step:.12g}") for index in range(first, last + 1)]
    return Axis(label, marks[0], marks[-1], tuple((mark, f"{mark:.6g}") for mark in marks))


def _step(span: float, about: int) -> float:
    """The round number (1, 2, 2.5 or 5 times a power of ten) that cuts `span` into at most `about` parts."""
    power = 10.0 ** math.floor(math.log10(span / about))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power * about >= span * (1 - 1e-9))
