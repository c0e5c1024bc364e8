"""The embedded digits: 1,797 handwritten digits of 8 x 8 pixels, in a file of the package.

They are the test set of "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998), which scikit-learn
ships as well; digits-license.txt has the source, the licence and the changes.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from hiresnn.data.dataset import DataSet, Split
from hiresnn.data.subset import rank_in_class

FILE = Path(__file__).with_name("digits.npz")
INK = 16
"""Largest value of a pixel in the file: each counts the dark pixels in a block of 4 x 4."""
TEST_EVERY = 5
"""The digits have no official split: every fifth image of a class is a test image."""


def read_digits() -> tuple[UInt8[Tensor, "image 8 8"], Int64[Tensor, "image"]]:
    """Return the images, with pixels from 0 (paper) to 16 (ink), and their classes, in the order of the original."""
    with np.load(FILE, allow_pickle=False) as arrays:
        return torch.from_numpy(arrays["images"]), torch.from_numpy(arrays["labels"].astype(np.int64))


def load_digits() -> DataSet:
    """Return the digits as a data set of grey levels: 1,442 training and 355 test images."""
    pixels, labels = read_digits()
    # In double precision: half-way values round to even, as they always have.
    images = (pixels.double() * (255 / INK)).round().to(torch.uint8)[:, None]
    test = rank_in_class(labels) % TEST_EVERY == TEST_EVERY - 1
    names = tuple(str(number) for number in range(10))
    return DataSet("digits", Split(images[~test], labels[~test]), Split(images[test], labels[test]), names)
