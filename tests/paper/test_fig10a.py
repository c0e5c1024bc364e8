"""Fig. 10a: latency as chosen, and as needed, on accuracies given by hand; and measured on a real network."""

from typing import Any

import pytest
import torch

from hiresnn import convert
from hiresnn.charts import print as plotting
from hiresnn.models import build
from hiresnn.network import SpikingNetwork
from hiresnn.paper.fig10a import fig10a
from hiresnn.paper.stat import Stat

from .conftest import StubStudy
from .drawn import heights, lines, stars

# T:         1   2   3   4   6   8  10  15  20
RATE = [10.0, 20, 30, 40, 50, 79, 60, 80, 80.5]
DIRECT = [10.0, 60, 79.5, 80]


@pytest.fixture
def given(stub: StubStudy, monkeypatch: pytest.MonkeyPatch) -> StubStudy:
    def measured(key: dict[str, Any], work: object, **_: object) -> list[float]:
        assert key["what"] == "stopped-early"
        return RATE if "rate" in key["run"] else DIRECT

    monkeypatch.setattr(stub, "measured", measured)
    monkeypatch.setattr(stub, "run", lambda network, method, seed: stub.root / f"{network}-{method}-{seed}")
    return stub


def test_chosen_and_needed_steps_stand_in_the_table(given: StubStudy) -> None:
    trained, own, same = fig10a(given).tables[0].rows[3:]
    assert trained[:2] == ["VGG11", "CIFAR-100"]
    # smoke trains with 20 and 4; the paper's T is 8, its ratio at most 25
    assert trained[3:] == [20.0, 8.0, 4.0, -4.0, 25.0, 5.0, -20.0]
    # at 8 steps it is there, falls back at 10, and stays from 15 on; direct is within a point from 3 on
    assert own[3:] == [Stat.of([15, 15]), None, Stat.of([3, 3]), None, None, 5.0, None]
    assert same[3:] == [Stat.of([15, 15]), None, Stat.of([3, 3]), None, None, 5.0, None]


def test_an_accuracy_that_is_never_reached_is_said_so(given: StubStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    low = {"rate": [value / 2 for value in RATE], "traditional": DIRECT}
    monkeypatch.setattr(given, "measured", lambda key, *_, **__: low["rate" if "rate" in key["run"] else "traditional"])
    own, same = fig10a(given).tables[0].rows[1:3]
    assert own[3].mean == 15
    assert same[3] == "not reached"
    assert same[-2] is None


def test_bars_are_the_trained_steps_and_lines_the_accuracies(given: StubStudy) -> None:
    bars, vgg5, vgg11 = fig10a(given).figure(plotting).axes
    assert heights(bars) == {"rate-coded": [20, 20], "direct-coded": [4, 4]}
    assert sorted(y for _, y in stars(bars)) == [6, 8]
    assert lines(vgg5)["direct-coded"] == [(1, 10), (2, 60), (3, 79.5), (4, 80)]
    assert lines(vgg11)["rate-coded"][-1] == (20, 80.5)
    assert bars.get_ylabel() == "timesteps T trained with"
    assert (vgg5.get_xlabel(), vgg5.get_ylabel()) == ("timesteps shown", "clean accuracy (%)")


def test_accuracy_is_that_of_the_network_stopped_after_so_many_steps(
    stub: StubStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    images = torch.rand(30, 1, 8, 8)
    ann = build("vgg5", 10, in_channels=1, image_size=8, width=0.0625, hidden=16)
    network: SpikingNetwork = convert(ann.eval(), images, timesteps=4, threshold_scale=1.0)
    labels = network(images, 2).argmax(1)
    monkeypatch.setattr(stub, "run", lambda network, method, seed: stub.root / f"{network}-{method}-{seed}")
    monkeypatch.setattr(stub, "network_of", lambda run: network)
    monkeypatch.setattr(stub.images, "shown", lambda name, count: (images, labels))
    curve = lines(fig10a(stub).figure(plotting).axes[1])["direct-coded"]
    for steps, percent in curve:
        right = sum(
            int(network(image[None], int(steps)).argmax() == label) for image, label in zip(images, labels, strict=True)
        )
        assert percent == pytest.approx(100 * right / 30)
    assert dict(curve)[2] == 100
    assert min(percent for _, percent in curve) < 100, "a network that never changes its mind shows nothing"
