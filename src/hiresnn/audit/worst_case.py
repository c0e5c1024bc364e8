"""The worst case: for every image the smallest bound at which any attack broke it, and the adversarial image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from hiresnn.audit.bounds import Bound


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
        """How many images stand at `bound`; see `standing`."""
        return len(self.standing(bound, gradient=gradient))

    def update(self, label: str, bound: Bound, broken: Mapping[int, Tensor], cost: Cost, *, gradient: bool) -> None:
        """Record what the attack `label` broke at `bound`: image -> adversarial image.

        An image that was broken at this bound or a smaller one keeps the attack that broke it first.
        """
        self.costs.setdefault(label, Cost()).add(cost)
        place = self.bounds.index(bound)
        for image, adversarial in broken.items():
            if gradient:
                self.gradient_level[image] = min(int(self.gradient_level[image]), place)
            if self.level[image] > place:
                self.level[image], self.by[image] = place, label
                self.adversarial[image] = adversarial

    def broke(self, label: str) -> dict[str, int]:
        """Bound -> images whose smallest bound that is, broken by the attack `label`."""
        levels = zip(self.level.tolist(), self.by, strict=True)
        return dict(Counter(self.bounds[level].label for level, by in levels if by == label))
