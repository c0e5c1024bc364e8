"""Compiling: decided by the work ahead, said once, kept over restarts."""

from pathlib import Path

import torch

from hiresnn.network import SpikingNetwork, spiking_graph
from hiresnn.runs.compile_policy import COMPILING, should_fuse
from hiresnn.runs.recipe import Recipe, override
from hiresnn.runs.train import train

from .conftest import Heard


def network() -> SpikingNetwork:
    torch.manual_seed(0)
    layers = torch.nn.Flatten(), torch.nn.Linear(4, 1000), torch.nn.ReLU(), torch.nn.Linear(1000, 2)
    return spiking_graph(torch.nn.Sequential(*layers), 8)


def test_compiling_is_decided_by_the_work_ahead() -> None:
    image = torch.rand(1, 1, 2, 2)
    # 1,000 neurons over 8 steps: 4e9 updates are 500,000 images.
    assert should_fuse("auto", network(), image, 500_001)
    assert not should_fuse("auto", network(), image, 499_999)
    assert should_fuse("always", network(), image, 1)
    assert not should_fuse("never", network(), image, 10**9)


def test_it_is_said_where_neurons_are_compiled(tiny: Recipe, tmp_path: Path, heard: Heard, no_compiler: None) -> None:
    for wanted in ("never", "always"):
        train(override(tiny, {"compile": wanted, "snn.epochs": "0"}), out=tmp_path / wanted, progress=heard)
        assert heard.lines.count(COMPILING) == (wanted == "always")
