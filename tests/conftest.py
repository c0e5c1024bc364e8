"""Before hiresnn is imported: shapes in its signatures are checked at run time, and torch computes on one thread.

Three kinds of modules are not checked: those that torch.compile reads, those whose signatures have no shapes, and those
that answer a wrong choice with their own message (network.convert, network.encoding, data.user_batches), which the
check would precede.
"""

import os
from importlib import import_module

# Before torch is imported, also by the processes that tests start: torch would start further processes to compile in,
# and to start them takes longer than to compile.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

import pytest
import torch
from jaxtyping import install_import_hook

DATA = ("data.dataset", "data.sources")
CHECKED = ("attacks", *DATA, "models", "network.spiking", "training.losses")

install_import_hook([f"hiresnn.{package}" for package in CHECKED], "beartype.beartype")
torch.set_num_threads(1)


def pytest_configure(config):
    """Warnings are errors, except for four that torch's compiler raises about torch or about this Python."""
    config.addinivalue_line("filterwarnings", "ignore:Guards may run slower on Python 3.13.0:RuntimeWarning")
    config.addinivalue_line("filterwarnings", "ignore:`torch.jit:DeprecationWarning")
    config.addinivalue_line("filterwarnings", "ignore:Skipping serialization of skipfiles:UserWarning")  # torch 2.6
    config.addinivalue_line("filterwarnings", "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the compilation: kernels that are asked for compiled run as they are."""
    for module in ("neurons.layer", "network.layers"):
        monkeypatch.setattr(f"hiresnn.{module}.kernel", lambda function, fused, whole=True: function)
    spiking = import_module("hiresnn.network.spiking")
    monkeypatch.setattr(spiking, "compiles", lambda device: True)
    spiking._announce_compiling.cache_clear()
