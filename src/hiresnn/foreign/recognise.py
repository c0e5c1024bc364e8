"""Networks of papers' repositories: their neurons are found by what they do, in one call, and not by their names.

A neuron layer is a module of the user's code that gets currents and returns zeros and ones. How often it is
called, and with which shapes, tells where the loop over time is and how many steps it has: layers may take all steps at
once, [T*B, ...], [T, B, ...] or [B, T, ...], or `forward` loops over time. State that modules keep in attributes is put
back before and after each call.
"""

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.foreign.adapters import foreign_modules, norse, sinabs, snntorch, spikingjelly
from hiresnn.foreign.functions import binary, function_slots
from hiresnn.foreign.steps import Layout, picked
from hiresnn.foreign.unrolled import Unrolled, run_sequence
from hiresnn.modes import evaluating
from hiresnn.neurons.rules import Ruled

IMAGES = 13  # of the trial; no usual number of timesteps, so that the shapes tell both apart
REST = "_hiresnn_rest"  # attribute of a module: what it held when its network was recognised, before any image
ADAPTERS: dict[str, Callable[..., Unrolled]] = {
    "spikingjelly": spikingjelly, "snntorch": snntorch, "sinabs": sinabs, "norse": norse,
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A call of a module of the user's code: the shape of its input, and whether it turned currents into spikes."""

    shape: tuple[int, ...]
    spikes: bool


def recognise(network: nn.Module, images: Tensor, timesteps: int | None = None) -> nn.Module:
    """Return a spiking network of another library, or of own code, in its adapter; any other network as it is.

    Args:
        network: as its code makes it, at rest: it has seen no image. Any normalisation is inside it.
        images: [B, C, H, W] in [0, 1], at least one, for a trial.
        timesteps: T of a network that takes one step per call; the others say it themselves.

    Raises:
        UsageError: the network keeps its state from call to call and takes one step per call, and T is not given; it
            fails in the trial; or it takes another number of steps than T.
    """
    if any(isinstance(module, Ruled) or hasattr(module, "gradient_rule") for module in network.modules()):
        return network
    libraries = {library for _, _, library in foreign_modules(network)} & ADAPTERS.keys()
    remember_rest(network)
    calls, outputs, failure = try_out(network, images)
    changed = any(_moved(module) for module in _own(network))
    restore_rest(network)
    layers = _neurons(network, calls)
    steps, layout = steps_of(layers, calls, outputs)
    name = type(network).__name__
    if libraries and failure is not None and timesteps is None:
        shape = ", ".join(str(size) for size in images.shape[1:])
        remedy = "reshape them inside forward, or name --timesteps if the training script loops over time"
        raise UsageError(f"{name} fails on images [B, {shape}]: {type(failure).__name__}: {failure}; {remedy}.")
    if len(libraries) == 1:
        library = libraries.pop()
        if steps > 1 and layout != "batch first" and library in ("spikingjelly", "snntorch"):
            return ADAPTERS[library](network, _agreed(name, steps, timesteps), own_loop=True)
        return network if timesteps is None else ADAPTERS[library](network, timesteps)
    if libraries:
        return network
    if not layers:
        return _by_functions(network, images, timesteps, steps, changed)
    spiking = [network.get_submodule(layer) for layer in layers]
    options: dict[str, Any] = {"library": "own code", "reset": restore_rest, "spiking": spiking}
    if steps == 1 and timesteps is None:
        _require_stateless(name, changed)
        return network
    if steps == 1:
        return Unrolled(network, _agreed(name, steps, timesteps), **options)
    if layout == "batch first":
        options |= {"show": _batch_first, "run": _run_batch_first}
    return Unrolled(network, _agreed(name, steps, timesteps), own_loop=True, layout=layout, **options)


def _by_functions(network: nn.Module, images: Tensor, timesteps: int | None, steps: int, changed: bool) -> nn.Module:
    """Return a network whose spikes an autograd function makes in `forward` in its adapter; any other as it is."""
    name, few = type(network).__name__, _few(images)
    slots, counted = function_slots(network, few)
    restore_rest(network)
    if not slots:
        return network
    options: dict[str, Any] = {"library": "own code", "reset": restore_rest, "slots": slots, "spiking": ()}
    steps = steps if steps > 1 else counted
    if steps > 1:
        return Unrolled(network, _agreed(name, steps, timesteps), own_loop=True, **options)
    if timesteps is None:
        _require_stateless(name, changed)
        return Unrolled(network, 1, own_loop=True, **options)
    return Unrolled(network, timesteps, **options)


def _require_stateless(name: str, changed: bool) -> None:
    if changed:
        problem = f"{name} keeps its state from call to call and takes one timestep per call"
        raise UsageError(f"{problem}; name their number with --timesteps.")


def _agreed(name: str, steps: int, timesteps: int | None) -> int:
    if steps > 1 and timesteps not in (None, steps):
        raise UsageError(f"{name} runs for {steps} timesteps by itself, but --timesteps is {timesteps}; leave it out.")
    return timesteps or steps


def _batch_first(network: nn.Module, steps: Tensor, output: int) -> Tensor:
    outputs = picked(network(steps[0].clone()), output)
    return outputs[None] if outputs.dim() == 2 else outputs.transpose(0, 1)


def _run_batch_first(neuron: nn.Module, currents: Tensor) -> Tensor:
    return run_sequence(neuron, currents.transpose(0, 1)).transpose(0, 1)


def try_out(network: nn.Module, images: Tensor) -> tuple[dict[str, list[Call]], Tensor | None, Exception | None]:
    """Call the network once with a few images; return the calls of the modules of the user's code, and the outputs.

    If the network fails, as one does that takes another input than images, there are no outputs but its exception.
    """
    calls: dict[str, list[Call]] = {}

    def note(name: str, inputs: tuple[Any, ...], output: Any) -> None:
        output = output[0] if isinstance(output, (tuple, list)) and output else output
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor) and inputs[0].dim() > 1:
            spikes = binary(output) and not binary(inputs[0]) and output.shape == inputs[0].shape
            calls.setdefault(name, []).append(Call(tuple(inputs[0].shape), spikes))

    few = _few(images)
    with ExitStack() as stack, evaluating(network), torch.no_grad(), torch.random.fork_rng([]):
        for name, module in network.named_modules():
            if name and not type(module).__module__.startswith("torch."):
                stack.enter_context(
                    module.register_forward_hook(lambda _, inputs, output, name=name: note(name, inputs, output))
                )
        device = next((parameter.device for parameter in network.parameters()), few.device)
        try:
            result = network(few.to(device))
        except Exception as error:  # whatever code raises for an input that it does not expect
            return {}, None, error
    result = result[0] if isinstance(result, (tuple, list)) and result else result
    return calls, result if isinstance(result, Tensor) else None, None


