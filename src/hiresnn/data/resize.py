"""Images of other sizes: scaled until the shorter side fits, then cropped to a square in the middle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageOps

from hiresnn.data.dataset import DataSet, Split, require_memory


def fitted(image: Image.Image, size: int | None) -> Image.Image:
    """Return a grey or RGB image of `size` x `size` pixels; unchanged where `size` is None or the image has that size.

    The shorter side is scaled to `size` by Pillow's bilinear filter, which averages when it makes an image smaller, and
    of the longer side the middle remains.
    """
    if size is None or image.size == (size, size):
        return image
    return ImageOps.fit(image, (size, size), method=Image.Resampling.BILINEAR)


def resized_split(split: Split, size: int | None) -> Split:
    """Return a split whose images are `fitted` to `size`."""
    count, channels, height, width = split.images.shape
    if size is None or (height, width) == (size, size):
        return split
    require_memory(2 * count * channels * size**2, f"{count:,} images of {size} x {size}")
    planes = split.images.flatten(0, 1).numpy()  # of any number of channels, each scaled as a grey image
    stacked = np.stack([np.asarray(fitted(Image.fromarray(plane), size)) for plane in planes])
    return Split(torch.from_numpy(stacked).view(count, channels, size, size), split.labels)


def resized(dataset: DataSet, size: int | None) -> DataSet:
    """Return a data set whose images are `fitted` to `size`."""
    return replace(dataset, train=resized_split(dataset.train, size), test=resized_split(dataset.test, size))
