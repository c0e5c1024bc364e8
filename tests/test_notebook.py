"""What a notebook shows of a network, of a training and of an audit."""

import json
import logging
from pathlib import Path

import pytest
import torch
from torch import nn

import hiresnn
from hiresnn.analysis import spike_raster
from hiresnn.audit.card import Card
from hiresnn.audit.events import EventCard, EventPoint
from hiresnn.errors import UsageError
from hiresnn.training import FitResult

SHELF = Path(hiresnn.__file__).parent / "hub" / "networks"


@pytest.fixture
def card():
    return Card.model_validate(json.loads((SHELF / "digits-hire" / "audit" / "card.json").read_text()))


def test_a_card_shows_its_headline_and_curve_and_escapes_what_a_file_says(card):
    shown = card._repr_html_()
    assert card.conclusion.headline in shown
    assert shown.count("<tr>") == 1 + len(card.curve)
    assert len(shown) < 60_000
    hostile = card.model_copy(update={"conclusion": card.conclusion.model_copy(update={"headline": "<script>"})})
    assert "<script>" not in hostile._repr_html_()


def test_a_card_of_events_shows_its_sentence_and_curve(card):
    worst, best = card.curve[-1].worst, card.curve[0].worst
    points = [EventPoint(budget=k, random=best, topk=best, worst=worst) for k in (1, 10)]
    shown = EventCard.model_construct(conclusion="Report <at> most", curve=points, gallery=[])._repr_html_()
    assert "Report &lt;at&gt; most" in shown
    assert f"<tr><td>10</td><td>{worst.percent:.1f} (" in shown


def test_a_card_is_drawn_with_its_worst_case_first(card):
    pytest.importorskip("matplotlib")
    (axes,) = card.plot().axes
    lines = axes.get_lines()
    assert lines[0].get_ydata().tolist() == [point.worst.percent for point in card.curve]
    assert [line.get_label() for line in lines] == ["worst case", "the paper's PGD", "FGSM", "noise"]


def small():
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2, bias=False))
    return hiresnn.convert(ann, torch.rand(8, 1, 2, 2), timesteps=3)


def test_a_network_and_a_training_are_short():
    network = small()
    assert "T = 3" in network._repr_html_()
    assert network._repr_html_().count("<tr>") == 2
    shown = FitResult(network, [{"loss": 0.5, "train_accuracy": 90.0}], 87.5)._repr_html_()
    assert "87.5" in shown
    assert "<th>epochs</th><td>1</td>" in shown


def test_saving_says_that_loading_needs_the_users_own_network(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "hiresnn"):
        hiresnn.save(small(), tmp_path / "mine.safetensors")
    assert "hiresnn.load(path, ann=...)" in caplog.text


def crossing():
    """Two integrate-and-fire neurons with threshold 1, each of which sees one pixel."""
    ann = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    for layer in (ann[1], ann[3]):
        nn.init.eye_(layer.weight)
    network = hiresnn.convert(ann, torch.rand(8, 1, 1, 2), timesteps=4)
    for lif in network.neurons.values():
        lif.threshold.data.fill_(1.0)
        lif.leak.data.fill_(1.0)
    return network


def test_a_raster_has_the_spikes_of_each_image_in_its_column():
    pytest.importorskip("matplotlib")
    clean, attacked = torch.tensor([0.6, 0.3]).reshape(1, 1, 1, 2), torch.tensor([0.3, 0.6]).reshape(1, 1, 1, 2)
    network = crossing().train()
    figure = spike_raster(network, torch.cat([clean, attacked]), ["clean", "attacked"])
    assert network.training
    pictures, spikes = figure.axes[:2], figure.axes[2:]
    assert [axes.get_title() for axes in pictures] == ["clean\nanswer: class 0", "attacked\nanswer: class 1"]
    assert pictures[1].images[0].get_array().tolist() == attacked[0, 0].tolist()
    # A membrane potential of 0.6, 1.2, 0.8, 1.4 is above 1 at steps 2 and 4; 0.3, 0.6, 0.9, 1.2 at step 4.
    often, seldom = [0, 1, 0, 1], [0, 0, 0, 1]
    assert [axes.images[0].get_array().tolist() for axes in spikes] == [[often, seldom], [seldom, often]]
    assert spikes[0].get_ylabel().endswith("2 of 2")
    few = spike_raster(network, clean, neurons=1)
    assert few.axes[1].images[0].get_array().tolist() == [often]


class Twice(nn.Module):
    """A neuron that spikes twice per step at the largest input."""

    def forward(self, current):
        return (2 * current).round()


def test_a_raster_of_another_library():
    pytest.importorskip("matplotlib")
    layers = nn.Sequential(nn.Flatten(), Twice())
    network = hiresnn.foreign.Unrolled(layers, 3, spiking=[layers[1]], library="mine")
    spikes = spike_raster(network, torch.tensor([1.0, 0.5]).reshape(1, 1, 1, 2)).axes[1].images[0]
    assert spikes.get_array().tolist() == [[2, 2, 2], [1, 1, 1]]
    assert spikes.get_clim() == (0, 2)


@pytest.mark.parametrize("wrong", [{"titles": ["one"]}, {"neurons": 0}, {"images": torch.rand(9, 1, 1, 2)}])
def test_a_raster_says_what_it_can_draw(wrong):
    with pytest.raises(UsageError, match="1 to 8 images"):
        spike_raster(crossing(), **({"images": torch.rand(2, 1, 1, 2)} | wrong))


def test_a_notebook_shows_figures_that_pyplot_does_not_know(card):
    pytest.importorskip("matplotlib")
    for figure in (card.plot(), spike_raster(crossing(), torch.rand(1, 1, 1, 2))):
        assert figure._repr_png_().startswith(b"\x89PNG")
