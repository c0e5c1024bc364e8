"""Accuracy on a split, clean or under an attack, as an accumulator: update with a batch, compute the percentage."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hiresnn.attacks import Attack, frozen, verified
from hiresnn.data import Batches, Split
from hiresnn.progress import Progress


class Accuracy:
    """Right answers among all.

    >>> measure = Accuracy()
    >>> measure.update(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
    >>> measure.compute()
    50.0
    """

    def __init__(self) -> None:
        self.right = self.seen = 0

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch: logits [B, K], labels [B]."""
        self.right += int((logits.argmax(1) == labels).sum())
        self.seen += labels.shape[0]

    def compute(self) -> float:
        """Percentage of right answers; 0 before any."""
        return 100 * self.right / max(self.seen, 1)


def accuracy(
    network: nn.Module,
    split: Split,
    *,
    attack: Attack | None = None,
    eps: float | None = None,
    batch_size: int = 200,
    device: str = "cpu",
    title: str = "clean",
    progress: Progress | None = None,
) -> float:
    """Accuracy of `network` in eval mode, in percent, on the images as they are or after `attack`.

    What an attack returns goes through the gate: it must lie within `eps` (None: unchecked) and [0, 1].
    """
    measure = Accuracy()
    with frozen(network), (progress or Progress(quiet=True)).task(f"  {title}", len(split)) as task:
        for images, labels in Batches(split, batch_size, device=device):
            shown = images if attack is None else verified(attack, network, images, labels, eps=eps)
            with torch.no_grad():
                measure.update(network(shown), labels)
            task.advance(labels.shape[0], f"{measure.compute():.1f} %")
    return measure.compute()
