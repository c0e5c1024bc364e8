"""A network that stores its membranes and is called once per step or sequence, as a pure function of images."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.foreign.slot import Slot
from hiresnn.neurons.layer_rules import LayerRule
from hiresnn.neurons.rules import Rule

Readout = Literal["mean", "sum"]
Layout = Literal["steps", "sequence", "batch first", "any"]
"""How a layer gets its timesteps: [B, ...] per call, [T, B, ...], [B, T, ...], or as the shape tells. The first two
dimensions of the last three may be one, [T*B, ...] or [B*T, ...]."""
Show = Callable[[nn.Module, Tensor, int], Tensor]
"""(network, steps [T, B, ...], which output of a tuple) -> outputs [T, B, K], or [1, B, K] if the network reads out."""


def picked(result: Any, output: int) -> Tensor:
    """Return the output of a network, or element `output` of a tuple such as (spikes, membrane)."""
    chosen = result[output] if isinstance(result, (tuple, list)) else result
    if not isinstance(chosen, Tensor):
        raise UsageError(f"the network returned {type(chosen).__name__}, not a tensor; choose another output=.")
    return chosen


def each_step(network: nn.Module, steps: Tensor, output: int) -> Tensor:
    """Call the network once per step: [B, ...] -> [B, K]. It gets copies, as it may write into its input."""
    return torch.stack([picked(network(step.clone()), output) for step in steps])


def whole_sequence(network: nn.Module, steps: Tensor, output: int) -> Tensor:
    """Call the network once for all steps: [T, B, ...] -> [T, B, K]."""
    return picked(network(steps), output)


def once(network: nn.Module, steps: Tensor, output: int) -> Tensor:
    """Call the network once with the images, which it repeats by itself: [B, ...] -> [T, B, K], or [B, K] read out."""
    outputs = picked(network(steps[0].clone()), output)
    return outputs[None] if outputs.dim() == 2 else outputs


class Unrolled(nn.Module):
    """Images in [0, 1] -> logits: resets the network, presents the images for T steps, reads out, and resets again.

    Args:
        network: a network of another library; any normalisation belongs inside it, as it gets images in [0, 1].
        timesteps: T, at least 1.
        library: name of its library, for reports and messages.
        show: how the network takes its steps; None takes `once` with own_loop and else `each_step`.
        reset: puts every neuron of the network to rest; None for a network whose state is passed explicitly.
        slots: the surrogate of each neuron layer in which a gradient rule can be used.
        spiking: the layers of neurons, whose spikes `hiresnn.foreign.record` collects; None takes those of `slots`.
        layout: how the layers inside get their timesteps, see `Layout`.
        own_loop: the network repeats its images by itself and may read out by itself.
        encode: images [B, C, H, W] -> [T, B, ...]; None presents the image itself at every step (direct coding).
        readout: "mean" or "sum" of the outputs over time.
        output: which element, if the network returns a tuple such as (spikes, membrane).

    Raises:
        UsageError: T below 1, an unknown readout, or `encode` for a network that repeats its images by itself.
    """

    def __init__(
        self,
        network: nn.Module,
        timesteps: int,
        *,
        library: str,
        show: Show | None = None,
        reset: Callable[[nn.Module], Any] | None = None,
        slots: Sequence[Slot] = (),
        spiking: Sequence[nn.Module] | None = None,
        layout: Layout = "any",
        own_loop: bool = False,
        encode: Callable[[Tensor], Tensor] | None = None,
        readout: Readout = "mean",
        output: int = 0,
    ) -> None:
        super().__init__()
        if timesteps < 1:
            raise UsageError(f"timesteps is {timesteps}; a spiking network needs at least 1.")
        if readout not in ("mean", "sum"):
            raise UsageError(f"readout is {readout!r}; choose one of mean, sum.")
        if encode is not None and own_loop:
            raise UsageError("encode has no effect on a network with a loop of its own; encode inside the network.")
        self.network, self.timesteps, self.library = network, timesteps, library
        self.readout, self.output, self.own_loop = readout, output, own_loop
        self._show = show or (once if own_loop else each_step)
        self._reset, self._slots, self._encode = reset or (lambda network: None), tuple(slots), encode
        self._spiking = tuple(slot.neuron for slot in slots) if spiking is None else tuple(spiking)
        self.layout: Layout = "steps" if self._show is each_step else layout

    @property
    def encodes(self) -> bool:
        """Whether images become other tensors from step to step before the network sees them."""
        return self._encode is not None

    @property
    def spiking(self) -> dict[str, nn.Module]:
        """Name in the network -> layer of neurons, in the order of the network's modules."""
        wanted = {id(layer) for layer in self._spiking}
        return {name: module for name, module in self.network.named_modules() if id(module) in wanted}

    @property
    def neurons(self) -> int:
        """Number of layers of spiking neurons in which a gradient rule can be used."""
        return len(self._slots)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch classes"]:
        """Return logits [B, K], float32 or float64. Raises UsageError if encode or the network has a wrong shape."""
        steps = images.expand(self.timesteps, *images.shape) if self._encode is None else self._encode(images)
        if steps.shape[:2] != (self.timesteps, len(images)):
            expected = f"[{self.timesteps} steps, {len(images)} images, ...]"
            raise UsageError(f"encode returned the shape {list(steps.shape)}; it should be {expected}.")
        self._reset(self.network)
        try:
            outputs = self._show(self.network, steps, self.output)
        finally:
            self._reset(self.network)
        lengths = (self.timesteps, 1) if self.own_loop else (self.timesteps,)
        if outputs.dim() != 3 or outputs.shape[0] not in lengths or outputs.shape[1] != len(images):
            name, expected = type(self.network).__name__, f"[{self.timesteps} steps, {len(images)} images, classes]"
            raise UsageError(f"{name} returned outputs of shape {list(outputs.shape)}; it should be {expected}.")
        total = outputs.sum(0, dtype=torch.promote_types(outputs.dtype, torch.float32))
        return total / len(outputs) if self.readout == "mean" else total

    @contextmanager
    def gradient_rule(self, rule: Rule) -> Iterator[None]:
        """Use `rule` in every neuron inside the context; logits stay the same. `hiresnn.gradient_rule` calls this.

        Raises:
            UsageError: no neuron can use a rule, or `rule` is a rule of a whole layer.
        """
        if not self._slots:
            raise UsageError(f"a {self.library} network cannot use a rule; build it with another surrogate instead.")
        if isinstance(rule, LayerRule):
            raise UsageError(
                f"{type(rule).__name__} replaces the backward pass of a whole layer, not possible in a {self.library} "
                "neuron; choose an elementwise rule such as linear or arctan, or a function z -> d spike / d z."
            )
        with ExitStack() as stack:
            for slot in self._slots:
                stack.enter_context(slot.holding(rule))
            yield

    def extra_repr(self) -> str:
        """Return the values that print(network) shows."""
        return f"library={self.library!r}, timesteps={self.timesteps}, readout={self.readout!r}"
