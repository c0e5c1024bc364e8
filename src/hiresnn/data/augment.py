"""Augmentation of a whole batch at once, on the device of the images."""

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from hiresnn.errors import UsageError


def flip_and_crop(
    images: Shaped[Tensor, "batch channel height width"], *, padding: int = 4, generator: torch.Generator
) -> Shaped[Tensor, "batch channel height width"]:
    """Pad every image by reflection, crop it back to its size at a random place, and flip it with probability 1/2.

    The padded images are never built: one gather reads every pixel from where the reflection puts it.

    Args:
        images: of any type and device; the result has the same.
        padding: pixels on each side, 0 or more; at most one less than the side, so small images are padded by less. The
            crop starts at each of the 2 * padding + 1 rows and columns with equal probability.
        generator: a CPU generator, so that the random numbers do not depend on the device of the images.

    Raises:
        UsageError: the padding is negative.
    """
    if padding < 0:
        raise UsageError(f"padding is {padding}; give a number of pixels, 0 or more.")
    batch, channels, height, width = images.shape
    flips = torch.randint(0, 2, (batch, 1), generator=generator)
    rows = _window(height, min(padding, height - 1), batch, generator)
    columns = _window(width, min(padding, width - 1), batch, generator)
    columns = torch.where(flips == 1, columns.flip(1), columns)

    rows = rows.to(images.device, non_blocking=True)
    columns = columns.to(images.device, non_blocking=True)
    pixels = (rows[:, :, None] * width + columns[:, None, :]).view(batch, 1, height * width)
    gathered = images.flatten(2).gather(2, pixels.expand(batch, channels, height * width))
    return gathered.view(batch, channels, height, width)


def _window(size: int, padding: int, batch: int, generator: torch.Generator) -> Int64[Tensor, "batch size"]:
    """Return the source of each of `size` pixels, for windows at random places on a reflected axis."""
    start = torch.randint(-padding, padding + 1, (batch, 1), generator=generator)
    position = (start + torch.arange(size)).abs()  # reflected at the first pixel
    return (size - 1) - ((size - 1) - position).abs()  # and at the last
