"""Compiling: decided by the work ahead, said once, kept over restarts."""

from pathlib import Path

import torch

from hiresnn.app.build import COMPILING, compile_neurons
from hiresnn.app.recipe import Recipe, override
from hiresnn.app.train import train
from hiresnn.network import spiking_graph

from .conftest import Heard


def fused(wanted: str, images: int) -> bool:
    torch.manual_seed(0)
    layers = torch.nn.Flatten(), torch.nn.Linear(4, 1000), torch.nn.ReLU(), torch.nn.Linear(1000, 2)
    network = spiking_graph(torch.nn.Sequential(*layers), 8)
    compile_neurons(wanted, network, torch.rand(1, 1, 2, 2), images)
    return network.fused


def test_compiling_is_decided_by_the_work_ahead(no_compiler: None) -> None:
    # 1,000 neurons over 8 steps: 4e9 updates are 500,000 images.
    assert fused("auto", 500_001)
    assert not fused("auto", 499_999)
    assert fused("always", 1)
    assert not fused("never", 10**9)


def test_it_is_said_where_neurons_are_compiled(tiny: Recipe, tmp_path: Path, heard: Heard, no_compiler: None) -> None:
    for wanted in ("never", "always"):
        train(override(tiny, {"compile": wanted, "snn.epochs": "0"}), out=tmp_path / wanted, progress=heard)
        assert heard.lines.count(COMPILING) == (wanted == "always")
