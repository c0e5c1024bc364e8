"""Fig. 8 on a study whose accuracies follow a formula, so that every drawn point is known."""

from dataclasses import replace

import pytest

from hiresnn.charts import print as plotting
from hiresnn.paper import fig8
from hiresnn.paper.fig8 import by_iteration, fig8a, fig8b
from hiresnn.paper.study import Study

from .conftest import StubStudy
from .drawn import lines, names, stars

CLEAN = {"hire": 80.0, "traditional": 85.0}
LEFT = {"8/255": 60.0, "32/255": 20.0, "96/255": 0.0}


def over_eps(network: str, method: str, seed: int, attack: str | None, box: str, changes: dict[str, str]) -> float:
    assert (network, box, changes) == ("vgg5-cifar10", "white", {})
    extra = 2.0 * seed - (4.0 if method == "traditional" and attack else 0.0)
    return (CLEAN[method] if attack is None else LEFT[attack.removeprefix("pgd:eps=")]) + extra


def over_iterations(study: Study, method: str, seed: int, counts: list[int]) -> list[float]:
    """1 / K: falls, and is all but level from 40 on."""
    return [40.0 / count + (2.0 if method == "hire" else 0.0) for count in counts]


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fig8, "by_iteration", over_iterations)


def test_the_bound_is_drawn_in_grey_levels_from_the_clean_accuracy_on(stub: StubStudy) -> None:
    stub.answer = over_eps
    drawn = fig8a(stub).figure(plotting)
    (axes,) = drawn.axes
    assert lines(axes) == {
        "crafted noise (HIRE)": [(0, 81), (8, 61), (32, 21), (96, 1)],
        "traditional": [(0, 86), (8, 57), (32, 17), (96, -3)],
    }
    assert stars(axes) == {(0, 87.5), (8, 9.1), (0, 87.9), (8, 5.3)}
    assert axes.get_xlabel() == "PGD bound ε (1/255)"
    assert axes.get_ylabel() == "accuracy (%)"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "8", "32", "96"]
    assert names(drawn) == ["crafted noise (HIRE)", "traditional", "printed in the paper"]


def test_the_bound_of_the_recipe_is_swept_too_where_the_scale_does_not_name_it(stub: StubStudy) -> None:
    stub.scale = replace(stub.scale, eps=("8/255",))
    stub.answer = lambda *asked: {None: 80.0, "pgd:eps=8/255": 60.0, "pgd": 20.0}[asked[3]]
    (axes,) = fig8a(stub).figure(plotting).axes
    assert lines(axes)["traditional"] == [(0, 80), (8, 60), (32, 20)]


def test_a_bound_that_does_not_break_the_network_is_told(stub: StubStudy) -> None:
    stub.answer = over_eps
    (falls, ends) = [note for note in fig8a(stub).notes if "Table 4" in note]
    assert "It comes out here: the largest change from one bound to the next is -20.0" in falls
    assert "It comes out here: 1.0 % is left at 96/255" in ends
    rising = {None: 80.0, "pgd:eps=8/255": 30.0, "pgd:eps=32/255": 20.0, "pgd:eps=96/255": 22.0}
    stub.answer = lambda *asked: rising[asked[3]]
    (falls, ends) = [note for note in fig8a(stub).notes if "Table 4" in note]
    assert "It does not come out here: the largest change from one bound to the next is +2.0" in falls
    assert "It does not come out here: 22.0 %" in ends


@pytest.mark.usefixtures("answered")
def test_the_iterations_are_drawn_with_the_papers_at_7(stub: StubStudy) -> None:
    drawn = fig8b(stub).figure(plotting)
    (axes,) = drawn.axes
    assert lines(axes) == {
        "crafted noise (HIRE)": [(1, 42), (7, pytest.approx(40 / 7 + 2)), (20, 4)],
        "traditional": [(1, 40), (7, pytest.approx(40 / 7)), (20, 2)],
    }
    assert stars(axes) == {(7, 9.1), (7, 5.3)}
    assert axes.get_xlabel() == "PGD iterations K"
    assert axes.get_ylabel() == "accuracy (%)"


@pytest.mark.usefixtures("answered")
@pytest.mark.parametrize(
    ("iterations", "expected"),
    [
        # 40/40 - 40/100 is 0.6, within a point; 400/40 - 400/100 is 6
        ((1, 7, 40, 100), "It comes out here: -0.6 ± 0.0 points from K = 40 to K = 100"),
        ((1, 7, 40), "Not judged here: this scale's K ends at 40"),
        ((1, 7, 100), "Not judged here"),
    ],
)
def test_levelling_off_is_judged_where_the_scale_goes_far_enough(
    stub: StubStudy, iterations: tuple[int, ...], expected: str
) -> None:
    stub.scale = replace(stub.scale, iterations=iterations)
    assert expected in fig8b(stub).notes[-1]


def test_an_accuracy_that_still_falls_after_40_is_told(stub: StubStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.scale = replace(stub.scale, iterations=(7, 40, 100))
    monkeypatch.setattr(fig8, "by_iteration", lambda *asked: [10 * value for value in over_iterations(*asked)])
    assert "It does not come out here: -6.0" in fig8b(stub).notes[-1]


def test_one_run_gives_what_a_run_of_each_length_would(study: Study) -> None:
    counts = [1, 3, 7]
    found = by_iteration(study, "traditional", 0, counts)
    assert found == [study.accuracy("vgg5-cifar10", "traditional", 0, f"pgd:iterations={k}") for k in counts]
    assert study.plan([lambda at: by_iteration(at, "traditional", 0, counts)]) == []
