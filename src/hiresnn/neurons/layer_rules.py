"""Rules that replace the backward pass of a whole LIF layer over all timesteps.

An elementwise rule gives d spike / d z of one membrane. A layer rule gets all membranes of a layer over all timesteps
and returns the gradient of the input current, so it can average over time, cut the recurrence, use only rates, or take
its width from the membranes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hiresnn.errors import UsageError
from hiresnn.neurons.lif import Condition, Reset, Scan, fires, lif_steps
from hiresnn.neurons.surrogate import Linear, Positive, Surrogate, triangular

HART_WIDTHS = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5)
"""Widths to try for `HART`; the best one depends on the network."""


class LayerPass(NamedTuple):
    """The backward pass of one layer; tensors are float32 or wider.

    Attributes:
        current: what entered the layer, [T, B, ...], repeated where it is constant in time.
        threshold: v_t, a scalar.
        leak: a scalar.
        m: [B, ...] in the membrane before the first step, from an earlier window or the neuron's start; None for 0.
        grad: gradient of the spikes, [T, B, ...].
        reset, condition: of the neuron, see `lif_steps`.
    """

    current: Tensor
    threshold: Tensor
    leak: Tensor
    m: Tensor | None
    grad: Tensor
    reset: Reset
    condition: Condition = ">"


class LayerRule(ABC):
    """A rule that computes the gradient of a layer's input current.

    The forward pass is unchanged. Threshold and leak get no gradient, so a layer rule is for attacking a network, not
    for training it. Where the forward pass is compiled, the rule is compiled too.
    """

    @abstractmethod
    def backward(self, layer: LayerPass) -> Tensor:
        """Return the gradient of the current, [T, B, ...]."""

    def fresh(self) -> LayerRule:
        """Return the rule for one layer and one attack: itself, unless it collects statistics."""
        return self


def layer_backward(rule: LayerRule, *arguments: Any) -> Tensor:
    """Return the gradient of the current by a rule; `arguments` are the fields of `LayerPass`."""
    return rule.backward(LayerPass(*arguments))


def membranes(layer: LayerPass) -> Tensor:
    """Return the normalised membranes z = u / v_t - 1 at every step (Eq. 1, 2), [T, B, ...]."""
    scan = Scan(len(layer.current), True, layer.reset, condition=layer.condition)
    return torch.stack([z for _, z, _, _ in lif_steps(layer.current, layer.m, layer.threshold, layer.leak, scan)])


@dataclass(frozen=True, kw_only=True)
class ThroughTime(LayerRule):
    """Backpropagation through time with d spike / d z = `slope`.

    Args:
        through_reset: pass on the gradient of the spike inside the reset; Eq. 5 detaches it.
        cut_time: drop the gradient from one step to the one before.
    """

    through_reset: bool = False
    cut_time: bool = False

    @abstractmethod
    def slope(self, z: Tensor) -> Tensor:
        """Return d spike / d z for the membranes z [T, B, ...]."""

    def backward(self, layer: LayerPass) -> Tensor:
        z = membranes(layer)
        slope = self.slope(z)
        direct = layer.grad * slope / layer.threshold
        if self.cut_time:
            return direct
        kept = layer.leak.expand(slope.shape)
        if layer.reset == "zero":
            kept = kept * ~fires(z, layer.condition)
        if self.through_reset:  # d(threshold * spike) / du = slope, and d spike / du * u = slope * (z + 1)
            within = layer.leak * (z + 1) if layer.reset == "zero" else layer.leak
            kept = kept - slope * (1 if layer.reset == "subtract-unleaked" else within)
        steps = [direct[-1]]
        for t in reversed(range(len(slope) - 1)):
            steps.append(direct[t] + kept[t] * steps[-1])
        return torch.stack(steps[::-1])


@dataclass(frozen=True)
class Unrolled(ThroughTime):
    """An elementwise rule (default: linear) through time; without the flags reset and cut it equals that rule.

    Args:
        surrogate: z -> d spike / d z.
        through_reset, cut_time: see `ThroughTime`.
    """

    surrogate: Surrogate = Linear()  # noqa: RUF009  frozen

    def slope(self, z: Tensor) -> Tensor:
        return self.surrogate(z)


@dataclass(frozen=True)
class HART(Positive, LayerRule):
    """Rate and time (Hao et al., ICLR 2024): averages the layer's gradient over time; no gradient between timesteps.

    grad I[t] = mean over steps of grad s * max(0, 1 - |z| / width) / (width v_t), the same at every t.

    Args:
        width: of the triangular rule, in units of z; above 0 and finite. Choose it per model, see `HART_WIDTHS`.
    """

    width: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if math.isinf(self.width):  # the slope would be 0 everywhere, and a failed attack would look like robustness
            raise UsageError("HART rule: width is inf, so its gradient would be 0; choose a finite one.")

    def backward(self, layer: LayerPass) -> Tensor:
        slope = triangular(self.width)(membranes(layer))
        return (layer.grad * slope / layer.threshold).mean(0).expand(layer.current.shape)


@dataclass(frozen=True)
class BPTR(LayerRule):
    """Backward pass through rate (Ding et al., SNN-RAT, 2022): grad / v_t where a neuron ever spiked, else 0."""

    def backward(self, layer: LayerPass) -> Tensor:
        return layer.grad * fires(membranes(layer), layer.condition).any(0) / layer.threshold


@dataclass(frozen=True)
class RGA(LayerRule):
    """Rate gradient approximation (Bu et al., CVPR 2023): the slope of a LIF's rate over its mean current.

    With x = mean over steps of I / v_t and the leak tau, the slope is g where 0 <= x <= 1 - tau, an input for which a
    leaky neuron never spikes, and (1 - g + g tau) / (tau + 1) where 1 - tau <= x <= 2.

    Args:
        g: slope below the rheobase, in (0, 1].
    """

    g: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.g <= 1:
            raise UsageError(f"RGA rule: g is {self.g}; it must lie in (0, 1].")

    def backward(self, layer: LayerPass) -> Tensor:
        x, leak = _mean_current(layer), layer.leak
        above = ((x >= 1 - leak) & (x <= 2)) * ((1 - self.g + self.g * leak) / (leak + 1))
        below = ((x >= 0) & (x < 1 - leak)) * self.g
        return layer.grad * (above + below) / layer.threshold


@dataclass(frozen=True)
class Conversion(Positive, LayerRule):
    """The backward pass of the ANN that the SNN was converted from (Sharmin et al. 2020; CBA in SNN-RAT).

    The layer counts as a clipped ReLU of its mean input: grad / v_t where 0 < mean I / v_t < ceiling, else 0.

    Args:
        ceiling: spikes per step at which the ReLU is clipped; above 0. A neuron emits at most 1; inf never clips.
    """

    ceiling: float = 1.0

    def backward(self, layer: LayerPass) -> Tensor:
        x = _mean_current(layer)
        return layer.grad * ((x > 0) & (x < self.ceiling)) / layer.threshold


def _mean_current(layer: LayerPass) -> Tensor:
    """Mean current per step in units of the threshold, including what an earlier window left: [B, ...]."""
    charge = layer.current.sum(0)
    return (charge if layer.m is None else charge + layer.m) / len(layer.current) / layer.threshold


@dataclass(frozen=True, eq=False)
class ASSG(ThroughTime):
    """Adaptive sharpness (Wang et al., CVPR 2026): an arctan whose sharpness adapts to each membrane.

    For each neuron, sample and step, with every backward pass of an attack:
    M = decay M + (1 - decay) |z|; D = decay D + (1 - decay) ||z| - M|, from 0;
    alpha = a / (M + relax D + 1e-4), a = 2 tan(pi vanishing / 2) / pi;
    d spike / d z = (alpha / 2) / (1 + (pi alpha z / 2)^2).

    The published M starts at 1, of which decay^k is left after k backward passes. By default M starts from |z| of the
    first pass. Neither start is clearly stronger (docs/attacks.md).

    The statistics belong to one layer and one attack. `gradient_rule` gives every layer a fresh rule each time it is
    entered, and they restart when the shape of the batch changes. So enter it once per attack, with an attack that
    keeps its batch together (SA-PGD, APGD).

    Args:
        vanishing: expected share of the gradient that vanishes, in (0, 1).
        relax: weight of the deviation D, at least 0.
        decay: memory of both averages, in [0, 1).
        start: what M starts from, at least 0: 1 as published, 0 for |z| of the first pass.
        through_reset, cut_time: see `ThroughTime`.
    """

    vanishing: float = 0.85
    relax: float = 1.5
    decay: float = 0.9
    start: float = 0.0
    statistics: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.vanishing < 1:
            raise UsageError(f"ASSG rule: vanishing is {self.vanishing}; it must lie in (0, 1).")
        if not 0 <= self.decay < 1:
            raise UsageError(f"ASSG rule: decay is {self.decay}; it must lie in [0, 1).")
        for name in ("relax", "start"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"ASSG rule: {name} is {getattr(self, name)}; it must not be negative.")

    def fresh(self) -> ASSG:
        return replace(self)

    def sharpness(self, z: Tensor) -> Tensor:
        """Add the membranes of one more backward pass to the statistics; return alpha, [T, B, ...]."""
        size, averages = z.abs(), self.statistics
        if "level" not in averages or averages["level"].shape != z.shape:
            averages["level"] = torch.full_like(z, self.start) if self.start else size
            averages["spread"] = torch.zeros_like(z)
        averages["level"] = torch.lerp(size, averages["level"], self.decay)
        averages["spread"] = torch.lerp((size - averages["level"]).abs(), averages["spread"], self.decay)
        width = averages["level"] + self.relax * averages["spread"] + 1e-4
        return 2 * math.tan(math.pi / 2 * self.vanishing) / math.pi / width

    def slope(self, z: Tensor) -> Tensor:
        alpha = self.sharpness(z)
        return (alpha / 2) / (1 + (math.pi / 2 * alpha * z).square())


@dataclass(frozen=True)
class PDSG(ThroughTime):
    """Potential-dependent (Lun et al., CVPR 2025): a Gaussian whose width is the channel's standard deviation of z.

    d spike / d z = exp(-(z - shift sigma)^2 / (2 sigma^2)) / (sqrt(2 pi) sigma), with sigma the standard deviation of z
    over the batch, the places and the steps so far: per channel of a feature map, per neuron of a linear layer, and 1
    where nothing varies. So the gradient of a sample depends slightly on the batch that it is in.

    Args:
        shift: centre of the Gaussian in units of sigma.
        through_reset, cut_time: see `ThroughTime`.
    """

    shift: float = 0.5

    def slope(self, z: Tensor) -> Tensor:
        sigma = torch.stack([_spread(z[: t + 1]) for t in range(len(z))])
        return torch.exp(-(z / sigma - self.shift).square() / 2) / (math.sqrt(2 * math.pi) * sigma)


def _spread(z: Tensor) -> Tensor:
    """Return the standard deviation of z [time, batch, channel, ...] per channel, to broadcast over [batch, ...]."""
    averaged = [d for d in range(z.dim()) if d != 2]
    sigma = z.std(averaged, correction=min(1, math.prod(z.shape[d] for d in averaged) - 1), keepdim=True)[0]
    return torch.where(sigma > 0, sigma, 1.0)
