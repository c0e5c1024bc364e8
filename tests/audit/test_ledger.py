"""The ledger: worst case per image over bounds, and what each attack did for it."""

from typing import Any

import pytest
import torch

from hiresnn.audit.bounds import bound
from hiresnn.audit.ledger import Ledger

ZERO, TWO, FOUR, EIGHT = (bound(text) for text in ("0", "2/255", "4/255", "8/255"))


@pytest.fixture
def ledger() -> Ledger:
    """Five images, the second misclassified without any attack."""
    return Ledger(torch.tensor([False, True, False, False, False]), [ZERO, TWO, FOUR, EIGHT])


def add(ledger: Ledger, label: str, at: Any, broken: list[int], **cost: Any) -> None:
    costs = {"shown": 5, "forward": 10, "backward": 5, "seconds": 0.5, **cost}
    ledger.add(label, at, torch.tensor(broken, dtype=torch.int64), **costs)


def test_a_misclassified_image_stands_nowhere(ledger: Ledger) -> None:
    assert ledger.level.tolist() == [4, 0, 4, 4, 4]
    for each in (ZERO, TWO, FOUR, EIGHT):
        assert ledger.standing(each).tolist() == [0, 2, 3, 4]
        assert ledger.count(each) == 4


def test_an_image_that_fell_at_one_bound_has_fallen_at_every_larger_one_and_at_no_smaller_one(ledger: Ledger) -> None:
    add(ledger, "a", FOUR, [2, 4])
    assert [ledger.count(each) for each in (ZERO, TWO, FOUR, EIGHT)] == [4, 4, 2, 2]
    assert ledger.standing(FOUR).tolist() == [0, 3]
    assert ledger.standing(TWO).tolist() == [0, 2, 3, 4]


def test_an_image_stays_with_what_broke_it_first_unless_a_smaller_bound_does(ledger: Ledger) -> None:
    add(ledger, "a", FOUR, [2, 3])
    add(ledger, "b", FOUR, [2])
    add(ledger, "b", EIGHT, [3, 4])
    assert ledger.by == ["", "", "a", "a", "b"]
    add(ledger, "c", TWO, [3])
    assert ledger.by == ["", "", "a", "c", "b"]
    assert ledger.level.tolist() == [4, 0, 2, 1, 3]
    assert ledger.broke("a") == {"4/255": 1}
    assert ledger.broke("b") == {"8/255": 1}
    assert ledger.broke("c") == {"2/255": 1}
    assert ledger.broke("nobody") == {}


def test_a_misclassified_image_is_nobodys(ledger: Ledger) -> None:
    add(ledger, "a", TWO, [1])
    assert ledger.by[1] == ""
    assert ledger.level[1] == 0
    assert ledger.broke("a") == {}


def test_what_was_broken_first_adds_up_to_what_fell(ledger: Ledger) -> None:
    add(ledger, "a", TWO, [0])
    add(ledger, "a", EIGHT, [0, 2])
    add(ledger, "b", FOUR, [2, 3])
    assert sum(sum(ledger.broke(label).values()) for label in ledger.entries) == 3
    assert ledger.count(ZERO) - ledger.count(EIGHT) == 3
    assert ledger.broke("a") == {"2/255": 1}


def test_standing_looks_at_a_part_and_answers_in_positions_of_the_whole(ledger: Ledger) -> None:
    add(ledger, "a", TWO, [3])
    assert ledger.standing(TWO, 2).tolist() == [2, 4]
    assert ledger.standing(TWO, 0, 4).tolist() == [0, 2]
    assert ledger.standing(TWO, 3, 4).tolist() == []


def test_the_costs_of_an_attack_add_up_over_its_bounds_in_the_order_of_first_use(ledger: Ledger) -> None:
    add(ledger, "b", TWO, [], shown=4, forward=8, backward=4, seconds=0.25)
    add(ledger, "a", TWO, [0], shown=4)
    add(ledger, "b", FOUR, [], shown=3, forward=6, backward=3, seconds=0.5)
    assert list(ledger.entries) == ["b", "a"]
    assert vars(ledger.entries["b"]) == {"label": "b", "shown": 7, "forward": 14, "backward": 7, "seconds": 0.75}
