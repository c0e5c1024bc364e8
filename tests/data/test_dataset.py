import dataclasses
from types import SimpleNamespace

import pytest
import torch

from hiresnn.data import DataSet, Split, channel_statistics
from hiresnn.data.dataset import require_memory
from hiresnn.errors import DataError


def split(*shape, labels=None):
    count = shape[0]
    images = torch.arange(torch.Size(shape).numel()).remainder(256).to(torch.uint8).view(shape)
    return Split(images, torch.arange(count) if labels is None else torch.tensor(labels))


def data_set(**changes):
    whole = DataSet("toy", split(3, 1, 4, 4), split(2, 1, 4, 4), ("a", "b", "c"))
    return dataclasses.replace(whole, **changes)


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


def test_the_digest_does_not_depend_on_the_memory_layout():
    train = split(3, 1, 4, 4)
    turned = Split(train.images.transpose(2, 3).contiguous().transpose(2, 3), train.labels)
    assert data_set(train=turned).digest == data_set().digest


def test_splits_of_different_shape_are_refused():
    with pytest.raises(DataError, match=r"\[1, 4, 4\] in the training split and \[3, 4, 4\] in the test"):
        data_set(test=split(2, 3, 4, 4))


def test_more_memory_than_the_machine_has_is_refused_before_it_is_allocated():
    require_memory(1024, "one image")
    with pytest.raises(DataError, match=r"all images would take .* GiB of memory, but this machine has"):
        require_memory(10**18, "all images")


def test_channel_statistics_are_those_of_all_pixels_of_a_channel():
    images = torch.randint(0, 256, (50, 3, 6, 6), generator=torch.Generator().manual_seed(0))
    images[:, 1] //= 2
    mean, std = channel_statistics(Split(images.to(torch.uint8), torch.zeros(50, dtype=torch.int64)))
    pixels = images.double().transpose(0, 1).flatten(1) / 255
    assert mean == pytest.approx(pixels.mean(1).tolist(), abs=1e-12)
    assert std == pytest.approx(pixels.std(1, correction=0).tolist(), abs=1e-12)


def test_a_constant_channel_has_the_std_of_one_grey_level():
    images = torch.full((4, 1, 2, 2), 51, dtype=torch.uint8)
    mean, std = channel_statistics(Split(images, torch.tensor([0, 1, 0, 1])))
    assert mean == pytest.approx((0.2,))
    assert std == (1 / 255,)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.rand(3, 1, 2, 2), torch.zeros(3).long(), "torch.float32; give uint8"),
        (torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(3).long(), r"\[3, 2, 2\]"),
        (torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(4).long(), "for 3 images"),
        (torch.zeros(3, 1, 2, 2, dtype=torch.uint8), torch.zeros(3, dtype=torch.uint8), "give int64"),
    ],
)
def test_a_split_of_another_form_is_refused(images: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):  # the type checks of the tests would refuse it first
        Split.__post_init__(SimpleNamespace(images=images, labels=labels))  # type: ignore[arg-type]


def test_a_label_that_is_no_class_is_refused() -> None:
    two, three = split(2, 1, 2, 2), split(2, 1, 2, 2, labels=[0, 2])
    with pytest.raises(DataError, match="x, test split: labels reach from 0 to 2, but there are 2 classes"):
        DataSet("x", two, three, ("a", "b"))
