r"""The leaky integrate-and-fire neuron (Eq. 1, 2), over all timesteps at once, and its gradient (Eq. 5).

`lif_steps` is the equation: the forward pass, the recomputation in the backward pass, the fused block of
network/fused.py and the layer rules all run it. Both scans are plain PyTorch over
[T, neurons] and may be compiled (`kernel`), which turns the loop over time into one pass over memory. Only the input
current is saved for the backward pass: recomputing the membranes costs less than storing them.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

Reset = Literal["subtract", "subtract-unleaked", "zero"]
RESETS: tuple[Reset, ...] = ("subtract", "subtract-unleaked", "zero")
Condition = Literal[">", ">="]
CONDITIONS: tuple[Condition, ...] = (">", ">=")


class Scan(NamedTuple):
    """What is constant during a scan; a compiled kernel is specialised on it."""

    timesteps: int
    timed: bool  # False: the same current enters at every step
    reset: Reset = "subtract"
    start: float = 0.0  # membranes at rest, as a fraction of the threshold
    condition: Condition = ">"  # when a neuron spikes, see `fires`


def fires(z: Tensor, condition: Condition) -> Tensor:
    """Return where the normalised membrane z = u / v_t - 1 makes a neuron spike: z > 0, or z >= 0."""
    return z >= 0 if condition == ">=" else z > 0


def lif_steps(
    current: Tensor, m: Tensor | None, v_t: Tensor, leak: Tensor, scan: Scan
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Run Eq. 1 and 2, in float32 at least; yield u, z, spike and the next m of every timestep.

        u = m + I,   z = u / v_t - 1,   spike = 1 if z > 0 else 0 (z >= 0 with condition ">="),
        next m = leak * (u - v_t * spike)      reset "subtract": the reset happens within the step
        next m = leak * u - v_t * spike        reset "subtract-unleaked": Eq. 1 as printed; the reset does not leak
        next m = leak * u * (1 - spike)        reset "zero": a spike empties the membrane

    Args:
        current: I, the weighted input spikes, [T, ...], or [...] where `scan.timed` is False.
        m: what an earlier window left in the membrane, after its leak and reset; None at rest, where the first step
            finds `scan.start` * v_t.
        v_t: firing threshold, a scalar.
        leak: a scalar in [0, 1]; 1 is IF.
    """
    wide = torch.promote_types(current.dtype, torch.float32)
    if m is None and scan.start:
        m = scan.start * v_t
    for t in range(scan.timesteps):
        now = (current[t] if scan.timed else current).to(wide)
        u = now if m is None else m + now
        z = u / v_t - 1
        spike = fires(z, scan.condition).to(u.dtype)
        if scan.reset == "zero":
            m = leak * u * (1 - spike)
        else:
            m = leak * (u - v_t * spike) if scan.reset == "subtract" else leak * u - v_t * spike
        yield u, z, spike, m


def scan_forward(
    current: Tensor,
    m: Tensor | None,
    v_t: Tensor,
    leak: Tensor,
    scan: Scan,
    mask: Tensor | None = None,
    pooled: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Run Eq. 1 and 2 over T steps.

    Args:
        current: [T, n], or [n] where `scan.timed` is False; where `pooled`, n is [rows, 2, columns, 2, channels].
        m: [n] left by an earlier window, or None at rest, as it must be where `pooled`.
        v_t, leak: scalars.
        mask: [n], a factor on the spikes of every step, or None.
        pooled: return the mean over cells of 2x2, [T, rows, columns, channels].

    Returns:
        Spikes [T, n] in the dtype of the current, and the m [n] that the last step leaves, None with mask or pooling.
    """
    places: list[Any] = [...]
    if pooled:
        places = [(..., i, slice(None), j, slice(None)) for i in (0, 1) for j in (0, 1)]
    masks = [None if mask is None else mask[place] for place in places]
    wide, rows, left = torch.promote_types(current.dtype, torch.float32), [], m
    for cell in zip(*(lif_steps(current[place], m, v_t, leak, scan) for place in places), strict=True):
        spikes = [spike.to(current.dtype) for _, _, spike, _ in cell]
        spikes = [one if factor is None else one * factor for one, factor in zip(spikes, masks, strict=True)]
        rows.append((sum(one.to(wide) for one in spikes) / 4).to(current.dtype) if pooled else spikes[0])
        left = cell[0][3]
    return torch.stack(rows), None if pooled or mask is not None else left


def scan_backward(
    current: Tensor,
    m: Tensor | None,
    v_t: Tensor,
    leak: Tensor,
    grad: Tensor,
    scan: Scan,
    surrogate: Callable[[Tensor], Tensor],
    with_parameters: bool,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Compute the gradients of current, threshold and leak from `grad` [T, n], that of the spikes times `mask` [n].

    The spike inside the reset is detached; the threshold gets a gradient through z and through the reset (which does
    not contain it where the reset is "zero").
    Without `with_parameters` (in an attack) the two sums over all neurons are not computed.
    """
    grad = grad if mask is None else grad * mask
    wide = torch.promote_types(current.dtype, torch.float32)
    steps = list(lif_steps(current, m, v_t, leak, scan))
    grad_current: list[Tensor] = []
    grad_v_t = grad_leak = torch.zeros_like(v_t)
    grad_m = None  # of what step t leaves for step t + 1
    for t in reversed(range(scan.timesteps)):
        u, z, spike, _ = steps[t]
        grad_z = grad[t].to(wide) * surrogate(z)
        grad_u = grad_z / v_t
        if with_parameters:
            grad_v_t = grad_v_t - grad_z * u / (v_t * v_t)
        if grad_m is not None:
            if scan.reset == "zero":
                grad_m = grad_m * (1 - spike)
            if with_parameters:
                within = scan.reset == "subtract"
                if scan.reset != "zero":
                    grad_v_t = grad_v_t - grad_m * (leak * spike if within else spike)
                grad_leak = grad_leak + grad_m * (u - v_t * spike if within else u)
            grad_u = grad_u + leak * grad_m
        grad_m = grad_u
        grad_current.append(grad_u)
    if with_parameters and m is None and scan.start and grad_m is not None:
        grad_v_t = grad_v_t + scan.start * grad_m  # the first membrane starts at scan.start * v_t
    if scan.timed:
        to_current = torch.stack([step.to(current.dtype) for step in reversed(grad_current)])
    else:
        to_current = functools.reduce(torch.add, grad_current).to(current.dtype)
    if not with_parameters:
        return to_current, None, None
    return to_current, grad_v_t.sum(), grad_leak.sum()
