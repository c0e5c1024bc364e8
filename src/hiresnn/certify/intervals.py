"""Interval bounds of converted networks of integrate-and-fire neurons: L-infinity certificates of the network itself.

A neuron with leak 1 and reset by subtraction sends its spike number k at the first step t (after that of spike k - 1)
at which the sum of its input up to t exceeds k times the threshold. So if one input has a larger sum than another at
every timestep, it has caused at least as many spikes at every timestep: two runs of the neuron, on the lower and on the
upper bound of the summed input, bound its spike count exactly. What lies between two layers of neurons is affine, and
bounds pass it by interval arithmetic, |W| times the radius. The argument holds with waiting neurons as well, for which
a layer is the staircase of `hiresnn.network.rate_form`.
"""

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, fx, nn

from hiresnn.attacks.gate import Images, Labels
from hiresnn.checks import require_batch, require_classes
from hiresnn.errors import UsageError
from hiresnn.models import Normalise
from hiresnn.modes import evaluating
from hiresnn.network import SpikingNetwork
from hiresnn.network.layers import AveragePool, Encoder, SharedDropout
from hiresnn.neurons import LIF, Window

ROUNDING = 1e-5
"""Widening of each membrane's bounds, as a share of the threshold: the network itself computes in float32."""
LINEAR = (nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Identity, AveragePool)
"""Layers without an offset and with factors >= 0, which pass on midpoint and radius alike."""
RESHAPES = ("reshape", "flatten", "view", "with_time", "contiguous", torch.flatten, torch.reshape)
SIZES = ("size", "dim", getattr)


@dataclass(frozen=True)
class Interval:
    """Bounds of rows that have time, summed over the timesteps up to each; else bounds of the rows of every step."""

    middle: Tensor
    radius: Tensor


def require_intervals(network: object) -> SpikingNetwork:
    """Return the network. Raises UsageError, naming the layer, unless interval bounds hold for its neurons."""
    if not isinstance(network, SpikingNetwork):
        raise UsageError(f"interval bounds need a network of hiresnn.convert, not {type(network).__name__}.")
    if network.encoding.encoding != "direct":
        raise UsageError("interval bounds need direct encoding; certify Poisson input with --smoothing rate.")
    for name, lif in network.neurons.items():
        if lif.leak.item() != 1 or lif.reset == "zero":
            raise UsageError(
                f"layer {name!r} has a leak of {lif.leak.item():.4g} and the reset {lif.reset!r}: only with leak 1 and "
                "reset by subtraction does more input cause more spikes; convert with leak=1 and trainable=False."
            )
    return network