def _few(images: Tensor) -> Tensor:
    return torch.cat(list(itertools.islice(itertools.repeat(images), 1 + IMAGES // len(images))))[:IMAGES]


def _neurons(network: nn.Module, calls: dict[str, list[Call]]) -> list[str]:
    """Names of the neuron layers: they turn currents into spikes, and are not part of another such module.

    A module that contains layers with weights, such as a block of convolution and neuron, is none.
    """
    layers = list[str]()
    for name, module in network.named_modules():
        parts = [part for part in module.modules() if part is not module and type(part).__module__.startswith("torch.")]
        weighted = any(True for part in parts for _ in part.parameters())
        inside = any(name.startswith(f"{layer}.") for layer in layers)
        if not weighted and not inside and any(call.spikes for call in calls.get(name, ())):
            layers.append(name)
    return layers


def steps_of(layers: list[str], calls: dict[str, list[Call]], outputs: Tensor | None) -> tuple[int, Layout]:
    """Return how many timesteps one call of the network has, and the layout of its layers; 1 if it has one step."""
    numbers, layouts = set[int](), set[Layout]()
    for name in layers:
        shape, times = calls[name][0].shape, len(calls[name])
        if shape[0] == IMAGES and times > 1:
            numbers.add(times)
            layouts.add("steps")
        elif shape[0] == IMAGES:
            numbers.add(shape[1] if len(shape) in (3, 5) else 1)
            layouts.add("batch first")
        elif len(shape) > 2 and shape[1] == IMAGES:
            numbers.add(shape[0])
            layouts.add("sequence")
        elif shape[0] % IMAGES == 0:
            numbers.add(shape[0] // IMAGES)
            layouts.add("sequence")
    if outputs is not None and outputs.dim() == 3 and IMAGES in outputs.shape[:2]:
        first = outputs.shape[0] == IMAGES
        numbers = {int(outputs.shape[1 if first else 0])}
    if len(numbers) != 1 or numbers == {1}:
        return 1, "steps"
    return numbers.pop(), layouts.pop() if len(layouts) == 1 else "any"


def _own(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if not type(module).__module__.startswith("torch.")]


def _state(module: nn.Module) -> dict[str, Any]:
    """What a module holds in attributes and buffers, without its parameters, modules and torch's own attributes."""
    torchs = vars(nn.Module()).keys() | {REST}
    return {name: value for name, value in vars(module).items() if name not in torchs} | dict(module._buffers)


def _moved(module: nn.Module) -> bool:
    """Whether a module holds other numbers or tensors than at rest."""
    rest, now = vars(module)[REST], _state(module)
    for name, value in now.items():
        before = rest.get(name)
        if isinstance(value, Tensor) or isinstance(before, Tensor):
            both = isinstance(value, Tensor) and isinstance(before, Tensor)
            if not both or not torch.equal(value, before):
                return True
        elif isinstance(value, (int, float)) and value != before:
            return True
    return False


def remember_rest(network: nn.Module) -> None:
    """Store in each module of the user's code what its attributes hold now, for `restore_rest`."""
    for module in _own(network):
        vars(module)[REST] = {name: _copied(value) for name, value in _state(module).items()}


def restore_rest(network: nn.Module) -> None:
    """Give each module the attributes back that it had at rest; those that it did not have are deleted."""
    for module in _own(network):
        rest = vars(module).get(REST)
        if rest is None:
            continue
        for name, value in _state(module).items():
            holder = module._buffers if name in module._buffers else vars(module)
            if name not in rest:
                del holder[name]
            elif isinstance(rest[name], (Tensor, list, dict, int, float, type(None))):
                device = value.device if isinstance(value, Tensor) else None
                holder[name] = _copied(rest[name], device)


def _copied(value: Any, device: torch.device | None = None) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone().to(device or value.device)
    return type(value)(value) if type(value) in (list, dict) else value
