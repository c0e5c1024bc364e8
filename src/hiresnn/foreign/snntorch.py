"""Networks of snnTorch: neurons with `spike_grad`, `threshold` and `reset_mem()`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.foreign.slot import Slot, ruled_spike
from hiresnn.foreign.unrolled import Readout, Unrolled, each_step, once
from hiresnn.neurons.surrogate import Surrogate


def snntorch(
    network: nn.Module,
    timesteps: int,
    *,
    own_loop: bool = False,
    encode: Callable[[Tensor], Tensor] | None = None,
    readout: Readout = "mean",
    output: int = 0,
) -> Unrolled:
    """A snnTorch network as a model.

    The membrane at which a neuron's surrogate is read and the reset, which snnTorch detaches, stay the library's.

    Args:
        network: takes one step a call, with neurons that keep their state (`init_hidden=True`).
        timesteps: T, at least 1.
        own_loop: the network's `forward` has the loop over time in it: it is called once with the images and
            returns [T, B, K] (spikes stacked over time) or [B, K].
        encode, readout: see `Unrolled`.
        output: 0 for the spikes, 1 for the membrane, where the network returns both.

    Raises:
        UsageError: no snnTorch neuron in it, or one that takes all steps in one call (`LeakyParallel`) without
            `own_loop`: it would take the images of a batch for steps.
    """
    neurons = [module for module in network.modules() if hasattr(module, "spike_grad") and hasattr(module, "threshold")]
    if not neurons:
        raise UsageError(f"{type(network).__name__} has no snnTorch neuron (a module with spike_grad and threshold).")
    if not own_loop and (whole := next((each for each in neurons if not hasattr(each, "reset_mem")), None)):
        raise UsageError(
            f"a neuron of class {type(whole).__name__} takes all steps in one call: show it the whole sequence inside "
            "the network's forward, and pass own_loop=True."
        )
    return Unrolled(
        network,
        timesteps,
        library="snnTorch",
        show=once if own_loop else each_step,
        own_loop=own_loop,
        reset=reset,
        slots=[Slot(neuron, "spike_grad", _ruled) for neuron in neurons],
        encode=encode,
        readout=readout,
        output=output,
    )


def reset(network: nn.Module) -> None:
    """Put every neuron to rest: `reset_mem()` gives it new tensors, so that a graph in use is left alone."""
    for module in network.modules():
        if callable(rest := getattr(module, "reset_mem", None)):
            rest()


def _ruled(neuron: Any, own: Callable[[Tensor], Tensor], rule: Surrogate) -> Callable[[Tensor], Tensor]:
    """For `spike_grad`, called with u - threshold: at the membrane for the spike, and detached for the reset."""
    return ruled_spike(own, rule, lambda: neuron.threshold)
