"""Before hiresnn is imported: shapes in its signatures are checked at run time, and torch computes on one thread.

Left out of the check: what torch.compile reads, what says no shapes, and what answers a wrong choice by a sentence
of its own (network.convert, network.encoding), which the check would come before.
"""

import torch
from jaxtyping import install_import_hook

CHECKED = ("attacks", "data", "models", "network.spiking", "training.noise")

install_import_hook([f"hiresnn.{package}" for package in CHECKED], "beartype.beartype")
torch.set_num_threads(1)


def pytest_configure(config):
    """Warnings are errors, but for two that torch's compiler raises about torch, and means to hide."""
    config.addinivalue_line("filterwarnings", "ignore:`torch.jit:DeprecationWarning")
    config.addinivalue_line("filterwarnings", "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
