"""Fig. 5a: the LIF layer against traces worked out by hand, and the figure on a digit network that is not trained."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hiresnn import save
from hiresnn.charts import print as plotting
from hiresnn.models import build
from hiresnn.paper.fig5 import distances, fig5a

from .conftest import StubStudy
from .drawn import lines, names

# Threshold 0.8, ten steps, reset by subtraction. s marks a spike, with the membrane after it.
# leak 1, current 0.25: .25 .5 .75 s.2 .45 .7 s.15 .4 .65 s.1                     3 spikes
# leak 1, current 0.45: .45 s.1 .55 s.2 .65 s.3 .75 s.4 s.05 .5                    5 spikes
# leak .5, current 0.25: nears .5 and stays below the threshold                      0 spikes
# leak .5, current 0.45: .45 .675 .7875 s.044 .472 .686 .793 s.046 .473 .687         2 spikes
# leak 0, current 0.45: .45 at every step                                             0 spikes
# leak 0, current 0.9: s at every step                                               10 spikes
CLEAN, PERTURBED = torch.tensor([[[[0.25, 0.45]]], [[[0.45, 0.45]]]]), torch.tensor([[[[0.45, 0.25]]], [[[0.45, 0.9]]]])


@pytest.mark.parametrize(
    ("leak", "first", "second"),
    [
        # first image: both pixels change by 5 - 3 = 2 spikes of 10 steps; sqrt(0.2^2 + 0.2^2)
        # second image: 0.9 at leak 1: s.1 s.2 s.3 s.4 s.5 s.6 s.7 s.8 s.9 s1.0, 10 spikes against 5
        (1.0, 0.08**0.5, 0.5),
        # first: 2 spikes against 0, twice; second: 0.9 spikes at every step, against 2
        (0.5, 0.08**0.5, 0.8),
        # first: none spikes at all; second: all ten against none
        (0.0, 0.0, 1.0),
    ],
)
def test_distance_behind_the_layer_equals_traces_by_hand(leak: float, first: float, second: float) -> None:
    found = distances(CLEAN, PERTURBED, threshold=0.8, leak=leak, timesteps=10)
    assert found.tolist() == pytest.approx([first, second], abs=1e-9)


@pytest.fixture
def given(stub: StubStudy, monkeypatch: pytest.MonkeyPatch) -> StubStudy:
    """Networks are not trained, only seeded."""

    def train(recipe: Any, *, out: Path, **_: object) -> Path:
        torch.manual_seed(recipe.seed)
        out.mkdir(parents=True)
        save(build("vgg5", 10, in_channels=1, image_size=8, width=0.0625, hidden=16), out / "model.safetensors")
        return out

    monkeypatch.setattr("hiresnn.paper.fig5.train", train)
    return stub


def test_the_figure_draws_the_table_and_the_distance_of_the_images(given: StubStudy) -> None:
    artefact = fig5a(given)
    drawn = artefact.figure(plotting)
    (axes,) = drawn.axes
    rows = artefact.tables[0].rows
    assert [float(row[0]) for row in rows] == list(given.scale.leaks)
    found = lines(axes)
    assert found["LIF layer, 2 random digits"] == [(float(row[0]), row[1].mean) for row in rows]
    assert found["LIF layer, all test digits"] == [(float(row[0]), row[4].mean) for row in rows]
    level = {line.get_label(): set(line.get_ydata()) for line in axes.lines}
    assert level["images, 2 random digits"] == {rows[0][2].mean}
    assert axes.get_xlabel() == "leak λ of the LIF layer (1)"
    assert "L_2" in axes.get_ylabel()
    assert len(names(drawn)) == 4


def test_the_images_move_by_one_step_of_the_attack(given: StubStudy) -> None:
    row = fig5a(given).tables[0].rows[0]
    # one step of 0.03 on 64 pixels, of which those at 0 or 1 may not move: between a few pixels and all of them
    assert 0.03 * 4 < row[2].mean <= 0.03 * 8
    assert 0.03 * 4 < row[5].mean <= 0.03 * 8
    assert row[3].mean == pytest.approx(sum(s / i for s, i in zip(row[1].values, row[2].values, strict=True)) / 2)
    assert row[2].values[0] != row[2].values[1], "each seed has its own digits"


@pytest.mark.parametrize(
    ("spikes", "expected"),
    [
        ([0.5, 0.3, 0.1, 0.3], "It comes out here: the spikes lie closer than the images at 1 of 4 leaks (0.9)"),
        (
            [0.5, 0.3, 0.25, 0.3],
            "It does not come out here: the spikes lie closer than the images at 0 of 4 leaks (none)",
        ),
        ([0.1, 0.1, 0.1, 0.1], "It does not come out here: the spikes lie closer than the images at 4 of 4 leaks"),
    ],
)
def test_a_certain_range_is_some_leaks_and_not_all(
    stub: StubStudy, monkeypatch: pytest.MonkeyPatch, spikes: list[float], expected: str
) -> None:
    stub.scale = replace(stub.scale, leaks=(0.0, 0.5, 0.9, 1.0))
    value = {"few": spikes, "all": spikes, "image": [0.2], "images": [0.2]}
    monkeypatch.setattr(stub, "measured", lambda *_, **__: value)
    assert expected in fig5a(stub).notes[-1]
