import numpy as np
import pytest

from hiresnn.data import load
from hiresnn.data.sources import read_digits

DIGEST = "20e96492aeb693b2f86e4708bc3dccec9184f79f5205340931576a3125f303f7"
"""Of the data set as version 0.1.0 built it from scikit-learn: the keys of stored audits depend on it."""


def test_every_fifth_digit_of_a_class_is_a_test_image():
    data = load("digits")
    assert (data.name, data.num_classes, data.in_channels, data.height) == ("digits", 10, 1, 8)
    pixels, labels = (tensor.numpy() for tensor in read_digits())
    train, test, seen = [], [], dict.fromkeys(range(10), 0)
    for index, label in enumerate(labels.tolist()):
        seen[label] += 1
        (test if seen[label] % 5 == 0 else train).append(index)
    for split, indices in ((data.train, train), (data.test, test)):
        assert split.labels.tolist() == labels[indices].tolist()
        # sixteenths of ink: 16 becomes 255, 8 becomes 127.5, and the even 128 of the two nearest
        levels = np.rint(pixels[indices] * (255 / 16))
        assert np.array_equal(split.images[:, 0].numpy(), levels)
        assert split.images.max() == 255


def test_the_data_set_is_that_of_all_earlier_versions():
    assert load("digits").digest == DIGEST


def test_the_file_holds_the_digits_of_scikit_learn():
    original = pytest.importorskip("sklearn.datasets").load_digits()
    images, labels = read_digits()
    assert np.array_equal(images.numpy(), original.images)
    assert np.array_equal(labels.numpy(), original.target)
    assert [str(name) for name in original.target_names] == list(load("digits").class_names)
