"""A time window: timesteps over a batch, with the state of the layers, which ends with it or is handed on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError


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
