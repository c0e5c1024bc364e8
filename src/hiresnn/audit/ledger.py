"""The ledger: for every image the smallest bound at which anything broke it, and what did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from hiresnn.audit.bounds import Bound


@dataclass
class Entry:
    """What one attack found and cost; passes count images."""

    label: str
    shown: int = 0
    forward: int = 0
    backward: int = 0
    seconds: float = 0.0


class Ledger:
    """Worst case per sample over all bounds: an image that falls at one bound has fallen at every larger one.

    Attributes:
        bounds: in order, the clean image first.
        level: for each image the position in `bounds` of the smallest that broke it; len(bounds) where none did.
        by: label of the attack that did, "" where none did or the clean image is misclassified.
        entries: label -> what the attack found and cost, in the order of their first use.
    """

    def __init__(self, wrong: Bool[Tensor, " image"], bounds: Sequence[Bound]) -> None:
        self.bounds = tuple(bounds)
        self.level: Int64[Tensor, " image"] = torch.where(wrong, 0, len(self.bounds))
        self.by = [""] * len(wrong)
        self.entries: dict[str, Entry] = {}

    def standing(self, bound: Bound, start: int = 0, stop: int | None = None) -> Int64[Tensor, " left"]:
        """Images from `start` to `stop` that nothing has broken at `bound` or below."""
        left: Tensor = (self.level[start:stop] > self.bounds.index(bound)).nonzero()[:, 0]
        return left + start

    def count(self, bound: Bound) -> int:
        """How many images stand at `bound`."""
        return len(self.standing(bound))

    def add(
        self, label: str, bound: Bound, broken: Int64[Tensor, " broken"], *,
        shown: int, forward: int, backward: int, seconds: float,
    ) -> None:  # fmt: skip
        """Enter what `label` broke at `bound`; images that fell at it or below before stay with what broke them."""
        entry = self.entries.setdefault(label, Entry(label))
        entry.shown += shown
        entry.forward += forward
        entry.backward += backward
        entry.seconds += seconds
        place = self.bounds.index(bound)
        for image in broken.tolist():
            if self.level[image] > place:
                self.level[image] = place
                self.by[image] = label

    def broke(self, label: str) -> dict[str, int]:
        """Bound -> images whose smallest bound that is, by the attack `label`."""
        found: dict[str, int] = {}
        for level, by in zip(self.level.tolist(), self.by, strict=True):
            if by == label:
                name = self.bounds[level].label
                found[name] = found.get(name, 0) + 1
        return found
