"""The rate form of a network: weights see the mean over time once, instead of the spikes of T timesteps.

Neurons that wait for the current of all timesteps, do not leak and reset by subtraction send a number of spikes that
depends on the sum of the current alone (Eq. 1 and 2, summed over T):

    spikes = clip(floor(sum of I / v_t + v_init), 0, T)          (ceil(...) - 1 where they spike above the threshold)

What is affine between two layers of neurons passes on the mean over time, and so does a maximum, because the spikes of
such a neuron come at its first timesteps. So a network of such neurons *is* a quantised ANN: the QCFS network of Bu et
al. (ICLR 2022) where v_init is 1/2.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard, cast

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn
from torch.autograd.function import once_differentiable

from hiresnn.errors import UsageError
from hiresnn.network.spiking import SpikingNetwork
from hiresnn.neurons import LIF, Window
from hiresnn.neurons.compiled import kernel
from hiresnn.neurons.layer import flat, folded, layout_of
from hiresnn.neurons.lif import Scan, fires
from hiresnn.neurons.rules import LayerRule, Surrogate

CHECKED, TOLERANCE = 32, 1e-6
"""Images on which both forms are compared, and the allowed difference of their logits, relative to the largest."""


class NotExactError(UsageError):
    """A network has no rate form: the number of spikes depends on when its input arrives."""


def _steps(current: Tensor, v_t: Tensor, scan: Scan) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield z and spike of every timestep (Eq. 1, 2); where `scan.timed` all current arrives at the first one."""
    current = current.to(torch.promote_types(current.dtype, torch.float32))
    m = scan.start * v_t + (scan.timesteps * current if scan.timed else 0)
    for _ in range(scan.timesteps):
        u = m if scan.timed else m + current
        z = u / v_t - 1
        spike = fires(z, scan.condition).to(u.dtype)
        m = u - v_t * spike
        yield z, spike


def rate_forward(current: Tensor, v_t: Tensor, scan: Scan) -> Tensor:
    """Return spikes per step of neurons with the mean `current`; same shape and dtype."""
    spikes = functools.reduce(torch.add, (spike for _, spike in _steps(current, v_t, scan)))
    return (spikes / scan.timesteps).to(current.dtype)


def rate_backward(current: Tensor, v_t: Tensor, grad: Tensor, scan: Scan, surrogate: Surrogate) -> Tensor:
    """Return the gradient of the mean current: that of all timesteps through time, as the reset is detached."""
    slope: Tensor | float = 0.0
    for t, (z, _) in enumerate(_steps(current, v_t, scan), start=1):
        # A current that arrives at the first step moves every later membrane T times as much as its mean; one that is
        # the same at every step has been added t times by then.
        slope = slope + surrogate(z) * (1 if scan.timed else t / scan.timesteps)
    return (grad * slope / v_t).to(current.dtype)


