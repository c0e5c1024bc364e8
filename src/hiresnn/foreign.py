"""Networks of other spiking libraries as models, images in [0, 1] -> logits, for evaluation, attacks and audit.

Event grids [B, T, P, H, W] are shown bin by bin; a network with a loop of its own gets them whole.

`Unrolled` makes a network a pure function of images, with its surrogate replaceable and its spikes recorded. A library
calls its surrogate with x = u - threshold, so z = x / threshold and d spike / d x = rule(z) / threshold. The spike is
that of the library, bit for bit; only the backward pass changes.

Every adapter takes the network, timesteps (T, at least 1), and the options `encode`, `readout` and `output` of
`Unrolled`. No library is imported: a neuron is recognised by the attributes that its library gives it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hiresnn.errors import UsageError
from hiresnn.neurons.rules import LayerRule, Rule, Surrogate

__all__ = [
    "Readout",
    "Slot",
    "Unrolled",
    "each_step",
    "norse",
    "once",
    "record",
    "require_adapter",
    "ruled_spike",
    "sinabs",
    "snntorch",
    "spikingjelly",
    "whole_sequence",
]


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
        self._unseen = True  # until the first call, see `_presented`
        self.encodes = encode is not None  # images become other tensors from step to step
        self.neurons = len(self._slots)  # layers in which a gradient rule can be used

    @property
    def spiking(self) -> dict[str, nn.Module]:
        """Name in the network -> layer of neurons, in the order of the network's modules."""
        spiking = {id(layer) for layer in self._spiking}
        return {name: module for name, module in self.network.named_modules() if id(module) in spiking}

    def forward(self, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        """Return logits [B, K], float32 or float64, of images [B, C, H, W] or event grids [B, T, P, H, W].

        Raises UsageError if encode or the network has a wrong shape, or event grids another number of bins than T.
        """
        events = images.dim() == 5 and self._encode is None
        if events and images.shape[1] != self.timesteps:
            bins = f"event grids of {images.shape[1]} bins for {self.timesteps} timesteps"
            raise UsageError(f"the network gets {bins}; give as many, or merge bins with hiresnn.data.rebin.")
        if self._encode is not None:
            steps = self._encode(images)
        elif events and not self.own_loop:
            steps = images.transpose(0, 1).contiguous()  # each timestep sees its bin
        else:
            steps = images.expand(self.timesteps, *images.shape)
        if steps.shape[:2] != (self.timesteps, len(images)):
            expected = f"[{self.timesteps} steps, {len(images)} images, ...]"
            raise UsageError(f"encode returned the shape {list(steps.shape)}; it should be {expected}.")
        outputs = self._presented(steps)
        lengths = (self.timesteps, 1) if self.own_loop else (self.timesteps,)
        if outputs.dim() != 3 or outputs.shape[0] not in lengths or outputs.shape[1] != len(images):
            self._require_no_loop(self._takes_images(steps))
            name, expected = type(self.network).__name__, f"[{self.timesteps} steps, {len(images)} images, classes]"
            raise UsageError(f"{name} returned outputs of shape {list(outputs.shape)}; it should be {expected}.")
        total = outputs.sum(0, dtype=torch.promote_types(outputs.dtype, torch.float32))
        return total / len(outputs) if self.readout == "mean" else total

    def _presented(self, steps: Tensor) -> Tensor:
        """Outputs on the steps, from rest. In the first call it is noticed if the network loops over them by itself."""
        calls: Counter[nn.Module] = Counter()
        count, self._unseen = self._unseen and not self.own_loop and self.timesteps > 2, False
        with ExitStack() as stack:
            stack.callback(self._reset, self.network)
            for layer in self._spiking if count else ():
                stack.enter_context(layer.register_forward_hook(lambda layer, _, __: calls.update([layer])))
            self._reset(self.network)
            try:
                outputs = self._show(self.network, steps, self.output)
            except (RuntimeError, ValueError, TypeError, LookupError):
                self._require_no_loop(self._takes_images(steps))
                raise
        # T calls per step for every layer; two could be a layer that is used twice.
        self._require_no_loop(set(calls.values()) == {self.timesteps**2})
        return outputs

    def _takes_images(self, steps: Tensor) -> bool:
        """Whether the network, which fails on the steps, takes the images in one call and returns outputs over time."""
        with ExitStack() as stack, suppress(Exception):
            stack.callback(self._reset, self.network)
            self._reset(self.network)
            outputs = once(self.network, steps, self.output)
            return outputs.dim() == 3 and len(outputs) in (1, self.timesteps) and outputs.shape[1] == steps.shape[1]
        return False

    def _require_no_loop(self, loops: bool) -> None:
        if loops and not self.own_loop and self._encode is None:
            self._unseen, name = True, type(self.network).__name__
            problem = f"the forward of {name} loops over time by itself, and its adapter would do so once more"
            raise UsageError(f"{problem}; give the adapter own_loop=True.")

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
    raise UsageError(
        f"layer {name!r} has rows of shape {list(shape)}, which do not tell {batch} images and {timesteps} timesteps "
        "apart; keep both in the first dimensions, or take another number of images per batch."
    )


def require_steps(name: str, steps: int, timesteps: int) -> None:
    """Raise UsageError unless a layer was called for T timesteps."""
    if steps != timesteps:
        raise UsageError(
            f"layer {name!r} is called for {steps} timesteps, but the adapter has timesteps={timesteps}; give the "
            "network's own number there, and call every layer once per timestep."
        )


RESETS = {"spikingjelly": "reset", "snntorch": "reset_mem", "sinabs": "reset_states"}
"""Library -> the method that resets its stateful modules. Its other modules have no state."""
UNSUPPORTED = frozenset({"bindsnet", "braincog", "brian2", "lava", "nengo_dl", "rockpool"})
"""Libraries without an adapter, all modules of which are refused."""
BLIND_IN_EVAL = frozenset({"IFNode", "LIFNode", "ComplementaryLIFNode"})
"""Classes of SpikingJelly that have no gradient in eval mode and compute the same neuron in training mode."""
OTHERWISE_IN_TRAINING = frozenset({"OTTTLIFNode", "SLTTLIFNode"})
"""Their subclasses that compute another neuron in training mode."""


def require_adapter(model: Any) -> None:
    """Raise UsageError for a model with stateful modules of another library outside an adapter, with the line to write.

    Its answers would depend on earlier calls. A module with a method `gradient_rule`, as every adapter has, is trusted
    with all that it contains. A function cannot be inspected.
    """
    model = getattr(model, "__self__", model)
    for name, module, library in _foreign_modules(model, "") if isinstance(model, nn.Module) else ():
        fix = f"hiresnn.foreign.{library}(network, timesteps=...)"
        if library in UNSUPPORTED:
            fix = (
                f"hiresnn.foreign.Unrolled(network, timesteps=..., library={library!r}, own_loop=True, reset=...), as "
                "this library has no adapter; reset is a function that puts the network to rest"
            )
        elif library in ("spikingjelly", "snntorch"):
            fix += " (add own_loop=True if forward itself loops over time)"
        problem = "returns its state" if library == "norse" else "keeps its state, so answers depend on earlier images"
        raise UsageError(
            f"the network contains {type(module).__module__}.{type(module).__qualname__} (layer {name!r}), which "
            f"{problem}; wrap the network: {fix}."
        )


def _foreign_modules(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module, str]]:
    if callable(getattr(module, "gradient_rule", None)):
        return
    for library in sorted({base.__module__.partition(".")[0] for base in type(module).__mro__}):
        # norse passes its state explicitly, so only a network that is itself of norse returns it to the caller.
        stateful = callable(getattr(module, RESETS.get(library, ""), None)) or (library == "norse" and not name)
        if stateful or library in UNSUPPORTED:
            yield name, module, library
    for child_name, child in module.named_children():
        yield from _foreign_modules(child, f"{name}.{child_name}".strip("."))


