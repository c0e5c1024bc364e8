"""Fig. 4, 8a, 8b and 9 with accuracies that follow formulas, so that every point and bar is known."""

import math
from typing import Any

import pytest

from reproduction.page import Page
from reproduction.study import Measurement

from .conftest import ALL_IMAGES, page, said
from .drawn import lines, names, spreads, stars

BOX = {"white": 0.0, "same-ann": 3.0, "independent": 30.0}


def drawn(made: Page) -> Any:
    assert made.figure is not None
    return made.figure()


def over_time(wanted: Measurement) -> float:
    """Clean rises by 3 per step; under attack a step costs 1; seed 1 is 2 above seed 0."""
    assert (wanted.network, wanted.method) == ("vgg11-cifar100", "traditional")
    steps, seed = int(dict(wanted.changes)["snn.timesteps"]), wanted.seed or 0
    if wanted.attack is None:
        return 60.0 + 3 * steps + 2 * seed
    return {"fgsm": 20.0, "pgd": 5.0}[wanted.attack] - steps + BOX[wanted.box] + 2 * seed


def test_fig4_has_the_measured_means_in_a_panel_for_each_box() -> None:
    figure = drawn(page("fig4", over_time))
    clean, *boxes = figure.axes
    assert lines(clean) == {"clean": [(2, 67), (4, 73)]}
    for axes, more in zip(boxes, BOX.values(), strict=True):
        assert lines(axes) == {"FGSM": [(2, 19 + more), (4, 17 + more)], "PGD": [(2, 4 + more), (4, 2 + more)]}
        assert spreads(axes) == [pytest.approx([math.sqrt(2)] * 2)] * 2
        assert axes.get_xlabel() == "timesteps T"
    white, same, independent = boxes
    assert stars(clean) == {(8, 65.6)}
    assert stars(white) == {(8, 16.4), (8, 2.9)}  # Table 1 at the paper's T
    assert stars(same) == stars(independent) == {(8, 19.0), (8, 6.2)}
    assert names(figure) == ["clean", "FGSM", "PGD", "printed in the paper"]


@pytest.mark.parametrize(
    ("accuracies", "falls", "vanishes"),
    [
        ((80, 30, 20, 0), "Agrees: +80.0 (", "Agrees: 0.0 %"),
        ((80, 30, 20, 22), "Differs: +58.0 (", "Differs"),
        # The tolerance of both is exactly 1 point.
        ((80, 30, 0.0, 1.0), "Agrees: +79.0 (", "Agrees"),
        ((80, 30, 0.0, 1.01), "the largest rise between two bounds is 1.0", "Differs: 1.0 % is left at 96"),
        # An accuracy that no bound lowers is a sign of masked gradients.
        ((80, 80, 80, 80), "Within error: +0.0 (", "Differs: 80.0 %"),
    ],
)
def test_fig8a_is_judged_within_a_point(accuracies: Any, falls: str, vanishes: str) -> None:
    bounds = (None, "pgd:eps=8/255", "pgd:eps=32/255", "pgd:eps=96/255")
    answers = dict(zip(bounds, accuracies, strict=True))
    first, second = (claim.note() for claim in page("fig8a", lambda wanted: answers[wanted.attack]).claims)
    assert falls in first
    assert vanishes in second


METHOD = {"traditional": 0.0, "noise-free": 1.0, "gaussian": 2.0, "hire": 9.0}
ATTACK = {None: 60.0, "fgsm": 20.0, "pgd": 5.0}


def test_fig9_and_its_control_are_judged_box_by_box() -> None:
    def answer(wanted: Measurement) -> float:
        assert wanted.method != "noise-free" or wanted.box == "white"
        more = 4 if (wanted.method, wanted.attack) == ("hire", "fgsm") else 0  # crafted noise gains most under FGSM
        return METHOD[wanted.method] + ATTACK[wanted.attack] + BOX[wanted.box] + 2 * (wanted.seed or 0) + more

    text = said(page("fig9", answer, ALL_IMAGES))
    assert text.count("crafted noise is better than Gaussian noise under both attacks. Agrees") == 3
    assert text.count("points count as none. Within error: FGSM +2.0 (") == 3
    assert "traditional training, white box. Not judged: FGSM +1.0 (" in text
