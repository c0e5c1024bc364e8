"""What a type checker says of calls of `fit`: methods that do not exist, and the type of the network it returns."""

import re
from pathlib import Path
from typing import get_args

import pytest

from hiresnn.training.methods import METHODS, SpikingMethod

CALLS = """
import torch
from torch import nn
import hiresnn
from hiresnn.training import Method

ann = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
images = torch.rand(4, 1, 8, 8), torch.arange(4)
reveal_type(hiresnn.fit(ann, images).network)
reveal_type(hiresnn.fit(ann, images, method="traditional", epochs=1).network)
reveal_type(hiresnn.fit(ann, images, method="ann").network)
reveal_type(hiresnn.fit(ann, images, method=Method()).network)
hiresnn.fit(ann, images, method="hires")
hiresnn.fit(ann, images, method="converted")
hiresnn.fit(ann, images, epoch=1)
"""


def test_the_type_of_methods_lists_those_that_train_a_spiking_network():
    assert {*get_args(SpikingMethod)} == {*METHODS} - {"converted"}


@pytest.mark.slow
def test_a_type_checker_refuses_unknown_methods_and_knows_the_network_that_fit_returns(tmp_path):
    api = pytest.importorskip("mypy.api")
    file = tmp_path / "calls.py"
    file.write_text(CALLS)
    cache = Path(__file__).parents[2] / ".mypy_cache"
    output, _, _ = api.run([str(file), "--cache-dir", str(cache), "--python-version", "3.11"])
    remarks = re.findall(
        r"calls.py:(\d+): (?:note: Revealed type is .*?(\w+)\"|error: .*(No overload|Unexpected))", output
    )
    assert [(int(line), network or problem) for line, network, problem in remarks] == [
        (9, "SpikingNetwork"), (10, "SpikingNetwork"), (11, "Sequential"), (12, "Sequential"),
        (13, "No overload"), (14, "No overload"), (15, "Unexpected"), (15, "No overload"),
    ], output  # fmt: skip
