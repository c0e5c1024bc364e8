"""Fig. 1c on a study whose accuracies follow a formula, so that every bar is known."""

import math

import pytest

from hiresnn.charts import print as plotting
from hiresnn.paper.artefact import Artefact
from hiresnn.paper.fig1c import fig1c

from .conftest import StubStudy
from .drawn import heights, stars

ATTACK = {"fgsm": 20.0, "pgd": 5.0}
BOX = {"white": 0.0, "same-ann": 3.0, "independent": 30.0}


def answer(network: str, method: str, seed: int, attack: str | None, box: str, changes: dict[str, str]) -> float:
    assert (network, changes) == ("vgg11-cifar100", {})
    assert method in ("ann", "traditional")
    assert attack is not None
    below = -4.0 if method == "traditional" and box == "white" else 1.0 if method == "traditional" else 0.0
    return ATTACK[attack] + BOX[box] + below + 2 * seed


@pytest.fixture
def artefact(stub: StubStudy) -> Artefact:
    stub.answer = answer
    return fig1c(stub)


def test_bars_are_the_measured_means_and_the_ann_has_no_twin_from_the_same_ann(artefact: Artefact) -> None:
    (axes,) = artefact.figure(plotting).axes
    found = heights(axes)
    # FGSM, PGD in the white box, with a twin from the same ANN, with an independent one; the seeds' mean is 1 more
    assert found["traditional"] == [17, 2, 25, 10, 52, 37]
    ann = found["ANN"]
    assert (ann[:2], ann[4:]) == ([21, 6], [51, 36])
    assert all(math.isnan(height) for height in ann[2:4])


def test_the_papers_stars_are_those_of_table_1(artefact: Artefact) -> None:
    (axes,) = artefact.figure(plotting).axes
    printed = [16.9, 8.2, 23.5, 15.3, 23.5, 15.3, 16.4, 2.9, 19.0, 6.2, 19.0, 6.2]
    assert sorted(y for _, y in stars(axes)) == sorted(printed)


def test_rows_hold_the_gap_between_snn_and_ann_seed_by_seed(artefact: Artefact) -> None:
    white, independent = artefact.tables[0].rows[0], artefact.tables[0].rows[4]
    assert white[8:] == [pytest.approx(-0.5), white[9], pytest.approx(-3.5)]
    assert (white[9].mean, white[9].deviation) == (-4, 0)
    assert (independent[9].mean, independent[10]) == (1, pytest.approx(5.5))  # the paper has 19.0 - 23.5 = -4.5


def test_directions_that_differ_are_told(artefact: Artefact) -> None:
    (told,) = [note for note in artefact.notes if "directions of the paper" in note]
    assert told.startswith("2 of 4 directions of the paper do not come out here")
    assert "FGSM, black box, twin from an independent ANN, SNN over ANN (paper -4.5, here +1.0" in told


def test_a_scale_without_vgg11_says_so(stub: StubStudy) -> None:
    stub.networks = ("vgg5-cifar10",)
    artefact = fig1c(stub)
    assert (artefact.tables, artefact.figure) == ([], None)
    assert "has no vgg11-cifar100" in artefact.notes[0]
