"""Data sets, their statistics, and stratified parts of a split."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from hiresnn.data import DataSet, Split, channel_statistics, first, holdout, in_turn
from hiresnn.data.dataset import rank_in_class
from hiresnn.errors import DataError, UsageError


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


def test_splits_of_different_shape_are_refused():
    with pytest.raises(DataError, match=r"\[1, 4, 4\] in the training split and \[3, 4, 4\] in the test"):
        data_set(test=split(2, 3, 4, 4))


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
def test_a_split_of_another_form_is_refused(images, labels, message):
    with pytest.raises(DataError, match=message):  # the type checks of the tests would refuse it first
        Split.__post_init__(SimpleNamespace(images=images, labels=labels, events=None))


def positioned(labels):
    """Images whose single pixel is their position."""
    positions = torch.arange(len(labels), dtype=torch.uint8)
    return Split(positions.view(-1, 1, 1, 1), torch.tensor(labels))


def positions(part):
    return part.images.flatten().tolist()


def test_rank_counts_earlier_images_of_the_same_class():
    assert rank_in_class(torch.tensor([2, 0, 2, 2, 0, 5])).tolist() == [0, 0, 1, 2, 1, 0]


def test_first_takes_the_classes_in_turn():
    whole = positioned([1, 1, 1, 0, 0, 2, 2])
    assert positions(first(whole, 3)) == [0, 3, 5]
    assert positions(first(whole, 4)) == [0, 3, 4, 5]
    assert first(whole, 4).labels.tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize("count", [-1, 4])
def test_first_refuses_more_images_than_the_split_has(count):
    with pytest.raises(UsageError, match=f"count is {count}, but the data hold 3 images; give"):
        first(positioned([0, 1, 1]), count)


def test_holdout_parts_are_disjoint_complete_and_in_order():
    whole = positioned([0, 1] * 10)
    rest, held = holdout(whole, 6, seed=3)
    assert sorted(positions(rest) + positions(held)) == list(range(20))
    for part in (rest, held):
        assert positions(part) == sorted(positions(part))
        assert part.labels.tolist() == [position % 2 for position in positions(part)]


def test_holdout_keeps_the_share_of_every_class():
    # 10 of 100: 6, 3 and 1 of the classes with 60, 30 and 10
    _, held = holdout(positioned([0] * 60 + [1] * 30 + [2] * 10), 10)
    assert held.labels.bincount().tolist() == [6, 3, 1]


def test_holdout_rounds_shares_so_that_the_sum_is_the_count():
    # 4 of 9 with 5, 3 and 1: shares 2.22, 1.33, 0.44, so 2, 1, 0 and one more for the largest fraction
    _, held = holdout(positioned([0] * 5 + [1] * 3 + [2]), 4)
    assert held.labels.bincount(minlength=3).tolist() == [2, 1, 1]


def test_holdout_depends_on_the_seed_and_on_nothing_else():
    whole = positioned([0, 1] * 50)
    state = torch.get_rng_state()
    held = positions(holdout(whole, 20, seed=1)[1])
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert positions(holdout(whole, 20, seed=1)[1]) == held
    assert positions(holdout(whole, 20, seed=2)[1]) != held


@pytest.mark.parametrize("count", [-1, 0, 3, 4])
def test_holdout_refuses_to_leave_a_part_empty(count):
    with pytest.raises(UsageError, match=f"held is {count}, but the data hold 3 images; hold out 1 to 2"):
        holdout(positioned([0, 1, 1]), count, key="held")


def test_in_turn_gives_the_first_of_each_class_before_the_second_of_any():
    whole = positioned([1, 1, 1, 0, 0, 2, 2])
    # classes 0, 1, 2 in turn: 3 0 5, then 4 1 6, then what is left of class 1
    assert positions(in_turn(whole, 7)) == [3, 0, 5, 4, 1, 6, 2]
    assert in_turn(whole, 7).labels.tolist() == [0, 1, 2, 0, 1, 2, 1]


def test_in_turn_takes_the_images_that_first_takes():
    whole = positioned([1, 1, 1, 0, 0, 2, 2, 1])
    for count in range(1, 9):
        assert sorted(positions(in_turn(whole, count))) == positions(first(whole, count))
