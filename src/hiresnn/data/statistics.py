"""What a split looks like on average: the numbers that normalisation needs."""

import torch

from hiresnn.data.dataset import Split

# One grey level: a channel that never changes must not be divided by zero.
SMALLEST_STD = 1 / 255


def channel_statistics(split: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of each channel over all pixels and images, in the [0, 1] units of the network's input.

    Counted exactly from the histogram of the 256 grey levels; std is that of the population, and at least
    1/255.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in split.images.unbind(1):
        share = torch.bincount(channel.flatten(), minlength=256).cpu().double() / channel.numel()
        mean = (levels * share).sum()
        means.append(float(mean))
        stds.append(max(float(((levels - mean) ** 2 * share).sum().sqrt()), SMALLEST_STD))
    return tuple(means), tuple(stds)
