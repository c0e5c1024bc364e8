"""Parts of a split in which every class keeps its share, chosen the same way every time."""

import torch
from jaxtyping import Int64
from torch import Tensor

from hiresnn.data.dataset import Split
from hiresnn.errors import UsageError


def rank_in_class(labels: Int64[Tensor, "image"]) -> Int64[Tensor, "image"]:
    """For each image, how many images of its class come before it."""
    order = labels.argsort(stable=True)
    counts = torch.bincount(labels)
    starts = counts.cumsum(0) - counts
    rank = torch.empty_like(labels)
    rank[order] = torch.arange(len(labels), device=labels.device) - starts[labels[order]]
    return rank


def first(split: Split, count: int) -> Split:
    """`count` images, class by class in turn, the first of each class before the second of any.

    Where a class has too few images, the others fill up. The images keep their order. 0 means all.
    Raises UsageError where `count` is negative or larger than the split.
    """
    if not 0 <= count <= len(split):
        raise UsageError(
            f"{count} images are asked for, but there are {len(split)}: give a count from 1 to {len(split)}, "
            "or 0 for all."
        )
    if count == 0:
        return split
    return _select(split, _turns(split)[:count].sort().values)


def in_turn(split: Split, count: int) -> Split:
    """The images of `first`, class by class in turn: a smaller count gives the beginning of a larger one.

    Raises UsageError as `first` does.
    """
    first(split, count)
    return _select(split, _turns(split)[: count or len(split)])


def _turns(split: Split) -> Int64[Tensor, "image"]:
    """The images in turn, the first of each class before the second of any."""
    num_classes = int(split.labels.max()) + 1
    return (rank_in_class(split.labels) * num_classes + split.labels).argsort()


def holdout(split: Split, count: int, seed: int = 0) -> tuple[Split, Split]:
    """(rest, held): `count` images drawn at random with `seed`, as many of each class as its share.

    A share that is no whole number is rounded so that the sum is `count`, larger fractions up first.
    In both parts the images keep their order. The global random state is neither read nor changed.
    Raises UsageError where `count` leaves one of the parts empty.
    """
    if not 0 < count < len(split):
        raise UsageError(f"{count} images are to be held out of {len(split)}: give a count from 1 to {len(split) - 1}.")
    shuffled = torch.randperm(len(split), generator=torch.Generator().manual_seed(seed))
    labels = split.labels.cpu()
    sizes = torch.bincount(labels)
    # Integers, because float shares would round ties differently from one machine to the next.
    quotas, remainders = sizes * count // len(split), sizes * count % len(split)
    largest = remainders.argsort(descending=True, stable=True)
    quotas[largest[: count - int(quotas.sum())]] += 1

    held = torch.zeros(len(split), dtype=torch.bool)
    held[shuffled] = rank_in_class(labels[shuffled]) < quotas[labels[shuffled]]
    return _select(split, (~held).nonzero()[:, 0]), _select(split, held.nonzero()[:, 0])


def _select(split: Split, index: Int64[Tensor, "selected"]) -> Split:
    index = index.to(split.labels.device)
    return Split(split.images[index], split.labels[index])
