"""Fig. 1b, 3 and 10a with given spike counts and accuracies."""

from dataclasses import replace

import pytest
import torch

from reproduction import charts
from reproduction.activity_figures import Layer, total
from reproduction.distances import layer_names
from reproduction.measurements import Measurement
from reproduction.seedstat import SeedStat

from .conftest import HERE, TWO_SEEDS, Answer, page, said
from .drawn import heights, lines, names, stars

# layer -> neurons, timesteps, spikes per image; direct: SA 2, 1, 1, rate-coded: SA 5, 4, 2
DIRECT = {"conv1": [100, 4, 200.0], "conv2": [50, 4, 50.0], "fc1": [10, 4, 10.0]}
RATE = {"conv1": [100, 20, 500.0], "conv2": [50, 20, 200.0], "fc1": [10, 20, 20.0]}
# T:                   1   2   3   4   6   8  10  15  20
RATE_ACCURACY = [10.0, 20, 30, 40, 50, 79, 60, 80, 80.5]
DIRECT_ACCURACY = [10.0, 60, 79.5, 80]


# pooling layer -> outputs, timesteps, steps with an output that is not 0, layers of neurons before it
POOLS = {"pool1": [25, 4, 50.0, 1], "pool2": [10, 4, 5.0, 2]}


ORIGINS = ["A, semantics 1"] * 2
"""Of the two seeds that `page` makes up."""
OTHER = "; not compared, because they were measured on different processors"


def elsewhere(wanted: Measurement) -> dict[str, object]:
    """Rate-coded networks come from another processor."""
    return {**HERE, "cpu": "B"} if wanted.method == "rate" else HERE


def counts(wanted: Measurement) -> dict[str, list[float]] | None:
    if wanted.kind == "pool-activity":
        return None
    return RATE if wanted.method == "rate" else DIRECT


def with_pools(wanted: Measurement) -> dict[str, list[float]] | None:
    return POOLS if wanted.kind == "pool-activity" else counts(wanted)


def accuracies(wanted: Measurement) -> list[float]:
    assert wanted.kind == "by-time"
    found = RATE_ACCURACY if wanted.method == "rate" else DIRECT_ACCURACY
    assert len(found) == len(wanted.grid)
    return found


def test_sa_is_spikes_per_neuron_and_tasa_its_share_of_the_steps() -> None:
    layer = Layer("conv1", neurons=8, timesteps=4, spikes=SeedStat.of([8.0, 24.0]))
    assert layer.sa.values == (1.0, 3.0)
    assert layer.tasa.values == (0.25, 0.75)


def test_the_total_pools_neurons_not_layers() -> None:
    whole = total([Layer("conv1", 30, 2, SeedStat.of([30.0, 60.0])), Layer("fc1", 10, 2, SeedStat.of([0.0, 20.0]))])
    assert (whole.name, whole.neurons, whole.timesteps) == ("total", 40, 2)
    assert whole.sa.values == (0.75, 2.0)  # (30 + 0) / 40 and (60 + 20) / 40


def test_layers_are_named_by_the_shape_of_their_neurons() -> None:
    spikes = {"relu1": torch.zeros(2, 3, 4, 5, 5), "relu2": torch.zeros(2, 3, 4, 1, 1), "relu3": torch.zeros(2, 3, 7)}
    assert layer_names(spikes) == {"relu1": "conv1", "relu2": "conv2", "relu3": "fc1"}


