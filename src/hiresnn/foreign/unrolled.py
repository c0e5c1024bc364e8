"""A network of another library as a pure function of images, with its surrogate replaceable and its spikes recorded.

A library calls its surrogate with x = u - threshold, so z = x / threshold and d spike / d x = rule(z) / threshold. The
spike stays that of the library, bit for bit; only the backward pass changes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hiresnn.errors import UsageError
from hiresnn.neurons.layer_rules import LayerRule
from hiresnn.neurons.rules import Rule
from hiresnn.neurons.surrogate import Surrogate


@dataclass(frozen=True, eq=False)
class Slot:
    """The surrogate of one neuron layer, which stores it in `attribute`.

    `ruled`: (neuron, its surrogate, rule) -> replacement. The neuron is an argument, so that a deep copy of a network
    replaces the surrogates of the copy.
    """

    neuron: nn.Module
    attribute: str
    ruled: Callable[[Any, Any, Surrogate], Any]

    @contextmanager
    def holding(self, rule: Surrogate) -> Iterator[None]:
        """Use `rule` inside the context; the library's surrogate is restored afterwards."""
        surrogate = getattr(self.neuron, self.attribute)
        replacement = self.ruled(self.neuron, surrogate, rule)
        if isinstance(surrogate, nn.Module):  # torch accepts only a module in the place of a child module
            function, replacement = replacement, nn.Module()
            replacement.forward = function
        with temporarily([self.neuron], **{self.attribute: replacement}):
            yield


@contextmanager
def temporarily(modules: Iterable[Any], **attributes: Any) -> Iterator[None]:
    """Set attributes of modules inside the context."""
    values = [(module, name, getattr(module, name)) for module in modules for name in attributes]
    try:
        for module, name, _ in values:
            setattr(module, name, attributes[name])
        yield
    finally:
        for module, name, value in values:
            setattr(module, name, value)


def ruled_spike(
    surrogate: Callable[[Tensor], Tensor], rule: Surrogate, threshold: Callable[[], Tensor | float]
) -> Callable[[Tensor], Tensor]:
    """Return the spike function x = u - threshold -> spike that is `surrogate` in the forward pass and `rule` backward.

    `threshold` returns the threshold at the time of a call: a number, or a tensor that broadcasts against x.
    """

    def spike(x: Tensor) -> Tensor:
        level = threshold()
        level = level.detach() if isinstance(level, Tensor) else level
        return _RuledSpike.apply(x, level, surrogate, rule)  # type: ignore[no-any-return, no-untyped-call]

    return spike


class _RuledSpike(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, threshold: Tensor | float, surrogate: Callable[[Tensor], Tensor], rule: Surrogate
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.threshold, ctx.rule = threshold, rule
        return surrogate(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        slope = ctx.rule(x / ctx.threshold) / ctx.threshold
        # The spikes of snnTorch are float32 for any membrane; the gradient has the type of the membrane.
        return (grad * slope).to(x.dtype), None, None, None


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
        spiking = {id(layer) for layer in self._spiking}
        return {name: module for name, module in self.network.named_modules() if id(module) in spiking}

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
        """Use `rule` in every neuron inside the context; logits stay the same. `hiresnn.gradient_rule` calls this."""
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


@contextmanager
def record(network: Unrolled) -> Iterator[dict[str, Tensor]]:
    """Collect the spikes of every layer of neurons: name -> [T, B, ...], of the latest forward pass.

    Spikes are detached. Each forward pass inside the context fills the dictionary, which stays valid afterwards. It
    lacks layers that the pass did not call. A neuron that may spike several times per step has whole numbers above 1.

    Raises:
        UsageError: the adapter names no layer of neurons; or, in the forward pass, a layer is called for
            another number of steps than T, or returns values that are no whole numbers.
    """
    if not network.spiking:
        raise UsageError(
            f"the adapter of this {network.library} network names no layers of neurons; give hiresnn.foreign.Unrolled "
            "spiking=[...], the modules whose outputs are spikes."
        )
    spikes: dict[str, Tensor] = {}
    calls: dict[str, list[Tensor]] = {}
    batch = 0

    def start(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal batch
        batch = len(inputs[0])
        calls.clear()
        spikes.clear()

    def save(name: str, _: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        steps = in_steps(name, picked(output, 0).detach().clone(), network.timesteps, batch, network.layout)
        calls.setdefault(name, []).append(steps)

    def finish(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        for name, parts in calls.items():
            spikes[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
            require_steps(name, len(spikes[name]), network.timesteps)
            if bool((spikes[name] != spikes[name].round()).any()):
                raise UsageError(f"layer {name!r} returns numbers that are not whole, so they are no spikes.")

    with ExitStack() as stack:
        stack.enter_context(network.register_forward_pre_hook(start))
        stack.enter_context(network.register_forward_hook(finish))
        for name, layer in network.spiking.items():
            stack.enter_context(layer.register_forward_hook(partial(save, name)))
        yield spikes


def in_steps(name: str, rows: Tensor, timesteps: int, batch: int, layout: Layout) -> Tensor:
    """View what a layer gets or returns in one call as [steps, B, ...]; steps is T, or 1 where a call is one step."""
    shape = tuple(rows.shape)
    one_step, flat = shape[:1] == (batch,), shape[:1] == (timesteps * batch,)
    sequence = shape[:2] == (timesteps, batch) and (timesteps > 1 or layout == "sequence")
    if layout == "batch first" and shape[:2] == (batch, timesteps):
        return rows.transpose(0, 1)
    if layout == "batch first" and flat:
        return rows.reshape(batch, timesteps, *shape[1:]).transpose(0, 1)
    if one_step and (layout == "steps" or not sequence):
        return rows[None]
    if sequence and (layout == "sequence" or not one_step):
        return rows
    if flat:
        return rows.reshape(timesteps, batch, *shape[1:])
    hint = "take another number of images per batch" if one_step else "keep images and timesteps in the first dimension"
    raise UsageError(
        f"layer {name!r} has rows of shape {list(shape)}, which do not tell {batch} images and {timesteps} timesteps "
        f"apart; {hint}."
    )


def require_steps(name: str, steps: int, timesteps: int) -> None:
    """Raise UsageError unless a layer was called for T timesteps."""
    if steps != timesteps:
        raise UsageError(
            f"layer {name!r} is called for {steps} timesteps, but the adapter has timesteps={timesteps}; give the "
            "network's own number there, and call every layer once per timestep."
        )
