"""Fig. 4, 8a, 8b and 9 with accuracies that follow formulas, so that every point and bar is known."""

import pytest

from .conftest import ALL_IMAGES, page, said

BOX = {"white": 0.0, "same-ann": 3.0, "independent": 30.0}


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
def test_fig8a_is_judged_within_a_point(accuracies, falls, vanishes):
    bounds = (None, "pgd:eps=8/255", "pgd:eps=32/255", "pgd:eps=96/255")
    answers = dict(zip(bounds, accuracies, strict=True))
    first, second = (claim.note() for claim in page("fig8a", lambda wanted: answers[wanted.attack]).claims)
    assert falls in first
    assert vanishes in second


METHOD = {"traditional": 0.0, "noise-free": 1.0, "gaussian": 2.0, "hire": 9.0}
ATTACK = {None: 60.0, "fgsm": 20.0, "pgd": 5.0}


def test_fig9_and_its_control_are_judged_box_by_box():
    def answer(wanted):
        assert wanted.method != "noise-free" or wanted.box == "white"
        more = 4 if (wanted.method, wanted.attack) == ("hire", "fgsm") else 0  # crafted noise gains most under FGSM
        return METHOD[wanted.method] + ATTACK[wanted.attack] + BOX[wanted.box] + 2 * (wanted.seed or 0) + more

    text = said(page("fig9", answer, ALL_IMAGES))
    assert text.count("crafted noise is better than Gaussian noise under both attacks. Agrees") == 3
    assert text.count("points count as none. Within error: FGSM +2.0 (") == 3
    assert "traditional training, white box. Not judged: FGSM +1.0 (" in text
