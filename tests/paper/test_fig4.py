"""Fig. 4 on a study whose accuracies follow a formula, so that every drawn point is known."""

import math

import pytest

from hiresnn.charts import print as plotting
from hiresnn.paper.artefact import Artefact
from hiresnn.paper.fig4 import fig4

from .conftest import StubStudy
from .drawn import lines, names, spreads, stars

BASE = {None: 60.0, "fgsm": 20.0, "pgd": 5.0}
BOX = {"white": 0.0, "same-ann": 1.0, "independent": 10.0}


def answer(network: str, method: str, seed: int, attack: str | None, box: str, changes: dict[str, str]) -> float:
    """Clean rises by 3 a step; under attack a step costs 1; seed 1 is 2 above seed 0."""
    assert (network, method) == ("vgg11-cifar100", "traditional")
    steps = int(changes["snn__timesteps"])
    return BASE[attack] + (3 * steps if attack is None else -steps) + (BOX[box] if attack else 0) + 2 * seed


@pytest.fixture
def artefact(stub: StubStudy) -> Artefact:
    stub.answer = answer
    return fig4(stub)


def test_lines_are_the_measured_means_in_a_panel_for_each_box(artefact: Artefact) -> None:
    drawn = artefact.figure(plotting)
    for axes, box in zip(drawn.axes, BOX, strict=True):
        # the mean of seeds 0 and 1 is 1 above seed 0
        assert lines(axes) == {
            "clean": [(2, 67), (4, 73)],
            "FGSM": [(2, 19 + BOX[box]), (4, 17 + BOX[box])],
            "PGD": [(2, 4 + BOX[box]), (4, 2 + BOX[box])],
        }
        assert spreads(axes) == [pytest.approx([math.sqrt(2)] * 2)] * 3


def test_the_papers_points_are_those_of_table_1_at_its_t(artefact: Artefact) -> None:
    white, same, independent = artefact.figure(plotting).axes
    assert stars(white) == {(8, 65.6), (8, 16.4), (8, 2.9)}
    assert stars(same) == stars(independent) == {(8, 65.6), (8, 19.0), (8, 6.2)}


def test_axes_and_legend_say_what_is_drawn(artefact: Artefact) -> None:
    drawn = artefact.figure(plotting)
    assert [axes.get_xlabel() for axes in drawn.axes] == ["timesteps T"] * 3
    assert drawn.axes[0].get_ylabel() == "accuracy (%)"
    assert ["same ANN" in axes.get_title("left") for axes in drawn.axes] == [False, True, False]
    assert names(drawn) == ["clean", "FGSM", "PGD", "printed in the paper"]


def test_the_table_has_every_point_once_and_the_black_box_twice(artefact: Artefact) -> None:
    (table,) = artefact.tables
    # one clean curve and two attacks in three boxes; beside the two trained T the paper's 8
    assert len(table.rows) == 3 * (1 + 3 * 2)
    row = next(row for row in table.rows if row[:3] == ["black box, twin from an independent ANN", "PGD", "4"])
    assert row[4].mean == 12


def test_a_change_against_the_paper_is_told(artefact: Artefact, stub: StubStudy) -> None:
    text = " ".join(artefact.notes)
    assert "clean accuracy is lower at T = 2 than at T = 4. It comes out here: -6.0" in text
    # under attack two steps fewer give 2 points more, which the paper excludes
    assert text.count("It does not come out here: FGSM +2.0 ± 0.0, PGD +2.0 ± 0.0 points") == 3
    stub.answer = lambda *_: 50.0
    flat = " ".join(fig4(stub).notes)
    assert "than at T = 4. It does not come out here" in flat
    assert flat.count("It comes out here: FGSM +0.0") == 3
