"""Record the spikes of a network of another library: what leaves its layers of neurons, by timestep and image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.foreign.unrolled import Layout, Unrolled, picked


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
            found = parts[0] if len(parts) == 1 else torch.cat(parts)
            require_steps(name, len(found), network.timesteps)
            if bool((found != found.round()).any()):
                raise UsageError(f"layer {name!r} returns numbers that are not whole, so they are no spikes.")
            spikes[name] = found

    with ExitStack() as stack:
        stack.enter_context(network.register_forward_pre_hook(start))
        stack.enter_context(network.register_forward_hook(finish))
        for name, layer in network.spiking.items():
            stack.enter_context(layer.register_forward_hook(partial(save, name)))
        yield spikes


def in_steps(name: str, rows: Tensor, timesteps: int, batch: int, layout: Layout) -> Tensor:
    """View what a layer gets or returns in one call as [steps, B, ...]; steps is T, or 1 where a call is one step.

    Raises:
        UsageError: the shape does not say which rows belong to which image and step.
    """
    shape = tuple(rows.shape)
    one_step, flat = shape[:1] == (batch,), shape[:1] == (timesteps * batch,)
    sequence = shape[:2] == (timesteps, batch) and (timesteps > 1 or layout == "sequence")
    if layout == "batch first" and shape[:2] == (batch, timesteps):
        return rows.transpose(0, 1)
    if layout == "batch first" and flat:
        return rows.reshape(batch, timesteps, *shape[1:]).transpose(0, 1)
    if layout == "sequence" and sequence:
        return rows
    if one_step and (layout == "steps" or not sequence):
        return rows[None]
    if sequence and not one_step:
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
