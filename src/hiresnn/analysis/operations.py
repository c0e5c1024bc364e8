"""Count the operations of a spiking network, of this package or another library, on the spikes of real images.

Hooks count while the network runs, and a `Flow` notes where every tensor came from. A layer that sees the image, the
same at every step, counts once, also if its library computes it at every step. A batch norm right behind a weighted
layer counts as folded into it, and any other one as a depthwise 1x1 convolution.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from hiresnn.analysis.energy import STATE_BYTES, EnergyReport, LayerOperations
from hiresnn.analysis.spikes import LayerActivity, SpikingActivity, recording
from hiresnn.attacks import frozen
from hiresnn.errors import UsageError
from hiresnn.foreign import Unrolled, in_steps, picked, require_steps
from hiresnn.network import ChannelAffine, SpikingNetwork
from hiresnn.network.report import BATCH_NORMS, WEIGHTED
from hiresnn.neurons import Window

PRODUCTS = frozenset({
    *("linear", "bilinear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    *("scaled_dot_product_attention", "einsum", "tensordot", "matmul", "mm", "mv", "bmm", "dot", "addmm", "addmv"),
    *("addbmm", "baddbmm", "inner", "outer", "ger", "addr", "vdot", "kron", "chain_matmul"),
    *("linalg_matmul", "linalg_multi_dot", "linalg_vecdot"),
})  # fmt: skip
"""Functions and methods of torch that multiply by weights or by each other."""
_RESHAPES = frozenset({"flatten", "unflatten", "reshape", "view", "contiguous", "permute", "transpose", "unsqueeze"})


@dataclass(frozen=True)
class Signal:
    """Where a tensor came from."""

    timed: bool = False  # from neurons or an encoder, so that it changes from step to step
    weighted: bool = False  # from a weighted layer, or the image itself, and no neurons since
    source: nn.Module | None = None  # the weighted layer of which it is the unchanged output


class Flow(TorchFunctionMode):
    """Hands signals on from the inputs of every function of torch to its outputs; refuses products outside layers."""

    def __init__(self) -> None:
        super().__init__()
        self._signals: Any = WeakIdKeyDictionary()
        self._inside = 0

    def mark(self, value: Any, signal: Signal) -> None:
        for tensor in _tensors(value):
            self._signals[tensor] = signal

    def signal(self, value: Any) -> Signal | None:
        """Return where the tensors in `value` came from; None if no note reached them."""
        signals = [self._signals[tensor] for tensor in _tensors(value) if tensor in self._signals]
        if len(signals) < 2:
            return signals[0] if signals else None
        return Signal(any(signal.timed for signal in signals), any(signal.weighted for signal in signals))

    @contextmanager
    def layers(self, layers: Iterable[nn.Module]) -> Iterator[None]:
        """Let these layers, which are counted, multiply by weights inside the context."""

        def count(change: int, *_: Any) -> None:
            self._inside += change

        with ExitStack() as stack:
            for layer in layers:
                stack.enter_context(layer.register_forward_pre_hook(partial(count, 1)))
                stack.enter_context(layer.register_forward_hook(partial(count, -1)))
            yield

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        signal = self.signal((args, kwargs or {}))
        if signal is None:
            return result
        name = getattr(func, "__name__", "").strip("_")
        if name in PRODUCTS and not self._inside:
            raise UsageError(f"{name} is called as a function and cannot be counted; use an nn.Linear or nn.Conv.")
        self.mark(result, signal if name in _RESHAPES else replace(signal, source=None))
        return result


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for element in value:
            yield from _tensors(element)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


_COSTS: dict[str, dict[str, tuple[int, tuple[str, ...] | int]]] = {
    "hiresnn": {"LIF": (1, ("leak",))},
    "snntorch": {"Leaky": (1, ("beta",)), "Synaptic": (2, ("alpha", "beta"))},
    "spikingjelly": {"IFNode": (1, 0), "LIFNode": (1, 1), "ParametricLIFNode": (1, 1)},
    "sinabs": {"IAF": (1, 0), "IAFSqueeze": (1, 0), "LIF": (1, 1), "LIFSqueeze": (1, 1)},
    "norse": {"IAFCell": (1, 0), "LIFBoxCell": (1, 1), "LIF": (2, 2), "LIFCell": (2, 2)},
}
"""Library -> class -> states, to each of which something is added at every step, and how many of them are multiplied by
a factor that is not 1, or the names of these factors. A factor on the input counts as part of the weights before it."""


def _neuron_cost(name: str, neuron: nn.Module) -> tuple[int, int]:
    """Return the states and decays of a neuron; a user's subclass has those of its base."""
    for base in type(neuron).__mro__:
        costs = _COSTS.get(base.__module__.partition(".")[0], {})
        if base.__name__ in costs:
            states, decays = costs[base.__name__]
            if not isinstance(decays, int):
                decays = sum(bool((torch.as_tensor(getattr(neuron, factor)) != 1).any()) for factor in decays)
            return states, decays
        if costs:  # another neuron of the library, which may derive from a known one and do more
            break
    listed = "; ".join(f"{library}: {', '.join(costs)}" for library, costs in _COSTS.items())
    raise UsageError(
        f"layer {name!r} is a {type(neuron).__name__}, whose energy cannot be counted; known are {listed}."
    )


