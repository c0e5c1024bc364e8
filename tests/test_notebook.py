"""What a notebook shows of a network, of a training and of an audit."""

import json
import logging
from pathlib import Path

import pytest
import torch
from torch import nn

import hiresnn
from hiresnn.audit.card import Card
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


def test_a_card_is_drawn_with_its_worst_case_first(card):
    pytest.importorskip("matplotlib")
    (axes,) = card.plot().axes
    lines = axes.get_lines()
    assert lines[0].get_ydata().tolist() == [point.worst.percent for point in card.curve]
    assert [line.get_label() for line in lines] == ["worst case", "PGD", "FGSM", "noise"]


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
