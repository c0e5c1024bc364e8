"""Parts of a split in which every class keeps its share, chosen the same way every time."""

import torch
from jaxtyping import Int64
from torch import Tensor

from hiresnn.data.dataset import Split
from hiresnn.errors import UsageError


def rank_in_class(labels: Int64[Tensor, "image"]) -> Int64[Tensor, "image"]:
    """Return for each image how many images of its class come before it."""
    order = labels.argsort(stable=True)
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels), device=labels.device) - starts[labels[order]]
    return rank


def first(split: Split, count: int, *, key: str = "count") -> Split:
    """Select `count` images, round-robin over the classes: the first of each class before the second of any.

    When a class runs out of images, the others fill up. The images stay in their order.

    Args:
        count: how many images; 0 means all.
        key: what the user calls the count, for the message: an option or the key of a recipe.

    Raises:
        UsageError: `count` is negative or larger than the split.
    """
    return _select(split, _turns(split, count, key).sort().values) if count else split


def in_turn(split: Split, count: int) -> Split:
    """Select the images of `first`, in round-robin order: a smaller count gives the start of a larger one.

    Args:
        count: how many images; 0 means all.

    Raises:
        UsageError: as `first`.
    """
    return _select(split, _turns(split, count or len(split), "count"))


def _turns(split: Split, count: int, key: str) -> Int64[Tensor, "selected"]:
    if not 0 <= count <= len(split):
        raise UsageError(f"{key} is {count}, but the data hold {len(split)} images; give at most that, or 0 for all.")
    num_classes = int(split.labels.max()) + 1 if len(split) else 0
    return (rank_in_class(split.labels) * num_classes + split.labels).argsort()[:count]


def holdout(split: Split, count: int, seed: int = 0, *, key: str = "count") -> tuple[Split, Split]:
    """Divide a split at random into (rest, held out), in both of which every class keeps its share.

    Shares that are not whole numbers are rounded so that the sum is `count`, the largest fractions up first. In both
    parts the images stay in their order. The global random state is neither read nor changed.

    Args:
        count: images that are held out.
        seed: of the random choice.
        key: what the user calls the count, for the message.

    Raises:
        UsageError: `count` leaves one of the parts empty.
    """
    if not 0 < count < len(split):
        raise UsageError(f"{key} is {count}, but the data hold {len(split)} images; hold out 1 to {len(split) - 1}.")
    shuffled = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    labels = split.labels.cpu()
    sizes = torch.bincount(labels)
    # Integers, because float shares would round ties differently on different machines.
    quotas, remainders = sizes * count // len(split), sizes * count % len(split)
    largest = remainders.argsort(descending=True, stable=True)
    quotas[largest[: count - int(quotas.sum())]] += 1

    held = torch.zeros(len(split), dtype=torch.bool)
    held[shuffled] = rank_in_class(labels[shuffled]) < quotas[labels[shuffled]]
    return _select(split, (~held).nonzero()[:, 0]), _select(split, held.nonzero()[:, 0])


def _select(split: Split, index: Int64[Tensor, "selected"]) -> Split:
    index = index.to(split.labels.device)
    return Split(split.images[index], split.labels[index])