def spikingjelly(network: nn.Module, timesteps: int, *, own_loop: bool = False, **options: Any) -> Unrolled:
    """Adapt a SpikingJelly network: neurons with `surrogate_function`, in step mode s (a step per call) or m.

    In eval mode the IFNode and LIFNode of 0.0.0.0.14, and the ComplementaryLIFNode of 2, spike by a plain comparison
    without a gradient, and every attack uses eval mode. Their training branch computes the same neuron with its
    surrogate, so these neurons, and nothing else, run in training mode. The reset stays the library's: with
    `detach_reset=False` a gradient rule also acts through it.

    Raises:
        UsageError: no SpikingJelly neuron, neurons in both step modes, or a neuron on a CUDA kernel of its own.
    """
    neurons = _neurons(network, "SpikingJelly", "surrogate_function")
    for name, neuron in neurons.items():
        if getattr(neuron, "backend", "torch") != "torch":
            fix = "call functional.set_backend(network, 'torch')"
            raise UsageError(f"neuron {name!r} has a fixed surrogate in its backend {neuron.backend!r}; {fix}.")
    modes = {_step_mode(neuron) for neuron in neurons.values()}
    if len(modes) > 1 and not own_loop:
        fix = "call functional.set_step_mode(network, 's' or 'm')"
        raise UsageError(f"{type(network).__name__} has neurons in both step modes; {fix}.")
    present, layout = (whole_sequence, "sequence") if modes == {"m"} else (each_step, "steps")
    if own_loop:
        present, layout = once, "any"

    def show(network: nn.Module, steps: Tensor, output: int) -> Tensor:
        names = {module: _class_names(module) for module in network.modules()}
        blind = [m for m, classes in names.items() if classes & BLIND_IN_EVAL and not classes & OTHERWISE_IN_TRAINING]
        with temporarily(blind, training=True):
            return present(network, steps, output)

    slots = [Slot(neuron, "surrogate_function", _spikingjelly_ruled) for neuron in neurons.values()]
    reset = partial(_call_each, RESETS["spikingjelly"])
    options |= {"show": show, "layout": layout, "own_loop": own_loop, "reset": reset}
    return Unrolled(network, timesteps, library="SpikingJelly", slots=slots, **options)


