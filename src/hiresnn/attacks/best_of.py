"""The worst case per sample: what an attack has found so far, and several attacks taken together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from hiresnn.attacks.eot import expected_logits
from hiresnn.attacks.gate import Attack, Model, frozen
from hiresnn.attacks.losses import margin
from hiresnn.errors import UsageError
from hiresnn.metrics import correct


class Worst:
    """For each image of a batch the first misclassified candidate, or else the one with the largest margin loss.

    Attributes:
        images: the batch under attack, labels: its true classes.
        adversarial: the worst candidates so far, at first the images themselves.
        broken: where a candidate was misclassified; such an image is settled.
        logits: of the images themselves, [B, K]; computed where they are not given.
    """

    def __init__(
        self,
        model: Model,
        images: Float[Tensor, "batch channel height width"],
        labels: Int64[Tensor, " batch"],
        draws: int = 1,
        logits: Float[Tensor, "batch classes"] | None = None,
    ) -> None:
        self.model, self.labels, self.draws = model, labels, draws
        self.adversarial = images.detach().clone()
        self.logits = expected_logits(model, images, draws) if logits is None else logits
        self.broken = ~correct(self.logits, labels)
        self.reached = margin(self.logits, labels)

    @property
    def standing(self) -> Int64[Tensor, " left"]:
        """Rows that no candidate has broken."""
        return (~self.broken).nonzero()[:, 0]

    def offer(
        self, rows: Int64[Tensor, " left"], candidates: Float[Tensor, "left ..."], logits: Float[Tensor, "left classes"]
    ) -> Bool[Tensor, " left"]:
        """Take candidates for `rows` with the logits that the model gives them; True where they are misclassified."""
        labels = self.labels[rows]
        wrong, reached = ~correct(logits, labels), margin(logits, labels)
        better = ~self.broken[rows] & (wrong | (reached > self.reached[rows]))
        chosen = rows[better]
        self.adversarial[chosen] = candidates.detach()[better]
        self.reached[chosen] = reached[better]
        self.broken[rows] |= wrong
        return wrong

    def show(self, rows: Int64[Tensor, " left"], candidates: Float[Tensor, "left ..."]) -> Bool[Tensor, " left"]:
        """`offer` with the logits that the model gives now."""
        if not len(rows):
            return torch.zeros_like(rows, dtype=torch.bool)
        return self.offer(rows, candidates, expected_logits(self.model, candidates, self.draws))


def best_of(attacks: Sequence[Attack]) -> Attack:
    """One attack of several: they run in order on the images that still stand, so put the cheap ones first.

    The result is the worst case per sample. What a single attack claims to keep, its bound, this keeps.

    Raises:
        UsageError: no attack given.
    """
    if not attacks:
        raise UsageError("best_of was given no attack.")

    def worst(model: Model, images: Tensor, labels: Tensor) -> Tensor:
        with frozen(model):
            found = Worst(model, images, labels)
            for attack in attacks:
                rows = found.standing
                if not len(rows):
                    break
                found.show(rows, attack(model, images[rows], labels[rows]))
        return found.adversarial

    return worst