def test_fig1b_draws_spikes_per_neuron_over_all_steps_beside_what_the_authors_draw() -> None:
    made = page("fig1b", counts)
    assert made.figure is not None
    figure = made.figure(charts)
    (axes,) = figure.axes
    assert lines(axes) == {"direct-coded": [(0, 2), (1, 1), (2, 1)], "rate-coded": [(0, 5), (1, 4), (2, 2)]}
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["conv1", "conv2", "fc1"]
    assert (axes.get_xlabel(), axes.get_yscale()) == ("layer", "log")
    assert stars(axes) == {(0, 0.36), (1, 0.62), (0, 1.47)}
    authors = "drawn by the authors (T = 8, rate-coded T = 120)"
    assert names(figure) == ["direct-coded", "rate-coded", authors]
    rows = made.tables[0].rows
    two = [SeedStat.of([value] * 2, ORIGINS) for value in (200, 500, 2, 5)]
    assert rows[0] == ["conv1", "100", *two[:2], 0.36, two[2], pytest.approx(1.64), 1.47, two[3], pytest.approx(3.53)]
    # (200 + 50 + 10) / 160 and (500 + 200 + 20) / 160
    total_ = [SeedStat.of([value] * 2, ORIGINS) for value in (260, 720, 1.625, 4.5)]
    assert rows[-1] == ["total", "160", *total_[:2], None, total_[2], None, None, total_[3], None]


@pytest.mark.parametrize("name", ["fig1b", "fig3"])
def test_pooling_layers_stand_behind_their_convolutions_and_in_no_total(name: str) -> None:
    without, made = page(name, counts), page(name, with_pools)
    names_of = [row[-7 if name == "fig3" else 0] for row in made.tables[0].rows][-6:]
    assert made.figure is not None
    bars = [tick.get_text() for tick in made.figure(charts).axes[-1].get_xticklabels()]
    assert bars == ["conv1", "pool1", "conv2", "pool2", "fc1"]
    assert names_of[-1] == without.tables[0].rows[-1][-7 if name == "fig3" else 0]
    assert made.tables[0].rows[-1] == without.tables[0].rows[-1]
    assert [claim.found for claim in made.claims] == [claim.found for claim in without.claims]
    assert "steps at which an output is not 0" in said(made)
    assert "pooling layers; they are not measured" in said(without)


def test_fig3_draws_spikes_per_neuron_and_step_of_both_networks() -> None:
    made = page("fig3", counts)
    assert made.figure is not None
    figure = made.figure(charts)
    assert [axes.get_title("left") for axes in figure.axes] == ["(i) VGG5 on CIFAR-10", "(ii) VGG11 on CIFAR-100"]
    for axes in figure.axes:
        assert heights(axes)["direct-coded"] == [0.5, 0.25, 0.25]
        assert heights(axes)["rate-coded"] == pytest.approx([0.25, 0.2, 0.1])
    alone = page("fig3", counts, TWO_SEEDS.only(["vgg11-cifar100"]))
    assert alone.figure is not None
    assert alone.figure(charts).axes[0].get_title("left") == "(i) VGG11 on CIFAR-100"


def test_fig1a_shows_one_image_in_both_codings() -> None:
    image = [[[0, 128, 255]] * 2] * 2
    found = {"direct": image, "rate": [image] * 4, "errors": [1.0, 0.5, 0.25, 0.1], "silent": [90.0, 40.0, 10.0, 0.0]}
    made = page("fig1a", lambda wanted: found)
    assert made.tables[0].rows[1] == ["8", 0.5, 40.0]
    assert made.figure is not None
    panels = made.figure(charts).axes
    assert [axes.get_title("left") for axes in panels[:2]] == ["(i) direct input", "(ii) rate-coded,\none step"]
    assert [len(axes.get_images()) for axes in panels] == [1] * 5


def test_observation_1_is_judged_on_all_layers_and_on_the_first_two(monkeypatch: pytest.MonkeyPatch) -> None:
    text = said(page("fig3", counts))
    assert text.count("lower SA than rate coding. Agrees: SA 1.62 direct, 4.5 rate-coded") == 2
    # means over layers: (0.5 + 0.25 + 0.25) / 3 and (0.25 + 0.2 + 0.1) / 3; over two: 0.375 and 0.225
    assert text.count("all layers: direct input has a higher TASA than rate coding. Agrees") == 2
    assert text.count("mean TASA 0.333 direct, 0.183 rate-coded") == 2
    assert text.count("mean TASA 0.375 direct, 0.225 rate-coded") == 2
    monkeypatch.setitem(DIRECT, "conv1", [100, 4, 20.0])
    monkeypatch.setitem(RATE, "conv1", [100, 20, 1200.0])
    assert said(page("fig3", counts)).count("higher TASA than rate coding. Differs") == 4


