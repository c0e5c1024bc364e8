import dataclasses

import pytest
import torch

from hiresnn.data import DataSet, Split
from hiresnn.errors import DataError


def split(*shape, labels=None):
    count = shape[0]
    images = torch.arange(torch.Size(shape).numel()).remainder(256).to(torch.uint8).view(shape)
    return Split(images, torch.arange(count) if labels is None else torch.tensor(labels))


def data_set(**changes):
    whole = DataSet("toy", split(3, 1, 4, 4), split(2, 1, 4, 4), ("a", "b", "c"))
    return dataclasses.replace(whole, **changes)


def test_the_properties_follow_the_tensors():
    data = DataSet("toy", split(3, 3, 5, 5), split(2, 3, 5, 5), ("a", "b", "c"))
    assert (data.num_classes, data.in_channels, data.image_size) == (3, 3, 5)
    assert (len(data.train), len(data.test)) == (3, 2)


def test_nothing_can_be_assigned():
    with pytest.raises(dataclasses.FrozenInstanceError):
        data_set().name = "other"
    with pytest.raises(dataclasses.FrozenInstanceError):
        data_set().train.labels = torch.zeros(3, dtype=torch.int64)


def test_the_digest_depends_on_content_and_not_on_the_name():
    digest = data_set().digest
    assert len(digest) == 64
    assert data_set(name="other").digest == digest
    other_pixel = split(3, 1, 4, 4)
    other_pixel.images[2, 0, 3, 3] += 1
    others = [
        data_set(train=other_pixel),
        data_set(train=split(3, 1, 4, 4, labels=[0, 1, 1])),
        data_set(test=split(2, 1, 4, 4, labels=[1, 0])),
        data_set(class_names=("a", "b", "d")),
        data_set(train=split(3, 4, 2, 2), test=split(2, 4, 2, 2)),  # the same bytes in another shape
    ]
    assert len({digest, *(other.digest for other in others)}) == 6


def test_the_digest_is_that_of_the_values_not_of_the_memory_layout():
    train = split(3, 1, 4, 4)
    turned = Split(train.images.transpose(2, 3).contiguous().transpose(2, 3), train.labels)
    assert data_set(train=turned).digest == data_set().digest


def test_images_that_are_not_square_are_refused():
    with pytest.raises(DataError, match=r"toy: images are 4x6 \(height x width\), 1 channel, not square: crop"):
        data_set(train=split(3, 1, 4, 6), test=split(2, 1, 4, 6))


def test_splits_of_different_shape_are_refused():
    with pytest.raises(DataError, match=r"4x4 .* 1 channel in the training split and 4x4 .* 3 channels in"):
        data_set(test=split(2, 3, 4, 4))
