"""Fig. 1b and 3 on spike counts given by hand."""

from typing import Any

import pytest

from hiresnn.charts import print as plotting
from hiresnn.paper.fig1b_fig3 import fig1b, fig3
from hiresnn.paper.stat import Stat

from .conftest import StubStudy
from .drawn import heights, lines, names

# layer -> neurons, timesteps, spikes an image; direct: SA 2, 1, 1, rate-coded: SA 5, 4, 2
DIRECT = {"conv1": [100, 4, 200.0], "conv2": [50, 4, 50.0], "fc1": [10, 4, 10.0]}
RATE = {"conv1": [100, 20, 500.0], "conv2": [50, 20, 200.0], "fc1": [10, 20, 20.0]}


@pytest.fixture
def given(stub: StubStudy, monkeypatch: pytest.MonkeyPatch) -> StubStudy:
    counts = {"direct": DIRECT, "rate": RATE}

    def measured(key: dict[str, Any], work: object, **_: object) -> dict[str, list[float]]:
        assert key["what"] == "activity"
        return counts["rate" if "-rate-" in key["run"] else "direct"]

    monkeypatch.setattr(stub, "measured", measured)
    monkeypatch.setattr(stub, "run", lambda network, method, seed: stub.root / f"{network}-{method}-{seed}")
    return stub


def test_fig1b_draws_spikes_per_neuron_over_all_steps(given: StubStudy) -> None:
    drawn = fig1b(given).figure(plotting)
    (axes,) = drawn.axes
    assert lines(axes) == {"direct-coded": [(0, 2), (1, 1), (2, 1)], "rate-coded": [(0, 5), (1, 4), (2, 2)]}
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["conv1", "conv2", "fc1"]
    assert (axes.get_xlabel(), axes.get_yscale()) == ("layer", "log")
    assert axes.get_ylabel() == "spikes per neuron over T steps (SA)"
    assert names(drawn) == ["direct-coded", "rate-coded"]


def test_fig1b_tells_spikes_and_their_number_per_neuron_with_all_layers_together(given: StubStudy) -> None:
    rows = fig1b(given).tables[0].rows
    assert rows[0] == ["conv1", "100", *(Stat.of([value] * 2) for value in (200, 2, 500, 5))]
    # (200 + 50 + 10) / 160 and (500 + 200 + 20) / 160
    assert rows[-1] == ["total", "160", *(Stat.of([value] * 2) for value in (260, 1.625, 720, 4.5))]


def test_fig3_draws_spikes_per_neuron_and_step_of_both_networks(given: StubStudy) -> None:
    drawn = fig3(given).figure(plotting)
    assert [axes.get_title("left") for axes in drawn.axes] == ["(a) VGG5 on CIFAR-10", "(b) VGG11 on CIFAR-100"]
    for axes in drawn.axes:
        assert heights(axes)["direct-coded"] == [0.5, 0.25, 0.25]
        assert heights(axes)["rate-coded"] == pytest.approx([0.25, 0.2, 0.1])
        assert axes.get_ylabel() == "spikes per neuron and step (TASA)"


def test_fig3_of_one_network_keeps_its_letter(given: StubStudy) -> None:
    given.networks = ("vgg11-cifar100",)
    (axes,) = fig3(given).figure(plotting).axes
    assert axes.get_title("left") == "(b) VGG11 on CIFAR-100"


def test_observation_1_is_judged_on_all_layers_and_on_the_first_two(given: StubStudy) -> None:
    text = " ".join(fig3(given).notes)
    assert text.count("lower SA than rate coding. It comes out here: SA 1.62 direct, 4.5 rate-coded") == 2
    # means over layers: (0.5 + 0.25 + 0.25) / 3 and (0.25 + 0.2 + 0.1) / 3; over two: 0.375 and 0.225
    assert text.count("all layers: direct input has a higher TASA than rate coding. It comes out here") == 2
    assert text.count("mean TASA 0.333 direct, 0.183 rate-coded") == 2
    assert text.count("mean TASA 0.375 direct, 0.225 rate-coded") == 2


def test_an_observation_turned_round_is_told(given: StubStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DIRECT, "conv1", [100, 4, 20.0])
    monkeypatch.setitem(RATE, "conv1", [100, 20, 1200.0])
    text = " ".join(fig3(given).notes)
    assert text.count("higher TASA than rate coding. It does not come out here") == 4


def test_a_silent_network_is_drawn_too(given: StubStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = {"conv1": [100, 4, 0.0]}
    monkeypatch.setattr(given, "measured", lambda *_, **__: silent)
    (axes,) = fig1b(given).figure(plotting).axes
    assert lines(axes) == {"direct-coded": [(0, 0)], "rate-coded": [(0, 0)]}
