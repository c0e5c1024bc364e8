"""Signs of differences: what agrees, what does not, and what has no sign."""

import math

from hiresnn.paper.directions import Directions
from hiresnn.paper.stat import Stat


def test_equal_signs_agree() -> None:
    directions = Directions()
    directions.compare("up", 2.0, 0.1)
    directions.compare("down", -2.0, Stat.of([-3.0, -5.0]))
    assert directions.notes() == ["The paper's directions come out here, 2 of 2."]


def test_each_that_disagrees_is_named_with_both_numbers() -> None:
    directions = Directions()
    directions.compare("fine", 1.0, 1.0)
    directions.compare("turned", 2.5, Stat.of([-1.0, -3.0]))  # -2 with deviation root 2
    directions.compare("gone", -0.4, 0.0)
    assert directions.notes() == [
        "2 of 3 directions of the paper do not come out here:\n"
        "  - turned (paper +2.5, here -2.0 ± 1.4)\n"
        "  - gone (paper -0.4, here +0.0)"
    ]


def test_what_is_missing_unmeasured_or_zero_in_the_paper_has_no_direction() -> None:
    directions = Directions()
    for paper, ours in ((None, 1.0), (1.0, None), (0.0, 5.0), (1.0, math.nan), (1.0, Stat.of([math.nan]))):
        directions.compare("none", paper, ours)
    assert directions.notes() == []
