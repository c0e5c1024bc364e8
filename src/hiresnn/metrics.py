"""Accuracy: the only place that decides whether an answer is correct and counts correct answers."""

from jaxtyping import Bool, Float, Int64
from torch import Tensor

from hiresnn.checks import require_classes
from hiresnn.errors import UsageError


def correct(logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
    """Return which images are classified correctly: all logits are finite, and the largest is that of the label.

    Without the first condition a row of NaN would count as class 0. Raises UsageError for labels of another shape.
    """
    if labels.shape != logits.shape[:1]:
        shapes = f"{list(labels.shape)} for logits {list(logits.shape)}"
        raise UsageError(f"labels have the shape {shapes}; give one class number per image, [B].")
    return (logits.argmax(1) == labels) & logits.isfinite().all(1)


class Accuracy:
    """Accumulates correct answers, `right` of the `seen` images; UsageError where a label is not a class."""

    def __init__(self) -> None:
        self.right = self.seen = 0

    def update(self, logits: Float[Tensor, "batch classes"], labels: Int64[Tensor, " batch"]) -> None:
        require_classes(labels, logits.shape[1])
        self.right += int(correct(logits, labels).sum())
        self.seen += labels.shape[0]

    def compute(self) -> float:
        """Return the percentage of correct answers, 0 to 100; 0 before the first batch."""
        return 100 * self.right / max(self.seen, 1)
