"""Rules that replace the backward pass of a whole LIF layer: the contract, and backpropagation through time.

An elementwise rule answers d spike / d z for one membrane. A layer rule sees all membranes of a layer over all
timesteps and returns the gradient of its input current, so it may average over time, cut the recurrence or
forget the membranes altogether.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hiresnn.neurons.compiled import kernel
from hiresnn.neurons.lif import Reset, Scan, lif_steps


class LayerRule(ABC):
    """What stands for the gradient of a layer's spikes in its input current.

    The forward pass is untouched. Threshold and leak get no gradient: a layer rule is for attacking a network,
    not for training one. Where the forward pass is fused it is compiled too, with all that it calls.
    """

    @abstractmethod
    def scan_backward(
        self,
        current: Float[Tensor, "time batch ..."],
        threshold: Float[Tensor, ""],
        leak: Float[Tensor, ""],
        residue: Float[Tensor, "batch ..."] | None,
        grad: Float[Tensor, "time batch ..."],
        reset: Reset,
    ) -> Float[Tensor, "time batch ..."]:
        """Gradient of the current at each step from `grad`, that of the spikes; float32 at least.

        Args:
            current: what entered the layer, in units of the membrane, repeated where it has no time.
            residue: what an earlier window left behind, None at rest.
        """

    def fresh(self) -> LayerRule:
        """The rule as one layer uses it during one attack: itself, unless it keeps statistics."""
        return self


def layer_backward(fused: bool) -> Callable[..., Tensor]:
    """(rule, *arguments of its scan_backward) -> gradient of the current; compiled where `fused`."""
    return kernel(_backward, fused, whole=False)  # a rule may be a user's own


def _backward(rule: LayerRule, *arguments: Any) -> Tensor:
    return rule.scan_backward(*arguments)


def membranes(
    current: Float[Tensor, "time batch ..."],
    threshold: Float[Tensor, ""],
    leak: Float[Tensor, ""],
    residue: Float[Tensor, "batch ..."] | None,
    reset: Reset,
) -> Float[Tensor, "time batch ..."]:
    """Normalised membranes z = u / threshold - 1 at every step (Eq. 1, 2)."""
    scan = Scan(len(current), True, reset)
    return torch.stack([z for _, z, _, _ in lif_steps(current, residue, threshold, leak, scan)])


def through_time(
    slope: Float[Tensor, "time batch ..."],
    threshold: Float[Tensor, ""],
    leak: Float[Tensor, ""],
    grad: Float[Tensor, "time batch ..."],
    reset: Reset,
    *,
    through_reset: bool,
    cut_time: bool,
) -> Float[Tensor, "time batch ..."]:
    """Backpropagation through time with d spike / d z = `slope`.

    Args:
        through_reset: the spike inside the reset passes its gradient on; Eq. 5 detaches it.
        cut_time: no gradient from a step to the one before it.
    """
    direct = grad * slope / threshold
    if cut_time:
        return direct
    kept = leak.expand(slope.shape)
    if through_reset:  # d(threshold * spike) / du = slope
        kept = kept - slope * (leak if reset == "subtract" else 1)
    steps = [direct[-1]]
    for t in reversed(range(len(slope) - 1)):
        steps.append(direct[t] + kept[t] * steps[-1])
    return torch.stack(steps[::-1])
