"""Checks of what a caller passes: images or event grids, labels, logits; which answers are correct; a hash of tensors.

Public functions and readers of files call these once; code inside the package trusts its types.
"""

import hashlib
import math
from collections.abc import Iterable
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from hiresnn.errors import HiresnnError, UsageError


def require_batch(
    images: object,
    labels: object = None,
    *,
    pixels: Literal["float", "uint8", "either"] = "float",
    empty: bool = True,
    name: str = "",
    error: type[HiresnnError] = UsageError,
) -> None:
    """Raise `error` unless images are a tensor [N, C, H, W] with pixels in range, and labels integers [N] from 0.

    `pixels` says whether they are floats in [0, 1], uint8, or either; `name` opens the message. A tensor
    [N, T, P, H, W] is a batch of event grids, of T bins and P polarities, whose cells are counts of at least 0.
    """
    opening = f"{name}: " if name else ""
    if not isinstance(images, Tensor) or images.dim() not in (4, 5):
        remedy = "give a tensor [N, C, H, W], or [N, T, P, H, W] for event grids"
        raise error(f"{opening}images are {_described(images)}; {remedy}.")
    if not empty and not len(images):
        raise error(f"{opening}there are no images; give at least one.")
    if problem := _pixel_problem(images, pixels) if images.dim() == 4 else _count_problem(images, pixels):
        raise error(f"{opening}images {problem}.")
    if labels is None:
        return
    integers = isinstance(labels, Tensor) and not labels.is_floating_point() and not labels.is_complex()
    if not integers or labels.shape != images.shape[:1]:  # type: ignore[attr-defined]
        raise error(
            f"{opening}labels are {_described(labels)} for {len(images)} images; give one whole number per image, [N]."
        )
    if len(labels) and (lowest := int(labels.min())) < 0:  # type: ignore[arg-type, attr-defined]
        raise error(f"{opening}a label is {lowest}; labels are class numbers counted from 0.")


def require_logits(logits: object, images: int) -> None:
    """Raise UsageError unless a network's answer to `images` images is a tensor of logits [B, K]."""
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != images:
        got = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(
            f"the network answered {images} images with {got}, but must return logits [{images}, classes]; return the "
            "logits alone, summed or averaged over time (docs/foreign.md has adapters for networks that do not)."
        )


def require_classes(labels: Tensor, classes: int, name: str = "", error: type[HiresnnError] = UsageError) -> None:
    """Raise `error` unless all labels lie in 0 to classes - 1; `name` opens the message."""
    low, high = map(int, labels.aminmax()) if len(labels) else (0, -1)
    if low < 0 or high >= classes:
        opening = f"{name}: " if name else ""
        raise error(f"{opening}labels reach from {low} to {high}, but there are {classes} classes, counted from 0.")


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


def fingerprint(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """SHA-256 in hexadecimal over the names, shapes, types and values of tensors; None if there are none."""
    digest, empty = hashlib.sha256(), True
    for name, tensor in tensors:
        empty = False
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return None if empty else digest.hexdigest()


def _described(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _pixel_problem(images: Tensor, pixels: str) -> str:
    """Return what is wrong with the type or the range of pixels, and the likely remedy; "" if nothing is."""
    if images.dtype == torch.uint8 and pixels != "float":
        return ""
    if pixels == "uint8":
        return f"are {images.dtype}; give uint8, such as (255 * images).round().to(torch.uint8) for floats in [0, 1]"
    if not images.is_floating_point():
        return f"are {images.dtype}, not floats in [0, 1]: divide by 255 (images / 255)"
    if not images.numel():
        return ""
    low, high = images.aminmax()
    if low >= 0 and high <= 1:  # false for NaN
        return ""
    if not (low.isfinite() and high.isfinite()):
        remedy = "remove the pixels that are not finite"
    elif low >= 0 and high <= 255:
        remedy = "divide by 255"
    else:
        remedy = "move any normalisation into the model (hiresnn.models.Normalise)"
    return f"have pixels in [{low:.4g}, {high:.4g}], not in [0, 1]: {remedy}"


def _count_problem(grids: Tensor, cells: str) -> str:
    """Return what is wrong with the type or the counts of event grids [N, T, P, H, W]; "" if nothing is."""
    if cells == "uint8" and grids.dtype != torch.uint8:
        return f"are event grids of {grids.dtype}; give uint8, one count of 0 to 255 per cell"
    if cells == "float" and not grids.is_floating_point():
        return f"are event grids of {grids.dtype}; give floats (grids.float())"
    if grids.is_complex():
        return f"are event grids of {grids.dtype}; give counts, such as uint8 or float32"
    if not grids.numel() or grids.dtype in (torch.bool, torch.uint8):
        return ""
    low, high = grids.aminmax()
    if low >= 0 and high < math.inf:  # false for NaN
        return ""
    return f"are event grids with cells in [{low:.4g}, {high:.4g}]; give finite counts of at least 0, one polarity each"


def as_floats(images: Tensor) -> Tensor:
    """Return uint8 images [N, C, H, W] as float32 in [0, 1], and event grids [N, T, P, H, W] as float32 counts."""
    floats = images.to(torch.float32)
    return floats.div_(255) if images.dim() == 4 else floats
