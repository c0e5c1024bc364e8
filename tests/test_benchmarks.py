"""The benchmarks that train networks: the command on their pages, and the recipe of the networks they measure."""

import argparse
import importlib
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from hiresnn.audit.card import read_card
from hiresnn.network import spiking_graph

from .scripts import imported

STUDY = Path(__file__).parents[1] / "benchmarks" / "study.py"
pytestmark = pytest.mark.skipif(not STUDY.is_file(), reason="the benchmarks are only in a checkout")


@pytest.fixture(scope="module")
def study():
    return imported(STUDY)


def asked(study, **options):
    usual = {"recipe": "digits", "data": None, "set": [], "seeds": study.SEEDS, "methods": list(study.ROWS),
             "twins": study.TWINS, "limit": 2000, "out": Path("table")}  # fmt: skip
    return argparse.Namespace(**{**usual, **options})


def test_the_command_on_a_page_has_all_options_that_are_not_the_default(study):
    assert study.command(asked(study)) == "python benchmarks/study.py digits --out results/table"
    command = study.command(asked(study, data="/home/me/my digits.npz", seeds=[3, 4]))
    assert command == "python benchmarks/study.py digits --data 'my digits.npz' --seeds 3 4 --out results/table"


CARDS = STUDY.parents[1] / "results" / "robust"


@pytest.fixture(scope="module")
def robust_table():
    return imported(STUDY.with_name("robust_table.py"))


def test_a_row_of_the_table_of_robust_training_has_means_over_seeds(robust_table, tmp_path):
    entries = []
    for seed, price in enumerate([1.0, 1.5]):
        card = read_card(CARDS / f"card-digits-hire-{seed}.json")
        entries.append(robust_table.Entry("digits-hire", seed, card, price))
    robust_table.check(entries)
    row = robust_table.columns(entries, ["8/255", "16/255", "32/255"])
    # Clean 99.0 and 98.5; PGD 48.5 and 48.0; worst cases 90.0 and 93.0, 69.5 and 68.0, 15.5 and 15.5.
    assert row[:4] == ["digits-hire", "2", "1.25", "98.8"]
    assert row[5:9] == ["48.2", "91.5", "68.8", "15.5"]
    assert row[9] == "15.5 (11.1-21.2), 15.5 (11.1-21.2)"
    robust_table.draw({"digits-hire": entries}, "32/255", tmp_path / "figure", "about")
    assert {path.name for path in tmp_path.iterdir()} == {"figure.svg", "figure.png"}


@pytest.mark.parametrize("name", ["cifar10"])  # the others have methods of version 0.2 that are gone
def test_a_committed_comparison_is_that_of_its_cards(name, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(STUDY.parent))
    compare = importlib.import_module("robust_compare")
    monkeypatch.setattr(compare, "keep_memory", lambda: None)  # for the whole process
    shutil.copytree(CARDS / "cards-cifar10", tmp_path / "cards-cifar10")
    rows = shutil.copy(CARDS / f"{name}.toml", tmp_path)
    monkeypatch.setattr(sys, "argv", ["robust_compare.py", str(rows), "--runs", str(tmp_path / "runs")])
    compare.main()
    for ending in ("csv", "md"):
        assert (tmp_path / f"{name}.{ending}").read_text() == (CARDS / f"{name}.{ending}").read_text()
    assert not (tmp_path / "runs").exists()


def test_the_table_of_a_deployed_network_has_the_energy_and_the_size_worked_out_by_hand():
    module = imported(STUDY.with_name("deployed_table.py"))
    ann = nn.Sequential(nn.Flatten(), nn.Linear(2000, 1, bias=False), nn.ReLU(), nn.Linear(1, 2, bias=False))
    nn.init.constant_(ann[1].weight, 1 / 1000)
    own = [75.0, 50.0]
    views = {"float": {"worst": own, "own": own}, "int4": {"worst": [75.0, 25.0], "own": own}}
    found = {"bounds": ["0", "8/255"], "images": 4, "views": views, "all views": [75.0, 25.0]}
    lines = module.table(found, spiking_graph(ann, 2), torch.ones(1, 1, 20, 100))
    # u = 2 and 3 at threshold 1: two spikes. 2,000 MACs on the image, at 4.6 pJ with floats and 3.2 pJ with integers
    # (Table 7); at 0.9 or 0.1 pJ 2 * 2 additions behind the spikes, 2 + 2 in the neuron and 2 * 2 for the logits. 2,002
    # weights, a threshold and a leak of 32 bits, or of 4.
    assert lines[0] == "| view | clean | 8/255 | spikes | nJ, float | nJ, integers | weights, kB |"
    assert lines[2:] == [
        "| `float` | 75.0 | 50.0 | 2.0 | 9.2 | 6.4 | 8.0 |",
        "| `int4` | 75.0 | 25.0 (50.0) | 2.0 | 9.2 | 6.4 | 1.0 |",
        "| all views | 75.0 | 25.0 |  |  |  |  |",
    ]
