import math

import pytest

from hiresnn.charts import print as plotting
from hiresnn.paper.stat import Stat
from hiresnn.paper.sweep import Curve, draw, judged, known, paper_noise_step, points, printed_accuracy, table

from .drawn import lines, stars

CURVE = Curve(
    ("white box", "FGSM"), "fgsm", (2.0, 4.0), (Stat.of([10.0, 12.0]), Stat.of([20.0])), {4.0: 16.5, 8.0: 3.0}
)


def test_a_row_has_the_papers_value_ours_and_the_difference_also_where_one_is_missing() -> None:
    found = table("caption", "T", ("attacker", "images"), [CURVE])
    assert found.columns == [
        "attacker", "images", "T", "accuracy (%), paper", "accuracy (%), ours", "accuracy (%), difference",
    ]  # fmt: skip
    assert found.rows == [
        ["white box", "FGSM", "2", None, Stat.of([10.0, 12.0]), None],
        ["white box", "FGSM", "4", 16.5, Stat.of([20.0]), 3.5],
        ["white box", "FGSM", "8", 3.0, None, None],
    ]


def test_a_curve_is_drawn_through_its_means_and_the_papers_points_at_their_own_places() -> None:
    _, (axes,) = plotting.figure()
    draw(plotting, axes, [CURVE])
    assert lines(axes) == {"FGSM": [(2, 11), (4, 20)]}
    assert stars(axes) == {(4, 16.5), (8, 3)}
    assert axes.get_ylim()[0] < 0 < 100 < axes.get_ylim()[1]


@pytest.mark.parametrize(
    ("network", "method", "condition", "box", "expected"),
    [
        ("vgg5-cifar10", "traditional", "clean", "white", 87.9),
        ("vgg5-cifar10", "traditional", "pgd", "white", 5.3),
        ("vgg5-cifar10", "traditional", "fgsm", "independent", 38.3),
        ("vgg11-cifar100", "hire", "fgsm", "white", 22.0),
        ("vgg11-cifar100", "hire", "pgd", "same-ann", 16.1),
        ("vgg11-cifar100", "hire", "clean", "same-ann", 65.1),
        ("vgg11-cifar100", "gaussian", "pgd", "white", None),
    ],
)
def test_the_papers_accuracies_are_those_of_its_tables(
    network: str, method: str, condition: str, box: str, expected: float | None
) -> None:
    assert printed_accuracy(network, method, condition, box) == expected


def test_the_papers_noise_steps() -> None:
    assert paper_noise_step("vgg5-cifar10") == 0.013
    assert paper_noise_step("vgg11-cifar100") == 0.025


def test_values_that_are_not_printed_are_left_out() -> None:
    assert known({0.0: 1.0, 1.0: None}) == {0.0: 1.0}


def test_a_judgement_says_what_was_claimed_whether_it_holds_and_what_was_found() -> None:
    assert judged("A", True, "1").endswith("A. It comes out here: 1.")
    assert "does not come out" in judged("A", False, "1")
    assert "Not judged" in judged("A", None, "1")


def test_points_have_a_sign_and_the_deviation_over_seeds() -> None:
    assert points(Stat.of([1.0, 3.0])) == "+2.0 ± 1.4"
    assert points(Stat.of([-1.0])) == "-1.0"
    assert points(0.25) == "+0.2"


def test_what_is_not_measured_yet_is_not_judged() -> None:
    assert judged("it falls", False, f"{math.nan:+.1f} points").startswith("The paper: it falls. Not judged here")
