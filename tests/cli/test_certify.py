"""`hiresnn certify`: what it prints and writes, on a network of the package and on one with interval bounds."""

import json
import re
from pathlib import Path

import pytest
from tests.cli.commands import plain, run

import hiresnn

HIRE = Path(hiresnn.__file__).parent / "hub" / "networks" / "digits-hire"
NETWORK = """
import torch
from torch import nn
from hiresnn import convert
def network(encoding="direct"):
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
    return convert(ann, torch.rand(32, 1, 8, 8), timesteps=3, encoding=encoding)
def poisson():
    return network("poisson")
"""


def test_certificates_stand_beside_the_audit_and_below_the_attack(tmp_path, capsys):
    folder = HIRE
    (tmp_path / "card.json").write_bytes((folder / "audit" / "card.json").read_bytes())
    code = run("certify", folder, "--smoothing", "sigma=0.25, n=200", "--limit", "4", "--out", tmp_path, "--quiet")
    assert code == 0
    printed, result = plain(capsys.readouterr().out), json.loads((tmp_path / "certify.json").read_text())
    assert "No interval bounds: layer 'relu1' has a leak" in printed
    assert "The audit saw 200 images" in printed
    assert result["audit"] == 200
    (entry,) = result["smoothed"]
    assert entry["contradictions"] == 0
    assert any(entry["certified radius"])
    assert all(low <= high for low, high in zip(entry["certified"], entry["attacked"], strict=True))
    page = (tmp_path / "certify.html").read_text()
    assert "worst case of the audit" in page
    assert "sigma = 0.25" in page
    assert not re.search(r"https?://(?!www\\.w3\\.org)", page)


def test_a_network_of_integrate_and_fire_neurons_has_interval_bounds(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(NETWORK)
    options = ("--data", "digits", "--limit", "10", "--out", tmp_path, "--quiet", "--no-attack")
    assert run("certify", f"{tmp_path}/mine.py:network", "--smoothing", "n=100", *options) == 0
    result = json.loads((tmp_path / "certify.json").read_text())
    assert result["linf"]["reason"] is None
    assert len(result["linf"]["certified"]) == len(result["linf"]["bounds"])
    assert result["linf"]["certified"][0] <= result["clean"]
    assert result["smoothed"][0]["attacked"] is None
    assert "Smoothed network" in capsys.readouterr().out


def test_poisson_input_is_certified_as_rate_coding(tmp_path):
    (tmp_path / "mine.py").write_text(NETWORK)
    options = ("--data", "digits", "--limit", "2", "--out", tmp_path, "--quiet", "--no-attack")
    assert run("certify", f"{tmp_path}/mine.py:poisson", *options) == 0
    (entry,) = json.loads((tmp_path / "certify.json").read_text())["smoothed"]
    assert (entry["smoothing"], entry["norm"]) == ("rate coding", "L1")


def test_event_grids_are_refused_as_their_cells_are_no_pixels(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(NETWORK)
    assert run("certify", f"{tmp_path}/mine.py:network", "--data", "saccade-digits", "--limit", "2") == 2
    assert "Sparse" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["sigma=0", "rate", "uniform(n=3)", "sigma=x", "gamma=1"])
def test_wrong_smoothings_are_one_sentence(text, capsys):
    assert run("certify", HIRE, "--smoothing", text, "--limit", "2") == 2
    assert capsys.readouterr().err.startswith("Error: ")
