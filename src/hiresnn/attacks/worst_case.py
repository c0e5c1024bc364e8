"""The worst case per sample: the best candidate found so far, and several attacks combined."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from hiresnn.attacks.gate import Attack, Model, frozen
from hiresnn.attacks.losses import LossGradient, expected_logits, margin
from hiresnn.errors import UsageError
from hiresnn.metrics import correct


class WorstCandidates:
    """For each image of a batch, the first misclassified candidate, or else the one with the largest margin loss.

    Logits that are not finite count as misclassified.

    Attributes:
        model, images, labels: the network and the batch under attack.
        draws: forward passes that logits are averaged over.
        first: loss and gradient at the images, if known; the first climb takes it from here.
        logits: of the images themselves, [B, K].
        adversarial: the worst candidates so far, at first the images themselves.
        broken: where a candidate was misclassified; such an image does not change any more.
        margins: margin loss of `adversarial`.
    """

    def __init__(
        self,
        model: Model,
        images: Float[Tensor, "batch channel height width"],
        labels: Int64[Tensor, " batch"],
        draws: int = 1,
        first: LossGradient | None = None,
    ) -> None:
        self.model, self.images, self.labels, self.draws, self.first = model, images, labels, draws, first
        self.adversarial = images.detach().clone()
        self.logits = first.logits if first else expected_logits(model, images, draws)
        self.broken = ~correct(self.logits, labels)
        self.margins = margin(self.logits, labels)

    @property
    def standing(self) -> Int64[Tensor, " left"]:
        """Rows that no candidate has broken."""
        return (~self.broken).nonzero()[:, 0]

    def update(
        self, rows: Int64[Tensor, " left"], candidates: Float[Tensor, "left ..."], logits: Float[Tensor, "left classes"]
    ) -> Bool[Tensor, " left"]:
        """Take candidates for `rows` with their logits; return where they are misclassified."""
        labels = self.labels[rows]
        wrong, margins = ~correct(logits, labels), margin(logits, labels)
        better = ~self.broken[rows] & (wrong | (margins > self.margins[rows]))
        chosen = rows[better]
        self.adversarial[chosen] = candidates.detach()[better]
        self.margins[chosen] = margins[better]
        self.broken[rows] |= wrong
        return wrong

    def query(self, rows: Int64[Tensor, " left"], candidates: Float[Tensor, "left ..."]) -> Bool[Tensor, " left"]:
        """Run the model on candidates for `rows` and update; return where they are misclassified."""
        if not len(rows):
            return torch.zeros_like(rows, dtype=torch.bool)
        return self.update(rows, candidates, expected_logits(self.model, candidates, self.draws))


def best_of(attacks: Sequence[Attack]) -> Attack:
    """Combine attacks into their worst case per sample.

    They run in order, each on the images that the earlier ones have not broken, so list the cheap ones first.

    Raises:
        UsageError: no attack given.
    """
    if not attacks:
        raise UsageError("best_of needs at least one attack; the list is empty.")

    def worst(model: Model, images: Tensor, labels: Tensor) -> Tensor:
        with frozen(model):
            candidates = WorstCandidates(model, images, labels)
            for attack in attacks:
                rows = candidates.standing
                if not len(rows):
                    break
                candidates.query(rows, attack(model, images[rows], labels[rows]))
        return candidates.adversarial

    return worst


def transfer(attack: Attack, twin: Model) -> Attack:
    """Return a black-box attack that computes its images on `twin` and never queries the model (sec. 5.2).

    The paper's twin has the same architecture and training method and another seed. Whether it starts from the same
    ANN is not stated, but decides the result: report both.
    """

    def on_twin(model: Model, images: Tensor, labels: Tensor) -> Tensor:
        with frozen(twin):
            return attack(twin, images, labels)

    return on_twin
