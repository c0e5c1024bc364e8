"""Networks of sinabs: layers with `spike_fn`, `surrogate_grad_fn` and `spike_threshold`, time folded into the batch.

sinabs takes [B, T, ...], or [B*T, ...] where its layers are the Squeeze ones; those are told T for each call, so
that the batch may have any size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.foreign.slot import Slot
from hiresnn.foreign.unrolled import Readout, Unrolled, picked
from hiresnn.neurons.surrogate import Surrogate


def sinabs(
    network: nn.Module,
    timesteps: int,
    *,
    encode: Callable[[Tensor], Tensor] | None = None,
    readout: Readout = "mean",
) -> Unrolled:
    """A sinabs network as a model.

    Args:
        network: layers of sinabs, all Squeeze or none; what `sinabs.from_torch.from_model` makes is Squeeze.
        timesteps: T, at least 1.
        encode, readout: see `Unrolled`.

    Raises:
        UsageError: no sinabs neuron in it.
    """
    neurons = [module for module in network.modules() if getattr(module, "surrogate_grad_fn", None) is not None]
    if not neurons:
        raise UsageError(f"{type(network).__name__} has no sinabs neuron (a module with surrogate_grad_fn).")
    return Unrolled(
        network,
        timesteps,
        library="sinabs",
        show=_folded,
        reset=reset,
        slots=[Slot(neuron, "surrogate_grad_fn", _ruled) for neuron in neurons],
        encode=encode,
        readout=readout,
    )


def reset(network: nn.Module) -> None:
    """Take the state of every layer away; it is made anew, zero, at the next call.

    Not by `reset_states()`: that writes zeros into tensors which a backward pass may still need, and a state of
    another batch size is then drawn from at random, which costs the global generator draws.
    """
    for layer in network.modules():
        if hasattr(layer, "reset_states"):
            for name, state in layer.named_buffers(recurse=False):
                setattr(layer, name, state.new_zeros(0))


def _folded(network: nn.Module, steps: Tensor, output: int) -> Tensor:
    """One call for all steps, [B, T, ...] or [B*T, ...] -> [T, B, K]."""
    timesteps, batch = steps.shape[:2]
    squeezed = [m for m in network.modules() if hasattr(m, "squeeze_forward")]
    steps = steps.transpose(0, 1)
    if not squeezed:
        return picked(network(steps), output).transpose(0, 1)
    with _told(squeezed, timesteps):
        outputs = picked(network(steps.flatten(0, 1)), output)
    return outputs.reshape(batch, timesteps, *outputs.shape[1:]).transpose(0, 1)


@contextmanager
def _told(layers: list[Any], timesteps: int) -> Iterator[None]:
    before = [(layer.batch_size, layer.num_timesteps) for layer in layers]
    try:
        for layer in layers:
            layer.batch_size, layer.num_timesteps = -1, timesteps
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer.batch_size, layer.num_timesteps = was


def _ruled(neuron: Any, own: Any, rule: Surrogate) -> Callable[[Tensor, Tensor], Tensor]:
    """For `surrogate_grad_fn`, (membrane u, threshold) -> d spike / d u; the spike itself is made elsewhere.

    Where a neuron may spike several times a step (MultiSpike, MaxSpike), the next spike is due at each multiple of
    the threshold, and z is counted from the nearest one.
    """
    once = getattr(neuron.spike_fn, "__name__", "") == "SingleSpike"

    def slope(u: Tensor, threshold: Tensor) -> Tensor:
        level = u / threshold
        return rule(level - (1 if once else level.round().clamp(min=1))) / threshold

    return slope
