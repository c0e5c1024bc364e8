"""What a data set is: two splits of square uint8 images with integer labels, and the names of the classes."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int64, UInt8
from torch import Tensor

from hiresnn.errors import DataError


@dataclass(frozen=True, eq=False)
class Split:
    """Images, grey levels 0 to 255, and the class of each, counted from 0."""

    images: UInt8[Tensor, "image channel height width"]
    labels: Int64[Tensor, "image"]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Images to train on and images to test on, both of the same shape.

    Raises DataError where the shapes of the two splits differ or the images are not square.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        shape, test_shape = tuple(self.train.images.shape[1:]), tuple(self.test.images.shape[1:])
        if shape != test_shape:
            raise DataError(
                f"{self.name}: an image is {describe(*shape)} in the training split and "
                f"{describe(*test_shape)} in the test split: bring both to one shape."
            )
        if self.train.images.shape[2] != self.train.images.shape[3]:
            raise DataError(
                f"{self.name}: images are {describe(*shape)}, not square: crop or resize them to equal "
                "height and width."
            )

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.class_names)

    @property
    def in_channels(self) -> int:
        """C: 1 for grey images, 3 for colour."""
        return self.train.images.shape[1]

    @property
    def image_size(self) -> int:
        """Height, which is also the width, in pixels."""
        return self.train.images.shape[2]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) over the shapes and the content of both splits and the class names.

        Two sources of the same images in the same order have the same digest, whatever they are called.
        """
        digest = hashlib.sha256(repr(self.class_names).encode())
        for split in (self.train, self.test):
            for tensor in (split.images, split.labels):
                digest.update(repr(tuple(tensor.shape)).encode())
                digest.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
        return digest.hexdigest()


def describe(channels: int, height: int, width: int) -> str:
    """The shape of an image in words, for messages: "28x32 (height x width), 1 channel"."""
    return f"{height}x{width} (height x width), {channels} channel{'' if channels == 1 else 's'}"
