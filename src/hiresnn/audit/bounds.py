"""Bounds of a robustness curve, L-infinity radii from 0 to no bound at all, and the worst case per image over them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from hiresnn.eps import parse_eps
from hiresnn.errors import UsageError


@dataclass(frozen=True, order=True)
class Bound:
    """One radius in pixel units."""

    eps: float  # from 0 to 1; infinity stands for the attack that only [0, 1] limits
    label: str  # the bound as text, for example "8/255" or "inf"

    @property
    def radius(self) -> float:
        """eps as an attack takes it; a radius of 1 reaches every image in [0, 1]."""
        return min(self.eps, 1.0)


CLEAN = Bound(0.0, "0")
UNBOUNDED = Bound(math.inf, "inf")
CURVE = ("0", "0.5/255", "1/255", "2/255", "4/255", "8/255", "16/255", "64/255", "inf")  # the default bounds of a curve


def parse_bound(value: str | float) -> Bound:
    """Read "8/255", "0.03", 0.03 or "inf"; raises UsageError unless it is a number from 0 to 1 or "inf".

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
    """The bounds of a curve in increasing order: 0, those named and the headline, each once."""
    if not headline.eps:
        raise UsageError("eps is 0, where there is nothing to attack; name a bound like 8/255.")
    by_label = {bound.label: bound for bound in (CLEAN, *map(parse_bound, bounds), headline)}
    return tuple(sorted(by_label.values()))


@dataclass
class Cost:
    """Image-bound pairs attacked, passes in images, wall-clock time, and rows of logits that were not finite."""

    attacked: int = 0
    forward: int = 0
    backward: int = 0
    seconds: float = 0.0
    nonfinite: int = 0

    def add(self, other: Cost) -> None:
        """Add another cost to this one."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class WorstCase:
    """The worst case per image over all attacks and bounds.

    An image that is broken at one bound is broken at every larger one. What gradient attacks broke is recorded a second
    time, so that what attacks without gradients broke of the rest does not depend on the order of the attacks.

    Attributes:
        level: for each image the position in `bounds` of the smallest that broke it; len(bounds) if none did.
        gradient_level: the same for gradient attacks alone.
        by: for each image the label of the attack that broke it; "" if none did or the clean image is misclassified.
        adversarial: image -> what broke it at its smallest bound, [C, H, W] on the CPU.
        costs: label -> the cost of that attack, in the order of first use.
    """

    def __init__(self, wrong: Bool[Tensor, " image"], bounds: Sequence[Bound]) -> None:
        self.bounds = tuple(bounds)
        self.level: Int64[Tensor, " image"] = torch.where(wrong, 0, len(self.bounds))
        self.gradient_level = self.level.clone()
        self.by = [""] * len(wrong)
        self.adversarial: dict[int, Tensor] = {}
        self.costs: dict[str, Cost] = {}

    def standing(
        self, bound: Bound, start: int = 0, stop: int | None = None, *, gradient: bool = False
    ) -> Int64[Tensor, " left"]:
        """Images from `start` to `stop` that nothing (or, with `gradient`, no gradient attack) broke at `bound`."""
        level = self.gradient_level if gradient else self.level
        left: Tensor = (level[start:stop] > self.bounds.index(bound)).nonzero()[:, 0]
        return left + start

    def count(self, bound: Bound, *, gradient: bool = False) -> int:
        """How many images stand at `bound`."""
        return len(self.standing(bound, gradient=gradient))

    def update(self, label: str, bound: Bound, broken: Mapping[int, Tensor], cost: Cost, *, gradient: bool) -> None:
        """Record what the attack `label` broke at `bound`: image -> adversarial image.

        An image that was broken at this bound or a smaller one keeps the attack that broke it first.
        """
        self.costs.setdefault(label, Cost()).add(cost)
        level = self.bounds.index(bound)
        for image, adversarial in broken.items():
            if gradient:
                self.gradient_level[image] = min(int(self.gradient_level[image]), level)
            if self.level[image] > level:
                self.level[image], self.by[image] = level, label
                self.adversarial[image] = adversarial

    def broke(self, label: str) -> dict[str, int]:
        """Bound -> images whose smallest bound that is, broken by the attack `label`."""
        levels = zip(self.level.tolist(), self.by, strict=True)
        return dict(Counter(self.bounds[level].label for level, by in levels if by == label))
