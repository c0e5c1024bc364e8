"""Fig. 9 on a study whose accuracies follow a formula, so that every bar is known."""

import math
from dataclasses import replace

import pytest

from hiresnn.charts import print as plotting
from hiresnn.paper.artefact import Artefact
from hiresnn.paper.fig9 import fig9

from .conftest import StubStudy
from .drawn import heights, names, spreads, stars

METHOD = {"traditional": 0.0, "noise-free": 1.0, "gaussian": 2.0, "hire": 9.0}
ATTACK = {None: 60.0, "fgsm": 20.0, "pgd": 5.0}
BOX = {"white": 0.0, "same-ann": 3.0, "independent": 30.0}


def answer(network: str, method: str, seed: int, attack: str | None, box: str, changes: dict[str, str]) -> float:
    assert (network, changes) == ("vgg11-cifar100", {})
    assert method != "noise-free" or box == "white"
    # crafted noise gains 4 points more under FGSM than under PGD
    return METHOD[method] + ATTACK[attack] + BOX[box] + 2 * seed + (4 if (method, attack) == ("hire", "fgsm") else 0)


@pytest.fixture
def artefact(stub: StubStudy) -> Artefact:
    stub.answer = answer
    return fig9(stub)


def test_bars_are_the_measured_means(artefact: Artefact) -> None:
    drawn = artefact.figure(plotting)
    (axes,) = drawn.axes
    found = heights(axes)
    # clean; FGSM, PGD in the white box, with a twin from the same ANN, with an independent one; seeds' mean + 1
    assert found["traditional"] == [61, 21, 6, 24, 9, 51, 36]
    assert found["Gaussian noise"] == [63, 23, 8, 26, 11, 53, 38]
    assert found["crafted noise (HIRE)"] == [70, 34, 15, 37, 18, 64, 45]
    assert found["periods, no noise"][:3] == [62, 22, 7]
    assert all(math.isnan(height) for height in found["periods, no noise"][3:])
    assert spreads(axes) == [pytest.approx([math.sqrt(2)])] * (3 * 7 + 3)
    assert axes.get_ylabel() == "accuracy (%)"
    assert names(drawn)[-1] == "printed in the paper"


def test_the_papers_stars_are_those_of_its_tables(artefact: Artefact) -> None:
    (axes,) = artefact.figure(plotting).axes
    printed = [65.6, 16.4, 2.9, 19.0, 6.2, 19.0, 6.2, 65.1, 22.0, 7.5, 29.1, 16.1, 29.1, 16.1]
    assert sorted(y for _, y in stars(axes)) == sorted(printed)


def test_the_gain_over_gaussian_noise_is_the_larger_of_both_attacks(artefact: Artefact) -> None:
    white, same, independent = artefact.tables[1].rows
    # FGSM: 9 + 4 - 2 = 11; PGD: 9 - 2 = 7
    assert [row[2].mean for row in (white, same, independent)] == [11, 11, 11]
    assert [row[1] for row in (white, same, independent)] == [6.5, 9.7, 9.7]
    assert white[3] == pytest.approx(4.5)


def test_the_control_without_noise_is_told_beside_the_papers_claims(artefact: Artefact) -> None:
    text = " ".join(artefact.notes)
    assert text.count("crafted noise is better than Gaussian noise under both attacks. It comes out here") == 3
    assert text.count("2 points count as that. It comes out here: FGSM +2.0 ± 0.0, PGD +2.0 ± 0.0") == 3
    assert "Periods without noise over traditional training, white box: FGSM +1.0 ± 0.0, PGD +1.0 ± 0.0" in text


def test_gaussian_noise_that_helps_is_told(stub: StubStudy) -> None:
    stub.answer = lambda *asked: answer(*asked) + (20 if asked[1] == "gaussian" else 0)
    text = " ".join(fig9(stub).notes)
    assert text.count("Gaussian noise under both attacks. It does not come out here: FGSM -9.0 ± 0.0, PGD -13.0") == 3
    assert text.count("2 points count as that. It does not come out here: FGSM +22.0") == 3


def test_a_scale_that_does_not_sweep_vgg11_measures_what_it_sweeps(stub: StubStudy) -> None:
    stub.scale = replace(stub.scale, swept=("vgg5-cifar10",))
    stub.answer = lambda network, *asked: answer("vgg11-cifar100", *asked) + 100 * (network != "vgg5-cifar10")
    artefact = fig9(stub)
    assert "VGG5 on CIFAR-10: accuracy" in artefact.tables[0].caption
    assert artefact.tables[0].rows[0][3].mean == 61
    assert artefact.tables[0].rows[0][2] == 87.9  # of VGG5, Table 1
    assert [row[1] for row in artefact.tables[1].rows] == [None, None, None]
    assert artefact.notes[-1].startswith("The paper draws VGG11 on CIFAR-100. This scale measures VGG5 on CIFAR-10")
