"""A network that steps through time by itself, as a pure function of images.

Other libraries keep membranes inside their modules and take one step, or one sequence of steps, a call. `Unrolled`
resets, shows the images for T steps, reads the output out, and resets again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.foreign.slot import Slot, elementwise
from hiresnn.neurons.rules import Rule

Readout = Literal["mean", "sum"]
READOUTS: tuple[Readout, ...] = ("mean", "sum")

Show = Callable[[nn.Module, Tensor, int], Tensor]
"""(network, steps [T, B, ...], which output of a tuple) -> outputs [T, B, K], or [1, B, K] already read out."""


def picked(result: Any, output: int) -> Tensor:
    """The output of a network that returns one, or element `output` of a tuple such as (spikes, membrane)."""
    chosen = result[output] if isinstance(result, (tuple, list)) else result
    if not isinstance(chosen, Tensor):
        raise UsageError(f"the network returned {type(chosen).__name__}, not a tensor: choose another output=.")
    return chosen


def each_step(network: nn.Module, steps: Tensor, output: int) -> Tensor:
    """One call a step: [B, ...] -> [B, K]."""
    return torch.stack([picked(network(step), output) for step in steps])


def whole_sequence(network: nn.Module, steps: Tensor, output: int) -> Tensor:
    """One call for all steps: [T, B, ...] -> [T, B, K]."""
    return picked(network(steps), output)


def once(network: nn.Module, steps: Tensor, output: int) -> Tensor:
    """One call with the images, which the network repeats by itself: [B, ...] -> [T, B, K], or [B, K] read out."""
    outputs = picked(network(steps[0]), output)
    return outputs[None] if outputs.dim() == 2 else outputs


def at_rest(network: nn.Module) -> None:
    """Reset nothing: the state of the network is passed explicitly."""


class Unrolled(nn.Module):
    """Images in [0, 1] -> logits: a foreign network shown its images for T steps. No state outlives a call.

    Args:
        network: the foreign network; normalise inside it, as it gets images in [0, 1].
        timesteps: T, at least 1.
        library: what it was made with, for reports and messages.
        show: how the network takes its steps.
        reset: puts every neuron of the network to rest; called before and after the steps.
        slots: the surrogate of each neuron layer that can be swapped.
        own_loop: the network repeats its images by itself (`show` is `once`), and may read out by itself.
        encode: images [B, C, H, W] -> [T, B, ...]; None shows the image itself at every step (direct coding).
        readout: "mean" or "sum" of the outputs over time.
        output: which element, where the network returns a tuple such as (spikes, membrane).

    Attributes:
        timesteps, library: as above.
        neurons: layers of spiking neurons whose rule can be swapped.

    Raises:
        UsageError: T below 1, an unknown readout, or `encode` for a network that repeats its images by itself.
    """

    def __init__(
        self,
        network: nn.Module,
        timesteps: int,
        *,
        library: str,
        show: Show = each_step,
        reset: Callable[[nn.Module], None] = at_rest,
        slots: Sequence[Slot] = (),
        own_loop: bool = False,
        encode: Callable[[Tensor], Tensor] | None = None,
        readout: Readout = "mean",
        output: int = 0,
    ) -> None:
        super().__init__()
        if timesteps < 1:
            raise UsageError(f"timesteps is {timesteps}; a spiking network needs at least 1.")
        if readout not in READOUTS:
            raise UsageError(f"readout is {readout!r}; choose one of {', '.join(READOUTS)}.")
        if encode is not None and own_loop:
            raise UsageError("encode has no effect on a network with a loop of its own: encode inside the network.")
        self.network = network
        self.timesteps = timesteps
        self.library = library
        self.readout = readout
        self.output = output
        self.own_loop = own_loop
        self._show, self._reset, self._slots, self._encode = show, reset, tuple(slots), encode

    @property
    def neurons(self) -> int:
        """Layers of spiking neurons whose rule can be swapped."""
        return len(self._slots)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch classes"]:
        """Logits [B, K], float32 at least.

        Raises:
            UsageError: `encode` or the network returned another shape than they should.
        """
        steps = self._steps(images)
        self._reset(self.network)
        try:
            outputs = self._show(self.network, steps, self.output)
        finally:
            self._reset(self.network)
        lasts = (self.timesteps, 1) if self.own_loop else (self.timesteps,)
        if outputs.dim() != 3 or outputs.shape[0] not in lasts or outputs.shape[1] != len(images):
            raise UsageError(
                f"{type(self.network).__name__} gave outputs of shape {tuple(outputs.shape)} over time; "
                f"they should be [{self.timesteps} steps, {len(images)} images, classes]."
            )
        total = outputs.sum(0, dtype=torch.promote_types(outputs.dtype, torch.float32))
        return total / len(outputs) if self.readout == "mean" else total

    def _steps(self, images: Tensor) -> Tensor:
        """What is shown at each step, [T, B, ...]."""
        if self._encode is None:
            return images.expand(self.timesteps, *images.shape)
        steps = self._encode(images)
        if steps.shape[:2] != (self.timesteps, len(images)):
            raise UsageError(
                f"encode returned shape {tuple(steps.shape)}; it should begin with "
                f"{self.timesteps} steps and {len(images)} images."
            )
        return steps

    @contextmanager
    def gradient_rule(self, rule: Rule) -> Iterator[None]:
        """Use `rule` in every neuron for a while; logits stay the same. `hiresnn.gradient_rule` comes here.

        Raises:
            UsageError: no neuron whose rule can be swapped, or a rule of a whole layer.
        """
        if not self._slots:
            raise UsageError(
                f"a {self.library} network keeps its own surrogate: leave out rule=, or build it with another one."
            )
        surrogate = elementwise(rule, self.library)
        with ExitStack() as stack:
            for slot in self._slots:
                stack.enter_context(slot.holding(surrogate))
            yield

    def extra_repr(self) -> str:
        """Values shown when a network is printed."""
        return f"library={self.library!r}, timesteps={self.timesteps}, readout={self.readout!r}"
