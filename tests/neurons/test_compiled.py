"""Kernels: compiled without a lasting change to torch, and only where a compiler works."""

import torch

from hiresnn.neurons import compiled
from hiresnn.neurons.compiled import can_fuse, compiles, kernel


def limits():
    config = torch._dynamo.config
    return [getattr(config, name, None) for name in ("recompile_limit", "cache_size_limit")]


def test_a_compiled_kernel_leaves_the_settings_of_torch_as_they_were(monkeypatch):
    during = []

    def compile_nothing(function, **options):
        return lambda *arguments: during.append(limits())

    monkeypatch.setattr(torch, "compile", compile_nothing)
    before = limits()
    kernel(lambda x: x, True)(torch.zeros(1))
    assert 256 in during[0]
    assert limits() == before


def test_a_compiler_that_fails_is_found_out(monkeypatch):
    def broken(function, **options):
        raise RuntimeError("Python.h: No such file")

    monkeypatch.setattr(torch, "compile", broken)
    monkeypatch.setattr(compiled, "can_fuse", lambda device: True)
    assert not compiles.__wrapped__("cpu")


def test_without_a_compiler_nothing_is_fused(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not can_fuse.__wrapped__("cpu")
