"""A layer of LIF neurons as a module, in a window of timesteps; its scan over time is one node of autograd.

A scan follows the order of memory, and never permutes it: `flat` views rows [T * B, ...] as [T, n], `folded` goes back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hiresnn.errors import UsageError, closest
from hiresnn.neurons.compiled import kernel
from hiresnn.neurons.lif import CONDITIONS, RESETS, Condition, Reset, Scan, scan_backward, scan_forward
from hiresnn.neurons.rules import LayerRule, Linear, Rule, Ruled, layer_backward

MIN_THRESHOLD = 1e-3
"""Smallest threshold that training may reach: at 0 the normalised membrane is undefined."""


@dataclass(frozen=True)
class Neuron:
    """Options of a layer of LIF neurons (Eq. 1, 2), as in `convert(ann, images, neuron=Neuron(reset="zero"))`.

    The threshold is not one of them: the calibration sets it, layer by layer. `Neuron().changed(**options)` also takes
    the names of version 0.2, which files and recipes store: `start` for `v_init`, `condition` for `fires_at_threshold`.

    Args:
        leak: first decay factor of the membrane potential per timestep (often called beta or lambda), in [0, 1]; 1
            means no leak, an integrate-and-fire neuron.
        reset: "subtract" within the step; "subtract-unleaked", Eq. 1 as printed; or "zero", the only one that a NIR
            file can express.
        v_init: initial membrane potential as a fraction of the threshold, in [0, 1). 0.5 minimises the expected error
            of a conversion without training (Bu et al. 2022).
        fires_at_threshold: spike also where the membrane equals the threshold; Eq. 2 spikes only where it exceeds it.
        wait: sum the input current over all timesteps and inject it at the first one. The number of spikes then does
            not depend on when the spikes of the layer before arrive; each layer adds T timesteps of latency.
        surrogate: rule for d spike / d z in the backward pass, or a rule for the backward pass of the layer.
        trainable: whether threshold and leak are trained (Table 5 freezes them).

    Raises:
        UsageError: a value is out of range.
    """

    leak: float = 1.0
    reset: Reset = "subtract"
    v_init: float = 0.0
    fires_at_threshold: bool = False
    wait: bool = False
    surrogate: Rule = Linear()  # noqa: RUF009  frozen
    trainable: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.leak <= 1:
            raise UsageError(f"leak is {self.leak}; it must lie in [0, 1].")
        if self.reset not in RESETS:
            raise UsageError(f"reset is {self.reset!r}; {closest(self.reset, RESETS)}.")
        if not 0 <= self.v_init < 1:
            raise UsageError(f"v_init (start) is {self.v_init}; it is a fraction of the threshold, in [0, 1).")
        if not (callable(self.surrogate) or isinstance(self.surrogate, LayerRule)):
            raise UsageError(
                f"surrogate is {self.surrogate!r}; give a surrogate itself, such as hiresnn.neurons.Linear()."
            )

    @property
    def condition(self) -> Condition:
        """When a neuron spikes, as recipes, files and `lif_steps` write it: ">" or ">="."""
        return ">=" if self.fires_at_threshold else ">"

    def changed(self, **options: Any) -> Neuron:
        """Return a copy with some options changed, by their names here or those of version 0.2 (`start`, `condition`).

        An option that is None keeps its value.
        """
        values = {name: value for name, value in options.items() if value is not None}
        if "start" in values:
            values["v_init"] = values.pop("start")
        if (condition := values.pop("condition", None)) is not None:
            if condition not in CONDITIONS:
                raise UsageError(f"condition is {condition!r}; {closest(condition, CONDITIONS)}.")
            values["fires_at_threshold"] = condition == ">="
        return replace(self, **values)


@dataclass(eq=False)
class Window:
    """T timesteps over a batch of B images.

    A tensor inside a network either has time, as [T * rows per step, ...] with the rows of the first step first, or it
    is the same at every step. `convert` decides for every layer which of the two it gets.

    Attributes:
        timesteps: T, at least 1.
        batch: B, the number of images.
        carried: save the state of the layers for a window that follows (HIRE-SNN with state = "carry").
        fused: run compiled kernels.
        membranes: layer -> m, what its last step left in the membranes, [neurons of all rows]; empty at rest.
        masks: layer -> dropout mask, [rows per step, ...], shared by all timesteps.
        logits: sum of the readout over earlier windows, [B, classes], or None.
        updates: membranes updated so far, over neurons, images and timesteps.
    """

    timesteps: int
    batch: int
    carried: bool = False
    fused: bool = False
    membranes: dict[nn.Module, Tensor] = field(default_factory=dict)
    masks: dict[nn.Module, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None
    updates: int = 0

    def __post_init__(self) -> None:
        if self.timesteps < 1:
            raise UsageError(f"timesteps is {self.timesteps}; a window needs at least 1.")

    def with_time(self, rows: Tensor) -> Tensor:
        """Repeat rows [R, ...] that are the same at every step: [T * R, ...]."""
        return rows.repeat(self.timesteps, *(1,) * (rows.dim() - 1))

    def rows_per_step(self, rows: Tensor, timed: bool = True, name: str = "the network") -> int:
        """Return R of rows [T * R, ...], or of [R, ...] where not `timed`; R is B, or B times patches per image.

        Raises:
            UsageError: these rows cannot come from B images; the message names the layer, `name`.
        """
        steps = self.timesteps if timed else 1
        if rows.shape[0] % max(1, steps * self.batch):
            over_time = f" over {steps} timesteps" if timed else ""
            raise UsageError(
                f"{name} gets {rows.shape[0]} rows, which cannot come from {self.batch} images{over_time}; "
                "keep the batch in the first dimension from one neuron to the next."
            )
        return rows.shape[0] // steps

    def by_step(self, rows: Tensor) -> Tensor:
        """View [T * R, ...] as [T, R, ...], without a copy."""
        return rows.view(self.timesteps, self.rows_per_step(rows), *rows.shape[1:])

    def at_first_step(self, rows: Tensor) -> Tensor:
        """Return rows [T * R, ...] whose first step has the sum over all steps, and whose other steps have 0."""
        steps = self.by_step(rows)
        arriving = torch.zeros_like(rows)  # keeps the layout in memory
        arriving[: steps.shape[1]] = steps.sum(0)
        return arriving

    def following(self) -> Window:
        """Return the next window over the same batch, which goes on with the membranes and masks of this one.

        It shares them: running the next window changes the state of this one. The logits are detached.
        """
        return replace(self, carried=True, logits=None if self.logits is None else self.logits.detach())


class LIF(Ruled):
    """A layer of LIF neurons (Eq. 1, 2; see `lif_steps`).

    Args:
        threshold: firing threshold v_t, in units of the membrane; above 0.
        leak: of `Neuron`, instead of that of `neuron`; likewise every other option of it by its name.
        neuron: the options of the layer.

    Attributes:
        name: of the layer in its network, for messages; `convert` sets it.
        learned: whether the threshold was copied from a trained `QCFS`; it is then in units of the ANN's activations.
        amplitude: activation of the ANN that one spike stands for, if the calibration fixed it; else None.

    Raises:
        UsageError: a value is out of range.
    """

    threshold: nn.Parameter
    leak: nn.Parameter

    def __init__(
        self, threshold: float = 1.0, leak: float | None = None, *, neuron: Neuron | None = None, **options: Any
    ) -> None:
        super().__init__()
        if not threshold > 0:
            raise UsageError(f"threshold is {threshold}; it must be above 0.")
        neuron = (neuron or Neuron()).changed(leak=leak, **options)
        self.threshold = nn.Parameter(torch.tensor(float(threshold)), requires_grad=neuron.trainable)
        self.leak = nn.Parameter(torch.tensor(float(neuron.leak)), requires_grad=neuron.trainable)
        self.reset, self.v_init = neuron.reset, float(neuron.v_init)
        self.fires_at_threshold, self.wait = neuron.fires_at_threshold, neuron.wait
        self.surrogate = neuron.surrogate
        self.name, self.learned = "LIF", False
        self.amplitude: float | None = None

    @property
    def neuron(self) -> Neuron:
        """The options of the layer as they are now; its leak is a parameter, so that of the options is 1."""
        return Neuron(
            reset=self.reset,
            v_init=self.v_init,
            fires_at_threshold=self.fires_at_threshold,
            wait=self.wait,
            surrogate=self.surrogate,
            trainable=self.leak.requires_grad,
        )

    def forward(
        self, current: Float[Tensor, "rows ..."], window: Window, timed: bool = True
    ) -> Float[Tensor, "spikes ..."]:
        """Return spikes [T * rows per step, ...], 0 or 1 in the dtype of the current.

        Args:
            current: [T * rows per step, ...], all rows of the first step first.
            timed: False where `current` has the rows of one step only, because it is the same at every step.

        Raises:
            UsageError: the rows cannot come from the images of the window.
        """
        current, scan = self.arriving(current, window, timed)
        m = window.membranes.get(self)
        spikes, left = lif_scan(current, m, self.threshold, self.leak, scan, self.surrogate, window.fused)
        window.updates += spikes.numel()
        if window.carried:
            window.membranes[self] = left
        return spikes

    def arriving(self, current: Tensor, window: Window, timed: bool) -> tuple[Tensor, Scan]:
        """Return `current` as it arrives, all of it at the first step where the layer waits, and how it is scanned."""
        window.rows_per_step(current, timed, self.name)
        scan = Scan(window.timesteps, timed, self.reset, self.v_init, ">=" if self.fires_at_threshold else ">")
        return (window.at_first_step(current) if self.wait and timed else current), scan

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamp leak to [0, 1] and threshold to a small positive minimum, after an update."""
        self.leak.clamp_(0, 1)
        self.threshold.clamp_(min=MIN_THRESHOLD)

    def extra_repr(self) -> str:
        values = f"threshold={self.threshold.item():.4g}, leak={self.leak.item():.4g}, reset={self.reset!r}"
        v_init = f", v_init={self.v_init:g}" if self.v_init else ""
        options = [name for name in ("fires_at_threshold", "wait") if getattr(self, name)]
        return values + v_init + "".join(f", {name}=True" for name in options)


