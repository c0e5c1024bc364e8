"""The LIF recurrence over all timesteps at once (Eq. 1, 2), and its gradient by hand (Eq. 5).

Both directions are plain PyTorch over [T, neurons]; `kernels` hands them out as they are (eager) or through
torch.compile (fused), where the loop over time becomes one pass over memory. Only the input current is kept
for the backward pass: computing the membranes again there costs less than storing them.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from hiresnn.neurons.surrogate import Surrogate

Reset = Literal["subtract", "subtract-unleaked"]
RESETS: tuple[Reset, ...] = ("subtract", "subtract-unleaked")


class Scan(NamedTuple):
    """What is fixed during one scan; a fused kernel is specialised on it."""

    timesteps: int
    timed: bool  # False: one current that holds at every step
    reset: Reset = "subtract"


def membrane_step(residue: Tensor | None, current: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eq. 1 and 2 at one timestep: (membrane u, normalised membrane z, spike).

    u = residue + I, z = u / threshold - 1, spike = 1 where z > 0 (strict). The residue is what the step
    before left behind, leak * m; None is rest.
    """
    u = current if residue is None else residue + current
    z = u / threshold - 1
    return u, z, (z > 0).to(u.dtype)


def left_behind(u: Tensor, spike: Tensor, threshold: Tensor, leak: Tensor, reset: Reset) -> Tensor:
    """The residue of a step after its soft reset.

    "subtract": leak * (u - threshold * spike), the reset within the step. "subtract-unleaked":
    leak * u - threshold * spike, Eq. 1 to the letter, where the subtraction escapes the leak.
    """
    if reset == "subtract":
        return leak * (u - threshold * spike)
    return leak * u - threshold * spike


def spike_steps(
    current: Tensor, threshold: Tensor, leak: Tensor, residue: Tensor | None, scan: Scan
) -> Iterator[tuple[Tensor, Tensor]]:
    """The scan of `scan_forward` step by step: spikes [n] in the dtype of the current, and the residue [n]."""
    wide = torch.promote_types(current.dtype, torch.float32)
    for t in range(scan.timesteps):
        now = (current[t] if scan.timed else current).to(wide)
        u, _, spike = membrane_step(residue, now, threshold)
        residue = left_behind(u, spike, threshold, leak, scan.reset)
        yield spike.to(current.dtype), residue


def scan_forward(
    current: Tensor, threshold: Tensor, leak: Tensor, residue: Tensor | None, scan: Scan
) -> tuple[Tensor, Tensor]:
    """Run Eq. 1 and 2 over T steps.

    Args:
        current: [T, n], or [n] where `scan.timed` is False. Membranes are float32 at least, whatever this is.
        threshold, leak: scalars.
        residue: [n] left behind by an earlier window, or None at rest.

    Returns:
        Spikes [T, n] in the dtype of the current, and the residue [n] of the last step.
    """
    spikes = []
    for spike, left in spike_steps(current, threshold, leak, residue, scan):
        spikes.append(spike)
        residue = left
    assert residue is not None
    return torch.stack(spikes), residue


def scan_backward(
    current: Tensor,
    threshold: Tensor,
    leak: Tensor,
    residue: Tensor | None,
    grad: Tensor,
    scan: Scan,
    surrogate: Surrogate,
    with_parameters: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradients of current, threshold and leak from those of the spikes, `grad` [T, n].

    The spike inside the reset is detached; the threshold gets a gradient through z and through the reset.
    Without `with_parameters` (an attack) the two reductions over all neurons are not computed.
    """
    wide = torch.promote_types(current.dtype, torch.float32)
    trace = []
    for t in range(scan.timesteps):
        now = (current[t] if scan.timed else current).to(wide)
        u, z, spike = membrane_step(residue, now, threshold)
        residue = left_behind(u, spike, threshold, leak, scan.reset)
        trace.append((u, z, spike))
    grad_current: list[Tensor] = []
    grad_threshold = grad_leak = torch.zeros_like(threshold)
    grad_residue = None
    for t in reversed(range(scan.timesteps)):
        u, z, spike = trace[t]
        grad_z = grad[t].to(wide) * surrogate(z)
        grad_u = grad_z / threshold
        if with_parameters:
            grad_threshold = grad_threshold - grad_z * u / (threshold * threshold)
        if grad_residue is not None:
            if scan.reset == "subtract":
                kept, pulled = u - threshold * spike, leak * spike
            else:
                kept, pulled = u, spike
            if with_parameters:
                grad_threshold = grad_threshold - grad_residue * pulled
                grad_leak = grad_leak + grad_residue * kept
            grad_u = grad_u + leak * grad_residue
        grad_residue = grad_u
        grad_current.append(grad_u)
    if scan.timed:
        to_current = torch.stack([g.to(current.dtype) for g in reversed(grad_current)])
    else:
        to_current = functools.reduce(torch.add, grad_current).to(current.dtype)
    if not with_parameters:
        return to_current, None, None
    return to_current, grad_threshold.sum(), grad_leak.sum()


class Kernels(NamedTuple):
    """The two functions above, eager or compiled."""

    forward: Callable[..., tuple[Tensor, Tensor]]
    backward: Callable[..., tuple[Tensor, Tensor | None, Tensor | None]]


def kernels(fused: bool) -> Kernels:
    """The scans, eager, or compiled where `fused`. On a CPU the spikes are the same bit for bit."""
    return _compiled() if fused else Kernels(scan_forward, scan_backward)


@functools.cache
def _compiled() -> Kernels:
    return Kernels(fused_kernel(scan_forward), fused_kernel(scan_backward))


def fused_kernel(step_loop: Callable[..., Any], *, whole: bool = True) -> Callable[..., Any]:
    """`step_loop` through torch.compile, for batches of any size: one kernel per T, reset, rule, dtype.

    Where not `whole`, what cannot be compiled runs as it is.
    """
    config = torch._dynamo.config  # more kernels than the default 8
    limit = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    setattr(config, limit, max(256, getattr(config, limit)))
    # One kernel also where T is large: buffers between kernels would be as large as the activations.
    compiled: Callable[..., Any] = torch.compile(
        step_loop, dynamic=True, fullgraph=whole, options={"max_fusion_size": 4096}
    )
    return compiled


@functools.cache
def can_fuse(device_type: str = "cpu") -> bool:
    """True where torch.compile can build kernels: a C++ compiler for the CPU, Triton for a GPU."""
    if device_type == "cpu":
        return shutil.which(os.environ.get("CXX", "g++")) is not None or shutil.which("clang++") is not None
    return importlib.util.find_spec("triton") is not None
