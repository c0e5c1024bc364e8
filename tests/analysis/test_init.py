"""The examples in the docstrings of the measures and in docs/analysis.md run."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from hiresnn.network import spiking_graph


@pytest.mark.parametrize("name", ["accuracy", "spikes", "energy", "operations"])
def test_the_docstring_examples_run(name):
    result = doctest.testmod(import_module(f"hiresnn.analysis.{name}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_the_python_code_of_the_documentation_runs(capsys):
    text = (Path(__file__).parents[2] / "docs" / "analysis.md").read_text(encoding="utf-8")
    images, labels = torch.linspace(0, 1, 16).reshape(4, 1, 2, 2), torch.tensor([0, 1, 2, 1])
    network = spiking_graph(nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3)), 2)
    names = {"network": network, "images": images, "labels": labels, "batches": [images, images[:1]]}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(code, names)
    assert "pJ per image" in capsys.readouterr().out
