"""Networks of SpikingJelly: neurons with `surrogate_function`, `v_threshold` and `reset()`, in step mode s or m.

A trap on the way: in eval mode the IFNode and LIFNode of 0.0.0.0.14, and the ComplementaryLIFNode of 2, spike by a
plain comparison without any gradient, and every attack works in eval mode. Their training branch computes the same
neuron with its surrogate, so these neurons, and nothing else, are switched to it while images are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.foreign.slot import Slot, ruled_spike
from hiresnn.foreign.unrolled import Readout, Show, Unrolled, each_step, once, whole_sequence
from hiresnn.neurons.surrogate import Surrogate

BLIND_IN_EVAL = frozenset({"IFNode", "LIFNode", "ComplementaryLIFNode"})
"""Classes that have no gradient in eval mode and differ from training mode in nothing else."""
OTHERWISE_IN_TRAINING = frozenset({"OTTTLIFNode", "SLTTLIFNode"})
"""Their subclasses whose training branch is another neuron."""
NOT_FROM_THRESHOLD = frozenset({"ILIFNode", "FewSpikeNode"})
"""Classes that call their surrogate with something else than u - threshold."""


def spikingjelly(
    network: nn.Module,
    timesteps: int,
    *,
    own_loop: bool = False,
    encode: Callable[[Tensor], Tensor] | None = None,
    readout: Readout = "mean",
    output: int = 0,
) -> Unrolled:
    """A SpikingJelly network as a model.

    The reset stays the library's: with `detach_reset=False` the swapped rule also acts through it.

    Args:
        network: in step mode s it is shown a step a call, in step mode m all steps at once.
        timesteps: T, at least 1.
        own_loop: the network's `forward` repeats the images by itself: it is called once with the images and
            returns [T, B, K] or, averaged already, [B, K].
        encode, readout, output: see `Unrolled`.

    Raises:
        UsageError: no SpikingJelly neuron in it, neurons in both step modes, or one on a CUDA kernel of its own.
    """
    neurons = {name: m for name, m in network.named_modules() if hasattr(m, "surrogate_function")}
    if not neurons:
        raise UsageError(f"{type(network).__name__} has no SpikingJelly neuron (a module with surrogate_function).")
    for name, neuron in neurons.items():
        if getattr(neuron, "backend", "torch") != "torch":
            raise UsageError(
                f"neuron {name!r} runs on backend {neuron.backend!r}, whose kernel holds a surrogate of its own: "
                "call functional.set_backend(network, 'torch') first."
            )
    shown = once if own_loop else _by_step_mode(list(neurons.values()))

    def show(network: nn.Module, steps: Tensor, output: int) -> Tensor:
        with _seeing([module for module in network.modules() if _is_blind_in_eval(module)]):
            return shown(network, steps, output)

    return Unrolled(
        network,
        timesteps,
        library="SpikingJelly",
        show=show,
        own_loop=own_loop,
        reset=reset,
        slots=[Slot(neuron, "surrogate_function", _ruled) for neuron in neurons.values()],
        encode=encode,
        readout=readout,
        output=output,
    )


def reset(network: nn.Module) -> None:
    """Put every stateful module to rest, as `functional.reset_net` does."""
    for module in network.modules():
        if callable(rest := getattr(module, "reset", None)):
            rest()


def _by_step_mode(neurons: Sequence[Any]) -> Show:
    modes = {_step_mode(neuron) for neuron in neurons}
    if len(modes) > 1:
        raise UsageError("its neurons are in both step modes: call functional.set_step_mode(network, 's' or 'm').")
    return whole_sequence if modes == {"m"} else each_step


def _step_mode(neuron: Any) -> str:
    """s or m. A neuron that knows one mode alone (PSN) may not say which in `step_mode`."""
    supported = tuple(neuron.supported_step_mode()) if hasattr(neuron, "supported_step_mode") else ()
    return str(supported[0] if len(supported) == 1 else getattr(neuron, "step_mode", "s"))


def _kinds(neuron: nn.Module) -> set[str]:
    """Names of its class and of every base."""
    return {kind.__name__ for kind in type(neuron).__mro__}


def _is_blind_in_eval(neuron: nn.Module) -> bool:
    kinds = _kinds(neuron)
    return bool(kinds & BLIND_IN_EVAL) and not kinds & OTHERWISE_IN_TRAINING


@contextmanager
def _seeing(blind: Sequence[nn.Module]) -> Iterator[None]:
    """The training branch of these neurons for a while; nothing inside them is switched."""
    before = [neuron.training for neuron in blind]
    try:
        for neuron in blind:
            neuron.training = True
        yield
    finally:
        for neuron, was in zip(blind, before, strict=True):
            neuron.training = was


def _ruled(neuron: Any, own: Callable[[Tensor], Tensor], rule: Surrogate) -> Callable[[Tensor], Tensor]:
    """For `surrogate_function`, called with u - v_threshold; a neuron without a threshold (PSN) counts from 1."""

    def threshold() -> Tensor | float:
        level: Tensor | float = getattr(neuron, "v_threshold", 1.0)
        return level

    level = threshold()
    if _kinds(neuron) & NOT_FROM_THRESHOLD or (isinstance(level, Tensor) and level.numel() > 1):
        raise UsageError(
            f"a neuron of class {type(neuron).__name__} does not spike at one threshold: no rule can be swapped into "
            "it; attack without rule=."
        )
    return ruled_spike(own, rule, threshold)