class _LIFScan(torch.autograd.Function):
    """The scan, with a mask and 2x2 pooling behind it, as one node of autograd: the surrogate rule is a value."""

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        m: Tensor | None,
        threshold: Tensor,
        leak: Tensor,
        scan: Scan,
        surrogate: Rule,
        fused: bool,
        mask: Tensor | None = None,
        pooled: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        layout, shape = layout_of(current), current.shape
        step = (-1, 2, shape[3] // 2, 2, shape[1]) if pooled else (-1,)
        flat_current = flat(current, layout, (scan.timesteps, *step) if scan.timed else step)
        mask = None if mask is None else flat(mask, layout, step)
        options = (mask, pooled) if pooled or mask is not None else ()
        output, left = kernel(scan_forward, fused)(flat_current, m, threshold, leak, scan, *options)
        ctx.save_for_backward(flat_current, m, threshold, leak, mask)
        ctx.scan, ctx.surrogate, ctx.fused = scan, surrogate, fused
        ctx.pooled, ctx.layout, ctx.shape = pooled, layout, shape
        ctx.set_materialize_grads(False)
        if left is not None:
            ctx.mark_non_differentiable(left)
        rows = shape[0] if scan.timed else scan.timesteps * shape[0]
        sizes = [size // 2 for size in shape[2:]] if pooled else shape[2:]
        return folded(output, layout, torch.Size((rows, *shape[1:2], *sizes))), left

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 9
        current, m, threshold, leak, mask = ctx.saved_tensors
        if isinstance(ctx.surrogate, LayerRule):
            return _by_layer_rule(ctx, current, m, threshold, leak, grad), *(None,) * 8
        if ctx.pooled:
            # A pass of its own: the compiler makes one loop only of tensors that are all laid out alike.
            grad = spread(grad.contiguous(memory_format=ctx.layout))
        shape = (ctx.scan.timesteps, -1)
        with_parameters = ctx.needs_input_grad[2] or ctx.needs_input_grad[3]
        current = current.reshape(shape if ctx.scan.timed else -1)
        grad = flat(grad, ctx.layout, shape)
        options = () if mask is None else (mask.flatten(),)
        to_current, *to_parameters = kernel(scan_backward, ctx.fused)(
            current, m, threshold, leak, grad, ctx.scan, ctx.surrogate, with_parameters, *options
        )
        return folded(to_current, ctx.layout, ctx.shape), None, *to_parameters, *(None,) * 5


def _by_layer_rule(
    ctx: Any, current: Tensor, m: Tensor | None, threshold: Tensor, leak: Tensor, grad: Tensor
) -> Tensor:
    """Gradient of the current by a rule that gets the layer as [T, B, ...]; summed over T where it is not timed."""
    scan, wide = ctx.scan, torch.promote_types(current.dtype, torch.float32)
    shape = (scan.timesteps, grad.shape[0] // scan.timesteps, *grad.shape[1:])
    rows = folded(current, ctx.layout, ctx.shape).to(wide)
    rows = rows.reshape(shape) if scan.timed else rows.expand(shape)
    if m is not None:
        m = folded(m, ctx.layout, torch.Size(shape[1:]))
    elif scan.start:
        m = (scan.start * threshold).expand(shape[1:])
    to_current: Tensor = kernel(layer_backward, ctx.fused, whole=False)(  # a user's rule may not compile in one piece
        ctx.surrogate, rows, threshold, leak, m, grad.reshape(shape).to(wide), scan.reset, scan.condition
    )
    return (to_current.flatten(0, 1) if scan.timed else to_current.sum(0)).to(current.dtype)


lif_scan = cast("Callable[..., tuple[Tensor, Tensor]]", _LIFScan.apply)


def layout_of(rows: Tensor) -> torch.memory_format:
    """Channels-last where `rows` [T*B, C, H, W] is laid out so; contiguous otherwise."""
    if rows.dim() == 4 and rows.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def flat(rows: Tensor, layout: torch.memory_format, shape: tuple[int, ...]) -> Tensor:
    """`rows` as `shape`, such as [T, n] or [n], in memory order; without a copy where the layout is as expected."""
    rows = rows.contiguous(memory_format=layout)
    return (rows.permute(0, 2, 3, 1) if layout is torch.channels_last else rows).reshape(shape)


def folded(values: Tensor, layout: torch.memory_format, shape: torch.Size) -> Tensor:
    """Inverse of `flat`: back to `shape` in the same layout."""
    if layout is torch.channels_last:
        batch, channels, height, width = shape
        return values.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
    return values.reshape(shape)


def _quarters(grad: Tensor) -> Tensor:
    """[rows, columns, channels] -> [rows, 2, columns, 2, channels]: a quarter to each of the four."""
    rows, columns, channels = grad.shape
    return (grad / 4)[:, None, :, None, :].expand(rows, 2, columns, 2, channels).contiguous()


def spread(grad: Tensor) -> Tensor:
    """Gradient of the rows [N, C, 2h, 2w] from that of their means [N, C, h, w], channels-last."""
    count, channels, height, width = grad.shape
    pixels: Tensor = kernel(_quarters, True)(grad.permute(0, 2, 3, 1).reshape(count * height, width, channels))
    return pixels.view(count, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)