class _RateScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, current: Tensor, v_t: Tensor, scan: Scan, surrogate: Surrogate, fused: bool) -> Tensor:
        ctx.save_for_backward(current, v_t)
        ctx.scan, ctx.surrogate, ctx.fused, layout = scan, surrogate, fused, layout_of(current)
        rates: Tensor = kernel(rate_forward, fused)(flat(current, layout, (-1,)), v_t, scan)
        return folded(rates, layout, current.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (current, v_t), layout = ctx.saved_tensors, layout_of(ctx.saved_tensors[0])
        values = flat(current, layout, (-1,)), v_t, flat(grad, layout, (-1,)), ctx.scan, ctx.surrogate
        return folded(kernel(rate_backward, ctx.fused)(*values), layout, current.shape), *(None,) * 4


_rate_scan = cast("Callable[..., Tensor]", _RateScan.apply)


class _Rates(nn.Module):
    """Stands where the network has a layer of neurons: the mean current -> spikes per step, in [0, 1]."""

    def __init__(self, lif: LIF, timesteps: int, quantised: bool) -> None:
        super().__init__()
        self.lif, self.timesteps, self.quantised = lif, timesteps, quantised

    def forward(self, current: Tensor, window: Window, timed: bool = True) -> Tensor:
        lif = self.lif
        if not self.quantised:
            return (current / lif.threshold).clamp(0, 1)
        if not isinstance(lif.surrogate, LayerRule):
            scan = Scan(self.timesteps, timed, "subtract", lif.v_init, ">=" if lif.fires_at_threshold else ">")
            return _rate_scan(current, lif.threshold, scan, lif.surrogate, window.fused)
        whole = Window(self.timesteps, window.batch, fused=window.fused)  # such a rule sees all timesteps
        return whole.by_step(lif(whole.with_time(current) if timed else current, whole, timed)).mean(0)


class RateForm(nn.Module):
    """Images -> the logits of a spiking network of waiting neurons, with one pass through its weights instead of T.

    Its neurons run all T timesteps, so gradients are those of the network, too, under every gradient rule. It shares
    the weights and thresholds of the network: training one form trains both.

    Args:
        network: its neurons wait (see `Neuron`), have a leak of 1 and reset by subtraction, as `convert(exact=True)`
            makes them.
        quantised: False replaces each layer of neurons by clip(mean I / v_t, 0, 1), the activation that their spikes
            round to T levels.

    Raises:
        NotExactError: the number of spikes of a layer depends on when its input arrives.

    Example:
        >>> fast = RateForm(network)  # doctest: +SKIP
        >>> torch.allclose(fast(images), network(images), rtol=1e-4)  # doctest: +SKIP
        True
    """

    def __init__(self, network: SpikingNetwork, *, quantised: bool = True) -> None:
        super().__init__()
        _require_exact(network)
        self.timesteps = network.timesteps
        self._of = (network,)  # in a tuple, so that its weights do not count twice
        self.layers = fx.GraphModule(network.layers, network.layers.graph)  # its layers are those of the network
        for name, lif in network.neurons.items():
            self.layers.add_submodule(name, _Rates(lif, network.timesteps, quantised))
        self.train(network.training)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch classes"]:
        """Return logits [B, K], summed over T as those of the network."""
        fused = self._of[0].fused  # the network may have been compiled since
        rows: Tensor = self.layers(images, Window(1, len(images), fused=fused))
        return self.timesteps * rows.to(torch.promote_types(rows.dtype, torch.float32))


def has_rate_form(model: object) -> TypeGuard[SpikingNetwork]:
    """Whether a model is a spiking network with a rate form."""
    if not isinstance(model, SpikingNetwork):
        return False
    try:
        _require_exact(model)
    except NotExactError:
        return False
    return True


def _require_exact(network: SpikingNetwork) -> None:
    """Raise NotExactError, naming the layer, where the number of spikes depends on when the input arrives."""
    if network.encoding.encoding != "direct":
        raise NotExactError("Poisson spikes and event grids have no rate form; convert with direct encoding.")
    for name, lif in network.neurons.items():
        if not lif.wait or lif.reset == "zero" or lif.leak.item() != 1 or lif.leak.requires_grad:
            raise NotExactError(
                f"layer {name!r} has no rate form, because its spikes depend on when its input arrives, or its leak is "
                "trained; convert with exact=True (conversion.exact = true in a recipe)."
            )


@torch.no_grad()
def check_forms(network: SpikingNetwork, images: Tensor) -> None:
    """Compare a network with its rate form, in double precision, on the first of `images` in [0, 1].

    In float32 a current within rounding of a threshold may send one spike more or less; in float64 this is too rare to
    be seen, so that what differs is the structure.

    Raises:
        NotExactError: the logits differ.
    """
    double, images = copy.deepcopy(network).double().eval(), images[:CHECKED].double()
    spiking, rate = double(images), RateForm(double)(images)
    if not torch.allclose(spiking, rate, rtol=0, atol=TOLERANCE * float(spiking.abs().max())):
        raise NotExactError(
            "the network and its rate form give other logits, so an operation between its neurons is not affine in the "
            "spikes, such as a product of two layers; leave it out, or convert without exact (conversion.exact = false "
            "in a recipe)."
        )
