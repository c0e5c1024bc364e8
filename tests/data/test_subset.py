import pytest
import torch

from hiresnn.data import Split, first, holdout, in_turn
from hiresnn.data.dataset import rank_in_class
from hiresnn.errors import UsageError


def split(labels):
    """Images whose single pixel is their position."""
    positions = torch.arange(len(labels), dtype=torch.uint8)
    return Split(positions.view(-1, 1, 1, 1), torch.tensor(labels))


def positions(part):
    return part.images.flatten().tolist()


def test_rank_counts_earlier_images_of_the_same_class():
    assert rank_in_class(torch.tensor([2, 0, 2, 2, 0, 5])).tolist() == [0, 0, 1, 2, 1, 0]


def test_first_takes_the_classes_in_turn():
    whole = split([1, 1, 1, 0, 0, 2, 2])
    assert positions(first(whole, 3)) == [0, 3, 5]
    assert positions(first(whole, 4)) == [0, 3, 4, 5]
    assert first(whole, 4).labels.tolist() == [1, 0, 0, 2]


def test_first_of_zero_is_all_images():
    whole = split([0, 1, 1])
    assert first(whole, 0) is whole
    assert positions(first(whole, 3)) == [0, 1, 2]


@pytest.mark.parametrize("count", [-1, 4])
def test_first_refuses_more_images_than_the_split_has(count):
    with pytest.raises(UsageError, match=f"count is {count}, but the data hold 3 images; give"):
        first(split([0, 1, 1]), count)


def test_holdout_parts_are_disjoint_complete_and_in_order():
    whole = split([0, 1] * 10)
    rest, held = holdout(whole, 6, seed=3)
    assert sorted(positions(rest) + positions(held)) == list(range(20))
    for part in (rest, held):
        assert positions(part) == sorted(positions(part))
        assert part.labels.tolist() == [position % 2 for position in positions(part)]


def test_holdout_keeps_the_share_of_every_class():
    # 10 of 100: 6, 3 and 1 of the classes with 60, 30 and 10
    _, held = holdout(split([0] * 60 + [1] * 30 + [2] * 10), 10)
    assert held.labels.bincount().tolist() == [6, 3, 1]


def test_holdout_rounds_shares_so_that_the_sum_is_the_count():
    # 4 of 9 with 5, 3 and 1: shares 2.22, 1.33, 0.44, so 2, 1, 0 and one more for the largest fraction
    _, held = holdout(split([0] * 5 + [1] * 3 + [2]), 4)
    assert held.labels.bincount(minlength=3).tolist() == [2, 1, 1]


def test_holdout_depends_on_the_seed_and_on_nothing_else():
    whole = split([0, 1] * 50)
    state = torch.get_rng_state()
    held = positions(holdout(whole, 20, seed=1)[1])
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert positions(holdout(whole, 20, seed=1)[1]) == held
    assert positions(holdout(whole, 20, seed=2)[1]) != held


@pytest.mark.parametrize("count", [-1, 0, 3, 4])
def test_holdout_refuses_to_leave_a_part_empty(count):
    with pytest.raises(UsageError, match=f"held is {count}, but the data hold 3 images; hold out 1 to 2"):
        holdout(split([0, 1, 1]), count, key="held")


def test_in_turn_gives_the_first_of_each_class_before_the_second_of_any():
    whole = split([1, 1, 1, 0, 0, 2, 2])
    # classes 0, 1, 2 in turn: 3 0 5, then 4 1 6, then what is left of class 1
    assert positions(in_turn(whole, 7)) == [3, 0, 5, 4, 1, 6, 2]
    assert in_turn(whole, 7).labels.tolist() == [0, 1, 2, 0, 1, 2, 1]


def test_in_turn_takes_the_images_that_first_takes():
    whole = split([1, 1, 1, 0, 0, 2, 2, 1])
    for count in range(1, 9):
        assert sorted(positions(in_turn(whole, count))) == positions(first(whole, count))
