"""Accuracy: the only place that decides whether an answer is correct and counts correct answers."""

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from hiresnn.errors import UsageError


def require_logits(logits: object, images: int) -> None:
    """Raise UsageError unless a network's answer to `images` images is a tensor of logits [B, K]."""
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != images:
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(
            f"the network answered {images} images with {got}, but must return logits [{images}, classes]; return the "
            "logits alone, summed or averaged over time (docs/foreign.md has adapters for networks that do not)."
        )


def correct(logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
    """Return which images are classified correctly: all logits are finite, and the largest is that of the label.

    Without the first condition a row of NaN would count as class 0. Raises UsageError for labels of another shape.

    >>> import torch
    >>> logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [float("nan"), 0.0]])
    >>> correct(logits, torch.tensor([0, 0, 0])).tolist()
    [True, False, False]
    """
    if labels.shape != logits.shape[:1]:
        raise UsageError(
            f"labels have the shape {list(labels.shape)} for logits {list(logits.shape)}; give one class number per "
            "image, [B]."
        )
    return (logits.argmax(1) == labels) & logits.isfinite().all(1)


def require_classes(labels: Int64[Tensor, " batch"], classes: int) -> None:
    """Raise UsageError unless all labels lie in 0 to classes - 1."""
    if not len(labels):
        return
    low, high = map(int, labels.aminmax())
    if low < 0 or high >= classes:
        raise UsageError(
            f"labels reach from {low} to {high}, but the network has {classes} classes; labels are class numbers "
            "counted from 0."
        )


class Accuracy:
    """Accumulates correct answers: `right` of the `seen` images.

    >>> import torch
    >>> accuracy = Accuracy()
    >>> accuracy.update(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
    >>> accuracy.compute()
    50.0
    """

    def __init__(self) -> None:
        self.right = self.seen = 0

    def update(self, logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"]) -> None:
        """Add a batch. Raises UsageError where a label is not a class of the network."""
        require_classes(labels, logits.shape[1])
        self.right += int(correct(logits, labels).sum())
        self.seen += labels.shape[0]

    def compute(self) -> float:
        """Return the percentage of correct answers, 0 to 100; 0 before the first batch."""
        return 100 * self.right / max(self.seen, 1)
