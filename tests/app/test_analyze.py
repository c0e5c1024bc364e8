"""Analyses of a run folder: what they measure, what they write, what they refuse."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hiresnn import data
from hiresnn.app import analyze
from hiresnn.app.folder import MODEL, RunFolder
from hiresnn.app.networks import save
from hiresnn.app.recipe import override, read
from hiresnn.errors import UsageError
from hiresnn.models import build
from hiresnn.network import convert
from hiresnn.progress import Progress

QUIET = Progress(quiet=True)


def made(path, encoding="direct"):
    torch.manual_seed(0)
    recipe = override(read("digits"), {"attack.iterations": "2", "attack.eps": "16/255"})
    ann = build("vgg5", 10, in_channels=1, image_size=8, width=0.05, hidden=8)
    images = data.load("digits").train.images[:64] / 255
    with RunFolder.create(path, recipe):
        save(convert(ann, images, timesteps=3, encoding=encoding), path / MODEL)
    return path


@pytest.fixture
def run(tmp_path):
    return made(tmp_path / "run")


def test_activity_is_measured_clean_and_under_each_attack_and_kept(run):
    result = analyze.activity(run, attacks=["fgsm"], limit=20, progress=QUIET)
    assert (result["images"], result["timesteps"]) == (20, 3)
    assert list(result["activity"]) == ["clean", "fgsm:eps=16/255"]
    clean = result["activity"]["clean"]
    assert list(clean["layers"]) == ["relu1", "relu2", "relu3", "relu4", "relu5"]
    spikes = sum(layer["spikes"] for layer in clean["layers"].values())
    assert clean["total"]["tasa"] == pytest.approx(spikes / clean["total"]["neurons"] / 3)
    assert clean != result["activity"]["fgsm:eps=16/255"]
    assert RunFolder.open(run).read_json("analysis-activity.json") == result


def test_distance_takes_the_recipes_pgd_where_no_attack_is_named(run):
    result = analyze.distance(run, limit=20, progress=QUIET)
    assert list(result["distance"]) == ["pgd:eps=16/255,iterations=2"]
    image = result["distance"]["pgd:eps=16/255,iterations=2"]["images"]
    assert 0 < image["mean"] <= image["max"] <= 8 * 16 / 255 + 1e-6  # sqrt(64 pixels) * eps
    assert RunFolder.open(run).read_json("analysis-distance.json") == result


def test_an_attack_of_no_strength_is_at_distance_zero_even_with_random_spikes(tmp_path):
    rate = made(tmp_path / "rate", "poisson")
    found = analyze.distance(rate, attacks=["fgsm:eps=0"], limit=20, progress=QUIET)["distance"]["fgsm:eps=0"]
    assert found["images"]["max"] == 0
    assert [layer["max"] for layer in found["layers"].values()] == [0] * 5


def test_energy_holds_layers_totals_and_memory(run):
    result = analyze.energy(run, limit=20, progress=QUIET)
    entry: dict[str, Any] = result["energy"]["clean"]
    assert entry["label"] == "estimated arithmetic energy, 45 nm"
    assert entry["quantised_bits"] == 2
    for prices in ("fp32", "int32"):
        assert entry["pj"][prices]["snn"] == pytest.approx(sum(layer["pj"][prices] for layer in entry["layers"]))
    assert entry["memory"]["snn"]["off_chip_pj"] > entry["memory"]["snn"]["on_chip_pj"]
    assert RunFolder.open(run).read_json("analysis-energy.json") == result


OWN = """
import torch
from torch import nn
import hiresnn
from hiresnn.foreign import Unrolled


def of_run():
    return hiresnn.load("run")


class IFNode(nn.Module):
    def reset(self):
        self.v = 0.0

    def forward(self, x):
        self.v = self.v + x
        spikes = (self.v >= 1).float() + (self.v - self.v.detach())
        self.v = self.v - spikes
        return spikes


IFNode.__module__ = "spikingjelly.neuron"


def foreign():
    torch.manual_seed(0)
    neuron = IFNode()
    layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), neuron, nn.Linear(12, 10))
    return Unrolled(layers, 3, library="mine", reset=lambda _: neuron.reset(), spiking=[neuron])


def ann():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""


@pytest.fixture
def here(run, monkeypatch):
    (run.parent / "mine.py").write_text(OWN)
    monkeypatch.chdir(run.parent)
    return run.parent


@pytest.mark.parametrize("what", ["activity", "energy"])
def test_a_function_that_returns_the_network_of_a_run_has_its_figures(here, what):
    measure = getattr(analyze, what)
    own = measure("run", limit=20, progress=QUIET)
    assert measure("mine.py:of_run", source="digits", limit=20, progress=QUIET)[what] == own[what]
    measured = json.loads((here / "audits" / "mine-of_run" / f"analysis-{what}.json").read_bytes())
    assert measured[what] == own[what]


def test_a_network_in_an_adapter_is_analysed_clean_and_attacked(here):
    options: dict[str, Any] = {"source": "digits", "limit": 20, "out": here / "found", "progress": QUIET}
    energy = analyze.energy("mine.py:foreign", attacks=["fgsm:eps=32/255"], **options)["energy"]
    assert list(energy) == ["clean", "fgsm:eps=32/255"]
    assert [layer["name"] for layer in energy["clean"]["layers"]] == ["1", "2", "3", "readout"]
    activity = analyze.activity("mine.py:foreign", **options)["activity"]["clean"]["layers"]["2"]
    assert activity["spikes"] == energy["clean"]["layers"][1]["events"] > 0
    distance = analyze.distance("mine.py:foreign", **options)["distance"]["pgd:eps=8/255,iterations=7"]
    assert distance["layers"]["2"]["mean"] > 0
    assert {path.name for path in (here / "found").glob("*.json")} == {
        "analysis-activity.json", "analysis-distance.json", "analysis-energy.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("mine.py:ann", {"source": "digits"}, "mine.py:ann is a Sequential, whose spikes hiresnn cannot find"),
        ("run", {"attacks": ["pdg"]}, "'pdg' is not known"),
        ("mine.py:foreign", {}, "mine.py:foreign has no data set of its own; name one with --data"),
        ("run", {"out": Path("found")}, "the results of run run are part of its folder; leave out --out"),
    ],
)
def test_targets_that_cannot_be_analysed_are_refused(here, target, options, message):
    with pytest.raises(UsageError, match=message):
        analyze.activity(target, progress=QUIET, **options)
