"""The pictures of the README: what they show is what was measured, and they are valid SVG for both schemes."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from hiresnn.attacks import AttackSpec

from ..scripts import imported

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def spikes():
    return imported(ROOT / "benchmarks" / "spikes_picture.py")


def squares(svg, kind):
    paths = [path for path in svg.iter(f"{SVG}path") if path.get("class") == kind]
    return sum(path.get("d", "").count("M") for path in paths)


def test_squares_and_numbers_are_those_of_the_spikes(spikes):
    clean = torch.tensor([[1, 0, 1], [1, 0, 0.0]])
    attacked = torch.tensor([[1, 1, 0], [1, 1, 0.0]])
    layer = spikes.Layer("relu<1>", clean, attacked, 3.0, 1.0, 2.0)
    images = (torch.zeros(4, 4), torch.ones(4, 4))
    scene = spikes.Scene("net", "fgsm", 20, 5, images, ("3", "8"), [layer])
    text = spikes.picture(scene)
    svg = ElementTree.fromstring(text)
    assert {kind: squares(svg, kind) for kind in ("both", "gone", "new")} == {"both": 2, "gone": 1, "new": 2}
    texts = ["".join(text_element.itertext()) for text_element in svg.iter(f"{SVG}text")]
    assert "3 spikes, 1 removed, 2 added" in texts
    assert "100 changes per 100 clean spikes" in texts
    assert {"clean, read as 3", "attacked, read as 8"} <= set(texts)
    assert len([cell for cell in svg.iter(f"{SVG}rect") if cell.get("fill") == "rgb(255,255,255)"]) == 16
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"@import|https?://(?!www\.w3\.org)|url\((?!#)", text)


def test_the_first_broken_image_of_a_network_is_drawn(spikes):
    scene = spikes.observed("digits-hire", "digits", AttackSpec.parse("pgd:eps=32/255"), 30)
    assert scene.answers[0] != scene.answers[1]
    assert 0 < scene.broken < 30
    assert [layer.name for layer in scene.layers] == ["relu1", "relu2", "relu3", "relu4", "relu5"]
    for layer in scene.layers:
        assert layer.gone + layer.new > 0
        assert layer.gone < layer.spikes
    assert spikes.picture(scene).startswith("<svg")


def test_the_gap_between_pgd_and_the_worst_case_is_written(monkeypatch, tmp_path):
    cards = [ROOT / "results" / f"audit-cpu-{method}.json" for method in ("hire", "traditional")]
    words = [f"<HIRE>={cards[0]}", str(cards[1]), "--bound", "2/255", "-o", str(tmp_path / "p.svg")]
    monkeypatch.setattr(sys, "argv", ["readme_picture.py", *words])
    imported(ROOT / "benchmarks" / "readme_picture.py").main()
    text = (tmp_path / "p.svg").read_text(encoding="utf-8")
    svg = ElementTree.fromstring(text)
    assert svg.get("width") == "800"
    texts = ["".join(text_element.itertext()) for text_element in svg.iter(f"{SVG}text")]
    assert "42.5 %21.0 points too high" in texts
    assert "21.5 %" in texts
    assert any(text_element.startswith("<HIRE>cifar10, 200 images") for text_element in texts)
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"@import|https?://(?!www\.w3\.org)|url\((?!#)", text)