@pytest.mark.parametrize(("name", "answer"), [("fig3", counts), ("fig10a", accuracies)])
def test_two_trainings_are_shown_and_not_compared(name: str, answer: Answer) -> None:
    claims = page(name, answer, where=elsewhere).claims
    assert {claim.verdict for claim in claims} == {"not judged"}
    assert all(OTHER in claim.found for claim in claims)
    assert "not judged" not in {claim.verdict for claim in page(name, answer).claims}


def test_figures_name_the_steps_and_seeds_of_the_rate_coded_network() -> None:
    one_rate_seed = {name: replace(each, rate_seeds=1) for name, each in TWO_SEEDS.networks.items()}
    assert page("fig3", counts, replace(TWO_SEEDS, networks=one_rate_seed)).images.endswith(
        "rate-coded: T = 20, seed 0"
    )
    one_rate_seed["vgg11-cifar100"] = replace(one_rate_seed["vgg11-cifar100"], rate_timesteps=30)
    made = page("fig10a", lambda wanted: [80.0] * len(wanted.grid), replace(TWO_SEEDS, networks=one_rate_seed))
    assert made.images.endswith("rate-coded VGG5: T = 20, seed 0, rate-coded VGG11: T = 30, seed 0")


def test_a_silent_network_can_be_drawn() -> None:
    made = page("fig1b", lambda wanted: {"conv1": [100, 4, 0.0]} if wanted.kind == "activity" else None)
    assert made.figure is not None
    assert lines(made.figure(charts).axes[0]) == {"direct-coded": [(0, 0)], "rate-coded": [(0, 0)]}


def test_chosen_and_needed_steps_are_in_the_table() -> None:
    trained, own, same = page("fig10a", accuracies).tables[0].rows[3:]
    assert trained[:2] == ["VGG11", "CIFAR-100"]
    # smoke trains with 20 and 4; the paper's T is 8
    assert trained[3:] == [20.0, 8.0, 4.0, -4.0, 5.0]
    # at 8 steps it is there, falls back at 10, and stays from 15 on; direct is within a point from 3 on
    needed = [SeedStat.of([15, 15], ORIGINS), None, SeedStat.of([3, 3], ORIGINS), None, SeedStat.of([5.0, 5.0])]
    assert own[3:] == needed
    assert same[3:] == own[3:]


def test_an_accuracy_that_is_never_reached_is_named() -> None:
    made = page("fig10a", lambda wanted: [v / 2 for v in RATE_ACCURACY] if wanted.method == "rate" else DIRECT_ACCURACY)
    own, same = made.tables[0].rows[1:3]
    assert own[3].mean == 15  # type: ignore[union-attr]
    assert same[3] == "not reached"
    assert same[-1] is None


def test_latency_is_judged_by_the_steps_that_are_needed() -> None:
    """Not by those of the recipes, which are a choice (D6)."""
    claim = page("fig10a", accuracies).claims[1]
    assert (claim.verdict, claim.paper, claim.ours) == ("agrees", 25.0, 5.0)
    assert "needs 3 steps, rate coding 15: 5.0 times fewer" in claim.found

    def slow(wanted: Measurement) -> list[float]:
        return accuracies(wanted) if wanted.method == "traditional" else [80.0] * len(wanted.grid)

    assert {claim.verdict for claim in page("fig10a", slow).claims} == {"differs"}  # one step is enough for rate coding


def test_bars_are_the_needed_steps_and_lines_the_accuracies() -> None:
    made = page("fig10a", accuracies)
    assert made.figure is not None
    bars, vgg5, vgg11 = made.figure(charts).axes
    assert heights(bars) == {"rate-coded": [15, 15], "direct-coded": [3, 3]}
    assert not stars(bars)  # the paper prints the steps of training
    assert lines(vgg5)["direct-coded"] == [(1, 10), (2, 60), (3, 79.5), (4, 80)]
    assert lines(vgg11)["rate-coded"][-1] == (20, 80.5)
    assert (vgg5.get_xlabel(), vgg5.get_ylabel()) == ("timesteps shown", "clean accuracy (%)")