class _Bounds(fx.Interpreter):
    """Runs the graph of a network on intervals of images, up to its last layer."""

    def __init__(self, network: SpikingNetwork, slack: float) -> None:
        super().__init__(network.layers, garbage_collect_values=True)
        self.slack, self.last = slack, cast("fx.Node", [*network.layers.graph.nodes][-1].args[0])
        calls = [node for node in network.layers.graph.nodes if node.target == self.last.target]
        if not isinstance(self.submodules.get(str(self.last.target)), nn.Linear) or len(calls) > 1:
            raise UsageError("interval bounds need a network whose last layer is a torch.nn.Linear, called once.")

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        layer, (rows, *rest) = self.submodules[target], args
        if target == self.last.target:
            return rows
        if not isinstance(rows, Interval):
            raise self._refused(target, f"{type(layer).__name__}, on a constant")
        middle, radius = rows.middle, rows.radius
        if isinstance(layer, LIF):
            radius = radius + self.slack * layer.threshold
            lower, upper = layer(middle - radius, *rest), layer(middle + radius, *rest)
            return Interval((upper + lower) / 2, (upper - lower) / 2)
        if isinstance(layer, nn.Linear):
            return Interval(layer(middle), nn.functional.linear(radius, layer.weight.abs()))
        if isinstance(layer, nn.Conv2d):
            return Interval(layer(middle), layer._conv_forward(radius, layer.weight.abs(), None))
        if isinstance(layer, Normalise):
            return Interval(layer(middle), radius / layer.std)
        if isinstance(layer, (Encoder, SharedDropout)):
            return rows
        if isinstance(layer, LINEAR):
            return Interval(layer(middle, *rest), layer(radius, *rest))
        raise self._refused(target, type(layer).__name__)

    def call_method(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self._called(target, args, kwargs, super().call_method)

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self._called(target, args, kwargs, super().call_function)

    def _called(self, target: Any, args: Any, kwargs: Any, run: Callable[..., Any]) -> Any:
        parts: list[Any] = []
        fx.node.map_aggregate((args, kwargs), parts.append)
        count = sum(isinstance(part, Interval) for part in parts)
        if not count:
            return run(target, args, kwargs)
        if target in (operator.add, operator.iadd, torch.add) and count == len(parts) == 2:
            return Interval(args[0].middle + args[1].middle, args[0].radius + args[1].radius)
        if count == 1 and (target in SIZES or target in RESHAPES):

            def half(name: str) -> Any:
                values = fx.node.map_aggregate(args, lambda part: getattr(part, name, part))
                return run(target, values, kwargs)

            middle = half("middle")
            if target in RESHAPES:
                return Interval(middle, half("radius"))
            if not isinstance(middle, Tensor):
                return middle
        raise self._refused(str(target), "this operation")

    def _refused(self, layer: str, kind: str) -> UsageError:
        return UsageError(
            f"interval bounds do not know {layer!r} ({kind}): they pass convolutions, linear layers, average pooling, "
            "additions, reshapes and neurons."
        )


def margins(
    network: SpikingNetwork, images: Images, labels: Labels, eps: Tensor | float, *, slack: float = 0.0
) -> Float[Tensor, "batch classes"]:
    """Return lower bounds of logit of the label - logit of each class, [B, K], over all images within `eps`.

    An image is certified if all its bounds but that of the label, which is 0, are above 0. The bounds have a gradient,
    with the surrogate of the neurons, so that networks can be trained for them (interval bound propagation, Gowal et
    al., ICCV 2019). Dropout is left out.

    Args:
        eps: L-infinity bound in pixel units, one number or one for each image, [B].
        slack: widening of each membrane's bounds, as a share of the threshold.
    """
    radius = torch.as_tensor(eps, dtype=images.dtype, device=images.device).view(-1, 1, 1, 1)
    low, high = (images - radius).clamp(0, 1), (images + radius).clamp(0, 1)
    window = Window(network.timesteps, len(images))
    runner = _Bounds(network, slack)
    rows = runner.run(Interval((high + low) / 2, (high - low) / 2), window)
    middle, radius = (window.by_step(half).sum(0) for half in (rows.middle, rows.radius))
    last = cast("nn.Linear", runner.submodules[runner.last.target])
    weight = last.weight[labels, None] - last.weight  # [B, K, features]; differences are bounded tighter than logits
    bound = torch.einsum("bkf,bf->bk", weight, middle) - torch.einsum("bkf,bf->bk", weight.abs(), radius)
    return bound if last.bias is None else bound + network.timesteps * (last.bias[labels, None] - last.bias)


@torch.no_grad()
def certify_intervals(
    network: SpikingNetwork,
    images: Images,
    labels: Labels,
    *,
    largest: float = 0.5,
    steps: int = 12,
    batch_size: int = 100,
    advance: Callable[[int], object] = lambda count: None,
) -> Float[Tensor, " images"]:
    """Return for each image the largest bound found, in pixel units, at which the network provably answers the label.

    Args:
        network: converted, with integrate-and-fire neurons: leak 1, reset by subtraction; in eval mode meanwhile.
        images, labels: [N, C, H, W] in [0, 1], and [N].
        largest: bound at which the search begins; it halves the interval `steps` times.
        batch_size: images at once. advance: called with the number of images after each batch.

    Returns:
        Radii [N], 0 for images that are not certified at any bound, also misclassified ones.

    Raises:
        UsageError: other neurons, or an operation that the bounds do not know.
    """
    require_batch(images, labels)
    double = copy.deepcopy(require_intervals(network)).double()
    radii = []
    with evaluating(double):
        for part, answers in zip(
            torch.split(images.double(), batch_size), torch.split(labels.long(), batch_size), strict=True
        ):
            low, high = torch.zeros_like(part[:, 0, 0, 0]), torch.full_like(part[:, 0, 0, 0], 2 * largest)
            for _ in range(steps + 1):
                middle = (low + high) / 2
                bounds = margins(double, part, answers, middle, slack=ROUNDING)
                require_classes(answers, bounds.shape[1])
                safe = (bounds.scatter(1, answers[:, None], torch.inf) > 0).all(1)
                low, high = torch.where(safe, middle, low), torch.where(safe, high, middle)
            radii.append(low.cpu())
            advance(len(part))
    return torch.cat(radii) if radii else torch.zeros(0, dtype=torch.float64)
