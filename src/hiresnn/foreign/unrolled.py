"""A network of another library as a model, images in [0, 1] -> logits, with gradient rules and recorded spikes.

`Unrolled` makes a network a pure function of images. There are two ways to a gradient rule, and the spikes are those of
the library in both, bit for bit; only the backward pass changes.

- In the surrogate (`Slot`): a library calls it with x = u - threshold, so z = x / threshold and d spike / d x =
  rule(z) / threshold. Leak and reset, and whether the reset is detached, stay the library's.
- In the whole layer (`through_layers`): the rule gets the input currents and the measured equation of a neuron layer,
  as it does in a network of hiresnn, and returns the gradient of the currents.
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
from hiresnn.foreign.equation import Equation, Run, equation_of
from hiresnn.foreign.layer_pass import LayerRules, through_layers
from hiresnn.foreign.steps import Layout, in_steps, layout_of, picked, require_steps
from hiresnn.neurons.rules import LayerRule, Rule, Surrogate, ThroughTime
from hiresnn.neurons.rules import Unrolled as UnrolledRule


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


class Stepwise:
    """A `ThroughTime` rule in the surrogate of one neuron layer, where it gets the membranes step by step.

    Called without `of_step`, as by a library that asks for the slope in the backward pass, it sees the last step first.
    """

    def __init__(self, rule: ThroughTime) -> None:
        self.rule = rule.fresh()
        self.z: list[Tensor] = []

    def start(self) -> None:
        """Begin with the first step of a forward pass."""
        self.z = []

    def of_step(self, z: Tensor) -> Surrogate:
        """Return the slope of the next step, whose membranes are z [B, ...]."""
        steps, t, rule = self.z, len(self.z), self.rule
        steps.append(z.detach())
        assert isinstance(rule, ThroughTime)
        return lambda _: rule.slope_at(steps, t)

    def __call__(self, z: Tensor) -> Tensor:
        return self.of_step(z)(z)


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
        ctx.threshold, ctx.rule = threshold, rule.of_step(x / threshold) if isinstance(rule, Stepwise) else rule
        return surrogate(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        slope = ctx.rule(x / ctx.threshold) / ctx.threshold
        # The spikes of snnTorch are float32 for any membrane; the gradient has the type of the membrane.
        return (grad * slope).to(x.dtype), None, None, None


Readout = Literal["mean", "sum"]
Show = Callable[[nn.Module, Tensor, int], Tensor]
"""(network, steps [T, B, ...], which output of a tuple) -> outputs [T, B, K], or [1, B, K] if the network reads out."""


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


# A neuron layer alone takes currents [T, N, 1] as a network takes its steps.
run_steps: Run = partial(each_step, output=0)
run_sequence: Run = partial(whole_sequence, output=0)


def run_passing_state(neuron: nn.Module, currents: Tensor) -> Tensor:
    """Call a neuron layer once per step with its membranes: (current, membranes) -> (spikes, membranes)."""
    spikes, state = [], torch.zeros_like(currents[0])
    for current in currents:
        output, state = neuron(current, state)
        spikes.append(output)
    return torch.stack(spikes)


def run_flat(neuron: nn.Module, currents: Tensor) -> Tensor:
    """Call a neuron layer once for all steps, as rows [T*N, 1], those of the first step first."""
    return picked(neuron(currents.flatten(0, 1)), 0).view_as(currents)


RUNS: dict[Layout, tuple[Run, ...]] = {
    "steps": (run_steps, run_passing_state),
    "sequence": (run_sequence, run_flat),
    "batch first": (),
    "any": (run_steps, run_passing_state, run_sequence, run_flat),
}
"""Layout -> the ways to run a neuron layer alone, of which the first is taken that gives an equation."""


class Unrolled(nn.Module):
    """Images in [0, 1] -> logits: resets the network, presents the images for T steps, reads out, and resets again.

    Args:
        network: a network of another library; any normalisation belongs inside it, as it gets images in [0, 1].
        timesteps: T, at least 1.
        library: name of its library, for reports and messages.
        show: how the network takes its steps; None takes `once` with own_loop and else `each_step`.
        reset: puts every neuron of the network to rest; None for a network whose state is passed explicitly.
        slots: the surrogate of each neuron layer in which a gradient rule can be used, as `Slot` or `FunctionSlot`.
        spiking: the layers of neurons, whose spikes `hiresnn.foreign.record` collects; None takes those of `slots`.
        layout: how the layers inside get their timesteps, see `Layout`.
        run: how a neuron layer alone takes currents, to measure its equation; None tries those of `RUNS`.
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
        run: Run | None = None,
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
        self._layouts: dict[str, Layout] = {}  # of layers, see `layout_of`
        self._unseen = True  # until the first call, see `_presented`
        self.encodes = encode is not None  # images become other tensors from step to step
        self._runs = RUNS[self.layout] if run is None else (run,)
        self._stepwise: tuple[Stepwise, ...] = ()
        self._layer_rules: LayerRules | None = None

    @property
    def neurons(self) -> int:
        """Layers in which a gradient rule can be used."""
        return len(self._slots) or sum(isinstance(equation, Equation) for equation in self.equations().values())

    @property
    def spiking(self) -> dict[str, nn.Module]:
        """Name in the network -> layer of neurons, in the order of the network's modules."""
        spiking = {id(layer) for layer in self._spiking}
        return {name: module for name, module in self.network.named_modules() if id(module) in spiking}

    def layout_of(self, name: str) -> Layout:
        """Return how a layer gets its timesteps: as the network does, or as an earlier call showed."""
        return self._layouts.get(name, self.layout)

    @property
    def summary(self) -> str:
        """How the network is understood, in one line, for whoever did not write the adapter."""
        names, loop = (
            list(self.spiking) or [str(slot) for slot in self._slots],
            " in its own loop" if self.own_loop else "",
        )
        listed = f" ({', '.join(names if len(names) <= 4 else [*names[:3], '...'])})" if names else ""
        scores = f"the {self.readout} of its outputs over time"
        if self.own_loop:
            scores = f"its output, or {scores} if it returns one for each timestep"
        return (
            f"{type(self.network).__name__} ({self.library}), {self.timesteps} timesteps{loop}, {len(names)} layers of "
            f"neurons{listed}; class scores are {scores}"
        )

    def forward(self, images: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        """Return logits [B, K], float32 or float64, of images [B, C, H, W] or event grids [B, T, P, H, W].

        Raises UsageError if encode or the network has a wrong shape, or event grids another number of bins than T.
        """
        for rule in self._stepwise:
            rule.start()
        if self._layer_rules is not None and torch.is_grad_enabled() and images.requires_grad:
            return through_layers(self._logits, self.spiking, self._layer_rules, images)
        return self._logits(images)

    def _logits(self, images: Tensor) -> Tensor:
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
            stack.enter_context(self._noting_layouts(*steps.shape[:2]))
            self._reset(self.network)
            try:
                outputs = self._show(self.network, steps, self.output)
            except (RuntimeError, ValueError, TypeError, LookupError):
                self._require_no_loop(self._takes_images(steps))
                raise
        # T calls per step for every layer; two could be a layer that is used twice.
        self._require_no_loop(set(calls.values()) == {self.timesteps**2})
        return outputs

    @contextmanager
    def _noting_layouts(self, timesteps: int, batch: int) -> Iterator[None]:
        """Note the layout of each layer in the first call in which the numbers of images and timesteps differ.

        In later calls they may be equal, as an attack leaves out the images that are broken already.
        """
        noted: dict[str, Layout] = {}

        def note(name: str, _: nn.Module, __: tuple[Any, ...], output: Any) -> None:
            rows = output[0] if isinstance(output, (tuple, list)) and output else output
            layout = layout_of(tuple(rows.shape), timesteps, batch) if isinstance(rows, Tensor) else "any"
            noted[name] = layout if noted.get(name, layout) == layout else "any"

        with ExitStack() as stack:
            if self.layout == "any" and not self._layouts and 1 < timesteps != batch:
                for name, layer in self.network.named_modules():
                    stack.enter_context(layer.register_forward_hook(partial(note, name)))
            yield
        self._layouts |= noted

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

    def equations(self) -> dict[str, Equation | str]:
        """Name in the network -> the measured equation of each layer of neurons, or why it has none."""
        self._reset(self.network)
        runs, reset, steps = self._runs, self._reset, self.timesteps
        return {name: equation_of(layer, runs, reset, steps) for name, layer in self.spiking.items()}

    @contextmanager
    def gradient_rule(self, rule: Rule) -> Iterator[None]:
        """Use `rule` in every neuron inside the context; logits stay the same. `hiresnn.gradient_rule` calls this."""
        if not self.spiking and not self._slots:
            raise UsageError(f"a {self.library} network cannot use a rule; build it with another surrogate instead.")
        in_surrogates = not self.spiking or len(self._slots) == len(self.spiking)
        if in_surrogates and not isinstance(rule, LayerRule):
            with self._in_surrogates(lambda: rule):
                yield
            return
        layer_rule = rule if isinstance(rule, LayerRule) else UnrolledRule(rule)
        equations = self.equations()
        problems = {
            name: equation if isinstance(equation, str) else "it has no reset, through which the rule passes"
            for name, equation in equations.items()
            if isinstance(equation, str) or not equation.takes(layer_rule)
        }
        if self.spiking and not problems:
            outer = self._layer_rules
            known = {name: equation for name, equation in equations.items() if isinstance(equation, Equation)}
            self._layer_rules = LayerRules(layer_rule, known, self.timesteps, self.layout_of)
            try:
                yield
            finally:
                self._layer_rules = outer
        elif in_surrogates and isinstance(rule, ThroughTime) and not (rule.through_reset or rule.cut_time):
            with self._in_surrogates(lambda: Stepwise(rule)):
                yield
        else:
            if self.spiking:
                name, reason = next(iter(problems.items()))
                layer = f"layer {name!r} ({type(self.spiking[name]).__name__}) of this {self.library} network"
                problem = f"{layer} has no equation for it: {reason}"
            else:
                problem = f"the spikes of {type(self.network).__name__} are made in forward, and not by a module"
            fix = "an elementwise rule such as linear or arctan" if in_surrogates else "the network's own surrogate"
            raise UsageError(
                f"{type(layer_rule).__name__} replaces the backward pass of a whole layer; {problem}. Choose {fix}."
            )

    @contextmanager
    def _in_surrogates(self, rule: Callable[[], Any]) -> Iterator[None]:
        """Use a rule in the place of every surrogate; `rule` makes it, layer by layer."""
        outer, rules = self._stepwise, [rule() for _ in self._slots]
        with ExitStack() as stack:
            for slot, replacement in zip(self._slots, rules, strict=True):
                stack.enter_context(slot.holding(replacement))
            stack.callback(setattr, self, "_stepwise", outer)
            self._stepwise = tuple(one for one in rules if isinstance(one, Stepwise))
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
        steps = in_steps(name, picked(output, 0).detach().clone(), network.timesteps, batch, network.layout_of(name))
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
