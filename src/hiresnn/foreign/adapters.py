"""Adapters for SpikingJelly, snnTorch, sinabs and norse, none of which is imported.

A neuron is recognised by the attributes that its library gives it. Every adapter takes the network, timesteps (T, at
least 1), and the options `encode`, `readout` and `output` of `Unrolled`.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.foreign.steps import picked
from hiresnn.foreign.unrolled import (
    Slot,
    Unrolled,
    each_step,
    once,
    ruled_spike,
    temporarily,
    whole_sequence,
)
from hiresnn.neurons.rules import Surrogate

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
    for name, module, library in foreign_modules(model) if isinstance(model, nn.Module) else ():
        fix = f"hiresnn.foreign.{library}(network, timesteps=...)"
        if library in UNSUPPORTED:
            fix = (
                f"hiresnn.foreign.Unrolled(network, timesteps=..., library={library!r}, own_loop=True, reset=...), as "
                "this library has no adapter; reset is a function that puts the network to rest"
            )
        elif library in ("spikingjelly", "snntorch"):
            fix += ", or hiresnn.foreign.recognise(network, images) if forward itself loops over time"
        problem = "returns its state" if library == "norse" else "keeps its state, so answers depend on earlier images"
        raise UsageError(
            f"the network contains {type(module).__module__}.{type(module).__qualname__} (layer {name!r}), which "
            f"{problem}; wrap the network: {fix}."
        )


def foreign_modules(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module, str]]:
    """Yield name, module and library of every stateful module of another library outside an adapter."""
    if callable(getattr(module, "gradient_rule", None)):
        return
    for library in sorted({base.__module__.partition(".")[0] for base in type(module).__mro__}):
        # norse passes its state explicitly, so only a network that is itself of norse returns it to the caller.
        stateful = callable(getattr(module, RESETS.get(library, ""), None)) or (library == "norse" and not name)
        if stateful or library in UNSUPPORTED:
            yield name, module, library
    for child_name, child in module.named_children():
        yield from foreign_modules(child, f"{name}.{child_name}".strip("."))


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
        present, layout = once, layout if len(modes) == 1 else "any"

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
    stepwise = all(hasattr(neuron, RESETS["snntorch"]) for neuron in neurons)
    options |= {"own_loop": own_loop, "reset": partial(_call_each, RESETS["snntorch"])}
    options |= {"layout": "steps" if stepwise else "any"}
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
    options["run"] = partial(_sinabs_sequence, output=0)
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
    its surrogate by a name (`p.method`) inside the step, so every gradient rule replaces the backward pass of a whole
    layer.

    Raises:
        UsageError: no norse neuron, or cells and sequence modules mixed.
    """
    neurons = _neurons(network, "norse", "p.method").values()
    sequences = {bool(_class_names(neuron) & {"SNN", "SNNRecurrent"}) for neuron in neurons}  # no cells
    if len(sequences) > 1:
        raise UsageError(f"{type(network).__name__} mixes cells and modules of sequences; use only LIFCell or LIF.")
    show, layout = (_norse_steps, "steps") if sequences == {False} else (whole_sequence, "sequence")
    options |= {"show": show, "layout": layout, "run": partial(show, output=0), "spiking": tuple(neurons)}
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
