r"""Leaky integrate-and-fire neurons (Eq. 1, 2) with one threshold and one leak a layer.

    u[t] = leak * m[t-1] + I[t],   z = u / threshold - 1,   spike = 1 if z > 0 else 0,
    m[t] = u[t] - threshold * spike,   m[-1] = 0.

leak = 1 is IF, leak < 1 is LIF. This is the only module that knows of time: it unfolds [T*B, ...] to
[T, B, ...], scans, and folds again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hiresnn.errors import UsageError
from hiresnn.neurons.layout import flat, folded, layout_of
from hiresnn.neurons.rules.layer import LayerRule, layer_backward
from hiresnn.neurons.scan import RESETS, Reset, Scan, kernels
from hiresnn.neurons.surrogate import Linear, Surrogate
from hiresnn.neurons.window import Window

MIN_THRESHOLD = 1e-3
"""Smallest threshold that training may reach: at 0 the normalised membrane has no value."""


class LIF(nn.Module):
    """A layer of LIF neurons.

    Args:
        threshold: firing threshold v_t, in units of the membrane; above 0.
        leak: what a membrane keeps from one step to the next, in [0, 1]; 1 is integrate-and-fire.
        reset: "subtract" within the step, or "subtract-unleaked", Eq. 1 as printed.
        surrogate: rule for d spike / d z in the backward pass, or for the backward pass of the layer.
        trainable: whether threshold and leak are trained (Table 5 freezes them).

    Raises:
        UsageError: a value out of its range.
    """

    threshold: nn.Parameter
    leak: nn.Parameter

    def __init__(
        self,
        threshold: float = 1.0,
        leak: float = 1.0,
        *,
        reset: Reset = "subtract",
        surrogate: Surrogate | LayerRule | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__()
        if not threshold > 0:
            raise UsageError(f"LIF: threshold is {threshold}; it must be above 0.")
        if not 0 <= leak <= 1:
            raise UsageError(f"LIF: leak is {leak}; it must lie in [0, 1].")
        if reset not in RESETS:
            raise UsageError(f"LIF: reset is {reset!r}; choose one of {', '.join(RESETS)}.")
        self.threshold = nn.Parameter(torch.tensor(float(threshold)), requires_grad=trainable)
        self.leak = nn.Parameter(torch.tensor(float(leak)), requires_grad=trainable)
        self.reset: Reset = reset
        self.surrogate: Surrogate | LayerRule = surrogate or Linear()
        self.fused = False

    def forward(self, current: Float[Tensor, "rows ..."], window: Window) -> Float[Tensor, "spikes ..."]:
        """Spikes [T*B, ...], 0 or 1 in the dtype of the current.

        `current` is [T*B, ...], or [B, ...] where the same current holds at every step.
        """
        scan = Scan(window.timesteps, window.is_timed(current), self.reset)
        spikes, residue = _scan(
            current, self.threshold, self.leak, window.residues.get(self), scan, self.surrogate, self.fused
        )
        if window.carried:
            window.residues[self] = residue
        return spikes

    @torch.no_grad()
    def clamp_(self) -> None:
        """Put leak back into [0, 1] and threshold above a small positive minimum, after an update."""
        self.leak.clamp_(0, 1)
        self.threshold.clamp_(min=MIN_THRESHOLD)

    def extra_repr(self) -> str:
        """Values shown when a network is printed."""
        return f"threshold={self.threshold.item():.4g}, leak={self.leak.item():.4g}, reset={self.reset!r}"


class _LIFScan(torch.autograd.Function):
    """The scan as one node of autograd, so that the surrogate rule is a value and not a graph."""

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        threshold: Tensor,
        leak: Tensor,
        residue: Tensor | None,
        scan: Scan,
        surrogate: Surrogate | LayerRule,
        fused: bool,
    ) -> tuple[Tensor, Tensor]:
        layout = layout_of(current)
        seen = flat(current, layout, (scan.timesteps, -1) if scan.timed else (-1,))
        spikes, left = kernels(fused).forward(seen, threshold, leak, residue, scan)
        ctx.save_for_backward(seen, threshold, leak, residue)
        ctx.scan, ctx.surrogate, ctx.fused, ctx.layout, ctx.shape = (
            scan,
            surrogate,
            fused,
            layout,
            current.shape,
        )
        ctx.mark_non_differentiable(left)
        ctx.set_materialize_grads(False)
        rows = current.shape[0] if scan.timed else scan.timesteps * current.shape[0]
        return folded(spikes, layout, torch.Size((rows, *current.shape[1:]))), left

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 7
        seen, threshold, leak, residue = ctx.saved_tensors
        if isinstance(ctx.surrogate, LayerRule):
            to_current = _by_layer_rule(ctx, seen, threshold, leak, residue, grad)
            return to_current, None, None, None, None, None, None
        with_parameters = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        to_current, to_threshold, to_leak = kernels(ctx.fused).backward(
            seen, threshold, leak, residue, flat(grad, ctx.layout, (ctx.scan.timesteps, -1)), ctx.scan,
            ctx.surrogate, with_parameters,
        )  # fmt: skip
        return folded(to_current, ctx.layout, ctx.shape), to_threshold, to_leak, None, None, None, None


def _by_layer_rule(
    ctx: Any, seen: Tensor, threshold: Tensor, leak: Tensor, residue: Tensor | None, grad: Tensor
) -> Tensor:
    """Gradient of the current by a rule that sees the layer as [T, B, ...]; summed over T where it has no time."""
    scan, wide = ctx.scan, torch.promote_types(seen.dtype, torch.float32)
    shape = (scan.timesteps, grad.shape[0] // scan.timesteps, *grad.shape[1:])
    grad = grad.reshape(shape).to(wide)
    current = folded(seen, ctx.layout, ctx.shape).to(wide)
    current = current.reshape(shape) if scan.timed else current.expand(shape)
    if residue is not None:
        residue = folded(residue, ctx.layout, torch.Size(shape[1:]))
    to_current: Tensor = layer_backward(ctx.fused)(ctx.surrogate, current, threshold, leak, residue, grad, scan.reset)
    return (to_current.flatten(0, 1) if scan.timed else to_current.sum(0)).to(seen.dtype)


_scan = cast("Callable[..., tuple[Tensor, Tensor]]", _LIFScan.apply)