def fan_out(layer: nn.Module, inputs: Tensor) -> Float64[Tensor, " ..."]:
    """Return the connections that leave each value of one input row: the gradient of the output with all weights 1."""
    ones = {name: torch.ones_like(value, dtype=torch.float64) for name, value in layer.named_parameters()}
    if "bias" in ones:
        ones["bias"].zero_()
    probe = torch.zeros_like(inputs[:1], dtype=torch.float64).requires_grad_()
    with torch.enable_grad():
        (connections,) = torch.autograd.grad(functional_call(layer, ones, (probe,)).sum(), probe)
    return connections[0].round()


@dataclass
class _Weighted:
    """One use of a weighted layer, and what entered it at the first step and, if it is timed, at all others."""

    name: str
    layer: nn.Module
    first_use: bool
    tallies: list[Tensor | float] = field(default_factory=lambda: [0.0, 0.0])  # [2, ...]: not zero, and magnitudes
    fractional: list[bool] = field(default_factory=lambda: [False, False])  # numbers that are not whole
    timed: bool = False
    weighted: bool = False
    normed: bool = False  # a batch norm follows directly
    rows: int = 1  # of the input, per image and step
    units: int = 0  # values of the output, per image and step
    steps: int = 0  # of the present forward pass
    first_rows: Tensor | None = None  # of the present forward pass
    example: Tensor | None = None  # one row of the input, with the leading dimensions that the layer needs

    def add(self, x: Tensor, steps: Tensor, signal: Signal, output: Tensor, batch: int) -> None:
        """Add the input x of one call, which is also given as [steps, rows, ...]."""
        if self.example is None:
            self.example = steps[0, 0].reshape((1,) * (x.dim() - steps.dim() + 2) + steps.shape[2:]).clone()
        self.rows, self.units = steps.shape[1] // batch, output.numel() // (len(steps) * batch)
        self.timed |= signal.timed
        self.weighted |= signal.weighted
        self.steps += len(steps)
        parts = [(1, steps)]
        if self.first_rows is None:
            self.first_rows = steps[0]
            parts = [(0, steps[:1]), (1, steps[1:])]
        for index, part in parts:
            if len(part):
                self.timed |= bool((part != self.first_rows).any())
                rows = part.flatten(0, 1)
                tally = torch.stack([(rows != 0).sum(0).double(), rows.abs().sum(0, dtype=torch.float64)])
                self.tallies[index] = self.tallies[index] + tally
                self.fractional[index] |= not bool((part == part.round()).all())

    def compute(self, images: int, timesteps: int, variants: int) -> LayerOperations:
        assert self.example is not None
        layer, weight = self.layer, self.layer.get_parameter("weight")
        events, magnitudes = torch.as_tensor(self.tallies[0] + self.tallies[1] if self.timed else self.tallies[0])
        connections = fan_out(layer, self.example).reshape(events.shape)
        analog = not self.timed or self.weighted
        spikes = not analog and not any(self.fractional)
        # An image is the same at all steps, so it is multiplied once per variant.
        repeats, times = (1, timesteps) if self.timed else (variants, variants)
        sources = self.rows * connections.numel()
        bias = getattr(layer, "bias", None) is not None
        parameters = sum(p.numel() for p in layer.parameters()) + (len(weight) if self.normed and not bias else 0)
        return LayerOperations(
            name=self.name,
            kind="linear" if isinstance(layer, nn.Linear) else "affine" if isinstance(layer, ChannelAffine) else "conv",
            inputs="image" if not self.timed else "current" if analog else "spikes" if spikes else "fractional",
            sources=sources,
            units=self.units,
            dense=weight.numel() * (self.units // len(weight)),
            connections=self.rows * int(connections.sum()),
            activity=float(times) if analog else float(magnitudes.sum()) / (sources * images),
            events=repeats * float(events.sum()) / images,
            macs=0.0 if spikes else repeats * float((events * connections).sum()) / images,
            acs=(float((magnitudes * connections).sum()) / images if spikes else 0.0)
            + (bias or self.normed) * self.units * times,
            parameters=parameters if self.first_use else 0,
        )


def _neuron_operations(name: str, neuron: nn.Module, activity: LayerActivity) -> LayerOperations:
    """At each step a neuron adds to each state and multiplies those that decay; a spike subtracts the threshold."""
    (states, decays), neurons, spikes = _neuron_cost(name, neuron), activity.neurons, activity.spikes
    updates, parameters = neurons * activity.timesteps, sum(parameter.numel() for parameter in neuron.parameters())
    operations = LayerOperations(name, "neurons", "current", neurons, neurons, events=spikes, parameters=parameters)
    additions, stored = states * updates + spikes, STATE_BYTES * states * neurons
    return replace(operations, acs=additions, multiplications=float(decays * updates), state_bytes=stored)


class Energy:
    """Accumulates the operations of a spiking network on images.

    Args:
        network: of this package, or of another library in its adapter (`hiresnn.foreign`).
        variants: how often the image changes within T. 1 at inference; N in a forward pass of HIRE-SNN training, in
            which the layers that see the image work N times.

    Raises:
        UsageError: a layer whose operations cannot be counted; variants outside 1 to T.

    Example:
        >>> from torch import nn
        >>> from hiresnn.network import spiking_graph
        >>> ann = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> energy = Energy(spiking_graph(ann, timesteps=2))
        >>> energy.update(torch.ones(1, 1, 2, 2))
        >>> first = energy.compute().layers[0]
        >>> first.inputs, first.macs, first.acs
        ('image', 12.0, 3.0)
    """

    def __init__(self, network: SpikingNetwork | Unrolled, *, variants: int = 1) -> None:
        self.network, self.variants, self.timesteps = network, variants, network.timesteps
        if not 1 <= variants <= self.timesteps:
            raise UsageError(f"variants is {variants}; an image can change 1 to {self.timesteps} times in T steps.")
        self._neurons = network.spiking if isinstance(network, Unrolled) else network.neurons
        for name, neuron in self._neurons.items():
            _neuron_cost(name, neuron)
        self._layers = _counted_layers(network)
        self._weighted: dict[str, _Weighted] = {}
        self._order: dict[str, None] = {}  # names in the order of their first call
        self._activity, self._images, self._classes = SpikingActivity(), 0, 0

    @torch.no_grad()
    def update(self, images: Float[Tensor, "batch ..."]) -> None:
        """Run a batch of images or event grids and count; the network stays as it is. UsageError for an empty batch."""
        if not len(images):
            raise UsageError("energy: the batch has no images.")
        for weighted in self._weighted.values():
            weighted.steps, weighted.first_rows = 0, None
        copy = images.clone()  # a layer may write into its input
        with frozen(self.network), recording(self.network) as spikes, self._watched(len(images)):
            if isinstance(self.network, Unrolled):
                self._classes = self.network(copy).shape[1]
            else:
                self._classes = self.network.layers(copy, Window(self.timesteps, len(images))).shape[1]
        for weighted in self._weighted.values():
            if weighted.steps != 1 or weighted.timed:  # a loop of the network's own may compute the image's side once
                require_steps(weighted.name, weighted.steps, self.timesteps)
        self._activity.update(spikes)
        self._images += len(images)

    def compute(self) -> EnergyReport:
        """Return the means over all images so far. Raises UsageError before the first update."""
        if not self._images:
            raise UsageError("energy: no images were added; call update with a batch first.")
        activity = self._activity.compute()
        layers = [
            self._weighted[name].compute(self._images, self.timesteps, self.variants)
            if name in self._weighted
            else _neuron_operations(name, self._neurons[name], activity[name])
            for name in self._order
        ]
        # The readout adds the logits over time, into an accumulator that is stored.
        classes, stored = self._classes, STATE_BYTES * self._classes
        acs = float(classes * self.timesteps)
        readout = LayerOperations("readout", "readout", "current", classes, classes, acs=acs, state_bytes=stored)
        return EnergyReport((*layers, readout), self.timesteps)

    @contextmanager
    def _watched(self, batch: int) -> Iterator[None]:
        """Mark the image on its way in and what leaves each layer, and count what enters the weighted ones."""
        network, flow, calls = self.network, Flow(), Counter[str]()
        ours = isinstance(network, SpikingNetwork)
        window = Window(self.timesteps, batch)

        def enter(_: nn.Module, args: tuple[Any, ...]) -> None:
            flow.mark(args[:1], Signal(timed=isinstance(network, Unrolled) and network.encodes, weighted=ours))

        def encode(_: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
            flow.mark(output, Signal(timed=True))

        def spike(name: str, _: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            self._order.setdefault(name)
            flow.mark(output, Signal(timed=True, weighted=True))  # a membrane, beside the spikes
            flow.mark(picked(output, 0), Signal(timed=True))

        def weigh(name: str, layer: nn.Module, args: tuple[Any, ...], options: dict[str, Any], output: Tensor) -> None:
            x = args[0] if args else next(iter(options.values()))
            signal = flow.signal(x)
            if signal is None:
                hint = "use functions of torch between the layers"
                raise UsageError(
                    f"the input of layer {name!r} cannot be traced, so its operations cannot be counted; {hint}."
                )
            if isinstance(layer, BATCH_NORMS) and signal.source is not None:
                next(entry for entry in self._weighted.values() if entry.layer is signal.source).normed = True
                flow.mark(output, Signal(signal.timed, True))
                return
            calls[name] += 1
            # A call is a use of its own in a network of ours, which gets all timesteps at once.
            numbered = name if not ours or calls[name] == 1 else f"{name}_{calls[name]}"
            self._order.setdefault(numbered)
            if numbered not in self._weighted:
                weights = ChannelAffine(layer) if isinstance(layer, BATCH_NORMS) else layer
                self._weighted[numbered] = _Weighted(numbered, weights, numbered == name)
            entry = self._weighted[numbered]
            if isinstance(network, Unrolled):
                steps = in_steps(name, x, self.timesteps, batch, network.layout_of(name))
            else:
                steps = window.by_step(x) if signal.timed else x[None]
            entry.add(x, steps, signal, output, batch)
            flow.mark(output, Signal(signal.timed, True, entry.layer))

        with ExitStack() as stack:
            inner = network.network if isinstance(network, Unrolled) else network.layers
            stack.enter_context(flow.layers([*self._layers.values(), *self._neurons.values()]))
            stack.enter_context(inner.register_forward_pre_hook(enter))
            if isinstance(network, SpikingNetwork) and network.encoding.encoding != "direct":
                stack.enter_context(network.encoding.register_forward_hook(encode))
            for name, neuron in self._neurons.items():
                stack.enter_context(neuron.register_forward_hook(partial(spike, name)))
            for name, layer in self._layers.items():
                stack.enter_context(layer.register_forward_hook(partial(weigh, name), with_kwargs=True))
            stack.enter_context(flow)
            yield


def _counted_layers(network: SpikingNetwork | Unrolled) -> dict[str, nn.Module]:
    """Return name -> weighted layer or batch norm; refuse any other layer with weights, and weights in neurons."""
    neurons: Mapping[str, nn.Module]
    if isinstance(network, Unrolled):
        modules, neurons = dict(network.network.named_modules()), network.spiking
    else:
        called = [str(node.target) for node in network.layers.graph.nodes if node.op == "call_module"]
        modules, neurons = {name: network.layers.get_submodule(name) for name in called}, network.neurons
    layers: dict[str, nn.Module] = {}
    inside = {id(part): name for name, neuron in neurons.items() for part in neuron.modules()}
    for name, module in modules.items():
        counted = isinstance(module, (*WEIGHTED, ChannelAffine, *BATCH_NORMS))
        if id(module) in inside:
            if counted:
                raise UsageError(f"layer {name!r} is part of the neurons {inside[id(module)]!r}, so it is not counted.")
        elif counted:
            layers[name] = module
        elif any(True for _ in module.parameters(recurse=isinstance(network, SpikingNetwork))):
            class_name = type(module).__name__
            raise UsageError(f"layer {name!r} is a {class_name}; energy counts only convolutions and linear layers.")
    return layers


energy_counter = ForeignEnergy = Energy
"""Names that `Energy` had for networks of other libraries."""


def count_operations(
    network: SpikingNetwork | Unrolled, images: Float[Tensor, "image ..."], *, batch_size: int = 200
) -> EnergyReport:
    """Return the operations per image, the mean over `images` [N, C, H, W] in [0, 1], or event grids.

    They are on the network's device.
    Raises UsageError as `Energy` does, and without images.
    """
    energy = Energy(network)
    for batch in torch.split(images, batch_size):
        energy.update(batch)
    return energy.compute()