def _step_mode(neuron: Any) -> str:
    """Return s or m. A neuron that supports only one mode (PSN) may not state it in `step_mode`."""
    supported = tuple(neuron.supported_step_mode()) if hasattr(neuron, "supported_step_mode") else ()
    return str(supported[0] if len(supported) == 1 else getattr(neuron, "step_mode", "s"))


def _spikingjelly_ruled(
    neuron: Any, surrogate: Callable[[Tensor], Tensor], rule: Surrogate
) -> Callable[[Tensor], Tensor]:
    """`surrogate_function` is called with u - v_threshold; a neuron without a threshold (PSN) counts from 1."""
    threshold = partial(getattr, neuron, "v_threshold", 1.0)
    level = threshold()
    otherwise_called = _class_names(neuron) & {"ILIFNode", "FewSpikeNode"}  # not with u - threshold
    if otherwise_called or (isinstance(level, Tensor) and level.numel() > 1):
        name = type(neuron).__name__
        raise UsageError(f"{name} does not spike at one threshold and cannot use a rule; attack without rule=.")
    return ruled_spike(surrogate, rule, threshold)


def snntorch(network: nn.Module, timesteps: int, *, own_loop: bool = False, **options: Any) -> Unrolled:
    """Adapt a snnTorch network: neurons with `spike_grad`, `threshold` and `reset_mem()`, one step per call.

    The neurons store their state (`init_hidden=True`), or the network's forward has the loop over time (`own_loop`).
    The membrane that the surrogate gets, and the reset, which snnTorch detaches, stay the library's.

    Raises:
        UsageError: no snnTorch neuron, or one that takes all steps in one call (`LeakyParallel`) without `own_loop`: it
            would take the images of a batch for steps.
    """
    neurons = _neurons(network, "snnTorch", "spike_grad", "threshold").values()
    for neuron in neurons:
        if not own_loop and not hasattr(neuron, RESETS["snntorch"]):
            name, fix = type(neuron).__name__, "loop over time in forward and pass own_loop=True"
            raise UsageError(f"{name} takes all steps in one call; {fix}.")

    def ruled(neuron: Any, surrogate: Callable[[Tensor], Tensor], rule: Surrogate) -> Callable[[Tensor], Tensor]:
        # Called with u - threshold, for the spike and, detached, for the reset.
        return ruled_spike(surrogate, rule, lambda: neuron.threshold)

    slots = [Slot(neuron, "spike_grad", ruled) for neuron in neurons]
    # reset_mem creates new tensors, so a graph in use stays intact.
    options |= {"own_loop": own_loop, "reset": partial(_call_each, RESETS["snntorch"])}
    return Unrolled(network, timesteps, library="snnTorch", slots=slots, **options)


