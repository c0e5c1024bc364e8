"""Bounds: how radii are read, named and put in order; and the worst case per image over them."""

import math

import pytest
import torch

from hiresnn.audit.bounds import CLEAN, CURVE, Bound, Cost, WorstCase, bound_at, curve
from hiresnn.audit.bounds import parse_bound as bound
from hiresnn.errors import UsageError


@pytest.mark.parametrize(
    ("text", "eps", "label"),
    [
        ("8/255", 8 / 255, "8/255"),
        ("0.5/255", 0.5 / 255, "0.5/255"),
        (" 2.0/255 ", 2 / 255, "2/255"),
        ("0.03", 0.03, "0.03"),
        ("1/10", 0.1, "25.5/255"),  # 0.1 is 25.5 of 255
        ("1e-3", 0.001, "0.001"),
        ("254.5/255", 254.5 / 255, "254.5/255"),
        ("0", 0.0, "0"),
        ("0/255", 0.0, "0"),
        ("inf", math.inf, "inf"),
        ("255/255", math.inf, "inf"),  # a radius of 1 reaches every image, and so does no bound at all
    ],
)
def test_a_bound_is_read_and_named_in_255ths_where_it_is_a_multiple_of_half_of_one(
    text: str, eps: float, label: str
) -> None:
    found = bound(text)
    assert found.label == label
    assert found.eps == pytest.approx(eps, rel=1e-12)
    assert bound(label) == found
    assert bound_at(eps) == found
    assert found.radius == min(eps, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, r"bound .* 8/255") for text in ("", "-1/255", "256", "nan", "-inf", "1e400", "8/0", "eight", "inf/2")),
        *((text, f"did you mean {text}/255") for text in ("8", "2.5", "255")),
    ],
)
def test_values_that_are_not_a_radius_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        bound(text)


def test_a_curve_begins_at_zero_and_holds_the_headline_and_each_bound_once() -> None:
    found = curve(("16/255", "2/255", "2.0/255", "inf", "1"), Bound(8 / 255, "8/255"))
    assert [each.label for each in found] == ["0", "2/255", "8/255", "16/255", "inf"]
    assert curve((), bound("8/255")) == (CLEAN, bound("8/255"))
    assert curve(CURVE, bound("8/255")) == tuple(map(bound, CURVE))
    with pytest.raises(UsageError, match="eps is 0"):
        curve(CURVE, CLEAN)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("0.031372549", ["0", "0.03", "8/255"]),  # 8/255 to nine digits
        ("0.0300000001", ["0", "0.03", "8/255"]),  # another radius than 0.03, of the same name
    ],
)
def test_a_headline_within_rounding_of_another_bound_stands_in_its_place(text: str, labels: list[str]) -> None:
    found = curve(("8/255", "0.03"), bound(text))
    assert bound(text) in found
    assert [each.label for each in found] == labels


ZERO, TWO, FOUR, EIGHT = (bound(text) for text in ("0", "2/255", "4/255", "8/255"))


@pytest.fixture
def worst() -> WorstCase:
    """Five images, the second misclassified without an attack."""
    return WorstCase(torch.tensor([False, True, False, False, False]), [ZERO, TWO, FOUR, EIGHT])


def update(worst: WorstCase, label: str, at: Bound, broken: list[int], *, gradient: bool = True) -> None:
    images = {image: torch.full((1, 1, 1), image / 10) for image in broken}
    worst.update(label, at, images, Cost(5, 10, 5, 0.5), gradient=gradient)


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
