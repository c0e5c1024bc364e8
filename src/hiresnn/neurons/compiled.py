"""Kernels: plain PyTorch functions, run as they are or through torch.compile."""

import functools
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@functools.cache
def kernel(function: Callable[..., Any], fused: bool, whole: bool = True) -> Callable[..., Any]:
    """Return `function`, compiled where `fused`: one kernel per T, reset, rule and dtype, for any batch size.

    On a CPU compiled spikes equal eager ones bit for bit.

    Args:
        whole: refuse a graph break. False runs what cannot be compiled eagerly, for code of the user.
    """
    if not fused:
        return function
    # max_fusion_size: one kernel also where T is large; buffers between kernels would be as large as the activations.
    options: dict[str, Any] = {"max_fusion_size": 4096}
    compiled: Callable[..., Any] = torch.compile(function, dynamic=True, fullgraph=whole, options=options)

    @functools.wraps(function)
    def run(*arguments: Any) -> Any:
        with many_specialisations():
            return compiled(*arguments)

    return run


def many_specialisations() -> Any:
    """Let torch compile one function for more than 8 combinations of T, reset, rule and dtype, inside the context."""
    config: Any = torch._dynamo.config
    limit = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    return config.patch({limit: max(256, getattr(config, limit))})


@functools.cache
def can_fuse(device_type: str = "cpu") -> bool:
    """Tell whether torch.compile has what it needs: a C++ compiler for the CPU, Triton for a GPU."""
    if device_type == "cpu":
        return shutil.which(os.environ.get("CXX", "g++")) is not None or shutil.which("clang++") is not None
    return importlib.util.find_spec("triton") is not None


@functools.cache
def compiles(device_type: str) -> bool:
    """Compile a small function to find out whether it works here; a compiler may lack headers, for example."""
    try:
        return can_fuse(device_type) and bool(kernel(lambda x: x + 1, True)(torch.zeros(8, device=device_type)).all())
    except Exception:
        return False


def _caller(network: nn.Module) -> Callable[..., Any]:
    """Return a function of this file that calls a network.

    torch.compile begins no graph in a function of torch itself, such as nn.Sequential.forward, where `Module.compile`
    would begin: it would compile only the layers that are not torch's, one by one.
    """

    def call(*arguments: Any) -> Any:
        return network._call_impl(*arguments)  # type: ignore[no-untyped-call]

    return call


@contextmanager
def compiled_in_place(*networks: nn.Module) -> Iterator[None]:
    """Run whole networks through torch.compile in the block; names, weights and hooks of their layers stay the same.

    Every batch size is compiled by itself: code for any size would be slower, and a training that is interrupted would
    continue with other code, and so with other rounding, than one that is not.
    """
    for network in networks:
        network._compiled_call_impl = torch.compile(_caller(network), dynamic=False)  # what Module.compile sets, too
    try:
        with many_specialisations():
            yield
    finally:
        for network in networks:
            network._compiled_call_impl = None
