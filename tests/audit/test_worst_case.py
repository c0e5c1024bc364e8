"""The worst case per image over bounds, and the share of each attack in it."""

import pytest
import torch

from hiresnn.audit.bounds import Bound, Cost, WorstCase, parse_bound

ZERO, TWO, FOUR, EIGHT = (parse_bound(text) for text in ("0", "2/255", "4/255", "8/255"))


@pytest.fixture
def worst() -> WorstCase:
    """Five images, the second misclassified without an attack."""
    return WorstCase(torch.tensor([False, True, False, False, False]), [ZERO, TWO, FOUR, EIGHT])


def update(worst: WorstCase, label: str, bound: Bound, broken: list[int], *, gradient: bool = True) -> None:
    images = {image: torch.full((1, 1, 1), image / 10) for image in broken}
    worst.update(label, bound, images, Cost(5, 10, 5, 0.5), gradient=gradient)


def test_a_misclassified_image_stands_at_no_bound(worst: WorstCase) -> None:
    assert worst.level.tolist() == [4, 0, 4, 4, 4]
    update(worst, "a", TWO, [1])
    for each in (ZERO, TWO, FOUR, EIGHT):
        assert worst.standing(each).tolist() == [0, 2, 3, 4]
    assert (worst.by[1], worst.broke("a")) == ("", {})


def test_an_image_broken_at_one_bound_is_broken_at_every_larger_one(worst: WorstCase) -> None:
    update(worst, "a", FOUR, [2, 4])
    assert [worst.count(each) for each in (ZERO, TWO, FOUR, EIGHT)] == [4, 4, 2, 2]
    assert worst.standing(FOUR).tolist() == [0, 3]


def test_an_image_stays_with_the_attack_that_broke_it_first_unless_a_smaller_bound_breaks_it(worst: WorstCase) -> None:
    update(worst, "a", FOUR, [2, 3])
    update(worst, "b", FOUR, [2])
    update(worst, "b", EIGHT, [3, 4])
    update(worst, "c", TWO, [3])
    assert worst.by == ["", "", "a", "c", "b"]
    assert worst.level.tolist() == [4, 0, 2, 1, 3]
    assert [worst.broke(label) for label in "abcd"] == [{"4/255": 1}, {"8/255": 1}, {"2/255": 1}, {}]
    assert sorted(worst.adversarial) == [2, 3, 4]


def test_a_part_of_the_images_is_named_by_positions_in_the_whole(worst: WorstCase) -> None:
    update(worst, "a", TWO, [3])
    assert worst.standing(TWO, 2).tolist() == [2, 4]
    assert worst.standing(TWO, 0, 4).tolist() == [0, 2]
    assert worst.standing(TWO, 3, 4).tolist() == []


def test_what_gradient_attacks_leave_does_not_depend_on_when_the_others_ran(worst: WorstCase) -> None:
    other = WorstCase(torch.tensor([False, True, False, False, False]), worst.bounds)
    update(worst, "square", FOUR, [2, 3], gradient=False)
    update(worst, "pgd", FOUR, [3])
    update(other, "pgd", FOUR, [3])
    update(other, "square", FOUR, [2], gradient=False)
    for each in (worst, other):
        assert each.standing(FOUR, gradient=True).tolist() == [0, 2, 4]
        assert each.standing(FOUR).tolist() == [0, 4]


def test_the_costs_of_an_attack_add_up_in_the_order_of_first_use(worst: WorstCase) -> None:
    update(worst, "b", TWO, [])
    update(worst, "a", TWO, [0])
    update(worst, "b", FOUR, [])
    assert list(worst.costs) == ["b", "a"]
    assert worst.costs["b"] == Cost(10, 20, 10, 1.0)
