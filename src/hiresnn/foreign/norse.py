"""Networks of norse: state is passed explicitly, `out, state = network(x, state)`.

norse chooses its surrogate by a name in the parameters of a neuron (`p.method`, `p.alpha`) and computes it inside
the step, so there is no place to swap a rule in: such a network is attacked with its own surrogate alone.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.foreign.unrolled import Readout, Unrolled, picked, whole_sequence

SEQUENCES = frozenset({"SNN", "SNNRecurrent"})
"""Bases of the modules that take [T, B, ...]; their cells take one step."""


def norse(
    network: nn.Module,
    timesteps: int,
    *,
    encode: Callable[[Tensor], Tensor] | None = None,
    readout: Readout = "mean",
) -> Unrolled:
    """A norse network as a model.

    Args:
        network: `SequentialState` or a module with the same signature, of cells (a step a call) or of modules
            such as `LIF` (a sequence [T, B, ...] a call).
        timesteps: T, at least 1.
        encode, readout: see `Unrolled`.

    Raises:
        UsageError: no norse neuron in it, or cells and sequence modules mixed.
    """
    neurons = [module for module in network.modules() if hasattr(getattr(module, "p", None), "method")]
    if not neurons:
        raise UsageError(f"{type(network).__name__} has no norse neuron (a module with parameters p.method).")
    sequences = {bool({kind.__name__ for kind in type(neuron).__mro__} & SEQUENCES) for neuron in neurons}
    if len(sequences) > 1:
        raise UsageError("it has both cells and modules of sequences: use one kind, LIFCell or LIF.")
    show = whole_sequence if sequences == {True} else _step_by_step
    return Unrolled(network, timesteps, library="norse", show=show, encode=encode, readout=readout)


def _step_by_step(network: nn.Module, steps: Tensor, output: int) -> Tensor:
    """One call a step with the state that the call before it returned; None at rest."""
    state, outputs = None, []
    for step in steps:
        result = network(step, state)
        state = result[1]
        outputs.append(picked(result, output))
    return torch.stack(outputs)