def sinabs(network: nn.Module, timesteps: int, **options: Any) -> Unrolled:
    """Adapt a sinabs network: layers with `spike_fn`, `surrogate_grad_fn` and `spike_threshold`, all Squeeze or none.

    sinabs takes [B, T, ...], or [B*T, ...] if its layers are Squeeze layers, as those of `from_torch.from_model` are.
    These get T at each call, so the batch may have any size.

    Raises:
        UsageError: no sinabs neuron, or Squeeze layers and others mixed.
    """
    neurons = _neurons(network, "sinabs", "surrogate_grad_fn").values()
    if len({hasattr(neuron, "squeeze_forward") for neuron in neurons}) > 1:
        raise UsageError(f"{type(network).__name__} mixes Squeeze layers with others; use one kind, IAFSqueeze or IAF.")
    slots = [Slot(neuron, "surrogate_grad_fn", _sinabs_ruled) for neuron in neurons]
    options |= {"show": _sinabs_sequence, "layout": "batch first", "reset": _sinabs_reset}
    return Unrolled(network, timesteps, library="sinabs", slots=slots, **options)


def _sinabs_reset(network: nn.Module) -> None:
    # `reset_states()` would write zeros into tensors that a backward pass may still need, and a state of another batch
    # size would be replaced by random numbers. Without a state, the next call creates one of zeros.
    for layer in network.modules():
        if hasattr(layer, "reset_states"):
            for name, state in layer.named_buffers(recurse=False):
                setattr(layer, name, state.new_zeros(0))


def _sinabs_sequence(network: nn.Module, steps: Tensor, output: int) -> Tensor:
    timesteps, batch = steps.shape[:2]
    squeezed = [module for module in network.modules() if hasattr(module, "squeeze_forward")]
    if not squeezed:
        return picked(network(steps.transpose(0, 1)), output).transpose(0, 1)
    with temporarily(squeezed, batch_size=-1, num_timesteps=timesteps):
        outputs = picked(network(steps.transpose(0, 1).flatten(0, 1)), output)
    return outputs.reshape(batch, timesteps, *outputs.shape[1:]).transpose(0, 1)


def _sinabs_ruled(neuron: Any, surrogate: Any, rule: Surrogate) -> Callable[[Tensor, Tensor], Tensor]:
    # (membrane u, threshold) -> d spike / d u. A neuron that may spike several times per step (MultiSpike, MaxSpike)
    # spikes at each multiple of the threshold, and z is counted from the nearest one.
    single = getattr(neuron.spike_fn, "__name__", "") == "SingleSpike"

    def slope(u: Tensor, threshold: Tensor) -> Tensor:
        level = u / threshold
        return rule(level - (1 if single else level.round().clamp(min=1))) / threshold

    return slope


def norse(network: nn.Module, timesteps: int, **options: Any) -> Unrolled:
    """Adapt a norse network, whose state is passed explicitly: `out, state = network(x, state)`.

    It consists of cells (a step per call) or of modules such as `LIF` (a sequence [T, B, ...] per call). norse selects
    its surrogate by a name (`p.method`) inside the step, so it can only be attacked with its own surrogate.

    Raises:
        UsageError: no norse neuron, or cells and sequence modules mixed.
    """
    neurons = _neurons(network, "norse", "p.method").values()
    sequences = {bool(_class_names(neuron) & {"SNN", "SNNRecurrent"}) for neuron in neurons}  # no cells
    if len(sequences) > 1:
        raise UsageError(f"{type(network).__name__} mixes cells and modules of sequences; use only LIFCell or LIF.")
    show, layout = (whole_sequence, "sequence") if sequences == {True} else (_norse_steps, "steps")
    options |= {"show": show, "layout": layout, "spiking": tuple(neurons)}
    return Unrolled(network, timesteps, library="norse", **options)


def _norse_steps(network: nn.Module, steps: Tensor, output: int) -> Tensor:
    state, outputs = None, []
    for step in steps:
        result = network(step, state)
        state = result[1]
        outputs.append(picked(result, output))
    return torch.stack(outputs)


def _neurons(network: nn.Module, library: str, *attributes: str) -> dict[str, Any]:
    def has(module: Any, attribute: str) -> bool:
        for part in attribute.split("."):
            module = getattr(module, part, None)
        return module is not None

    modules = network.named_modules()
    neurons = {name: module for name, module in modules if all(has(module, attribute) for attribute in attributes)}
    if not neurons:
        missing = f"no {library} neuron (a module with {' and '.join(attributes)})"
        raise UsageError(f"{type(network).__name__} has {missing}.")
    return neurons


def _call_each(method: str, network: nn.Module) -> None:
    for module in network.modules():
        if callable(reset := getattr(module, method, None)):
            reset()


def _class_names(module: nn.Module) -> set[str]:
    return {base.__name__ for base in type(module).__mro__}
