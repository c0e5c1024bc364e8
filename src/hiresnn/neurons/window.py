"""A window of timesteps: what one presentation of a batch to a network carries through its layers.

State is a value here: it is born with the window and dies with it, or is handed over by `following`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from hiresnn.errors import UsageError


@dataclass(eq=False)
class Window:
    """T timesteps over a batch of B images.

    Attributes:
        timesteps: T, at least 1.
        batch: B, images shown.
        carried: keep the state of the neurons for a window that follows (HIRE-SNN with state = "carry").
        residues: layer -> what its membranes left behind, [B * neurons]; empty at rest.
        masks: layer -> dropout mask, [B, ...], shared by all timesteps.
        logits: sum of the readout over earlier windows, [B, classes], or None.
    """

    timesteps: int
    batch: int
    carried: bool = False
    residues: dict[nn.Module, Tensor] = field(default_factory=dict)
    masks: dict[nn.Module, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None

    def __post_init__(self) -> None:
        if self.timesteps < 1:
            raise UsageError(f"timesteps is {self.timesteps}; a window needs at least 1.")

    def is_timed(self, rows: Tensor) -> bool:
        """True where `rows` is [T*B, ...], False where it is [B, ...] and holds at every step."""
        return rows.shape[0] == self.timesteps * self.batch

    def with_time(self, rows: Tensor) -> Tensor:
        """[T*B, ...]: repeats rows that have no time yet."""
        if self.is_timed(rows):
            return rows
        return rows.repeat(self.timesteps, *(1,) * (rows.dim() - 1))

    def by_step(self, rows: Tensor) -> Tensor:
        """[T*B, ...] as [T, B, ...] (one step where `rows` has no time), without a copy."""
        return rows.view(self.timesteps if self.is_timed(rows) else 1, self.batch, *rows.shape[1:])

    def following(self) -> Window:
        """The next window over the same batch: membranes, masks and logits go on, detached."""
        logits = None if self.logits is None else self.logits.detach()
        return Window(self.timesteps, self.batch, True, self.residues, self.masks, logits)
