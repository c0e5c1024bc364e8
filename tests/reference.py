"""The reference of the tests: LIF, spiking network and Algorithm 1 in slow float64 loops, without the package.

A spiking network is its ANN, run once per timestep, with a stateful neuron in the place of every ReLU.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

RELUS = (F.relu, F.relu_, F.relu6, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_)


class Spike(torch.autograd.Function):
    """1 where z > 0 (Eq. 2), with the gradient 0.3 max(0, 1 - |z|) of Eq. 5, or of an arctan of sharpness `alpha`.

    With `inclusive` it is 1 at z = 0 as well.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, alpha: float | None = None, inclusive: bool = False) -> Tensor:
        ctx.save_for_backward(z)
        ctx.alpha = alpha
        return (z >= 0 if inclusive else z > 0).to(z)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (z,) = ctx.saved_tensors
        if ctx.alpha is not None:
            return grad / (1 + (torch.pi / 2 * ctx.alpha * z) ** 2) * ctx.alpha / 2, None, None
        return grad * 0.3 * torch.relu(1 - z.abs()), None, None


@dataclass
class Neuron:
    """A layer of LIF neurons that takes one step per call; the spike in the reset is detached."""

    threshold: Tensor
    leak: Tensor
    reset: str = "subtract"
    start: float = 0.0  # membrane at rest, as a fraction of the threshold
    condition: str = ">"
    m: Tensor | None = None  # left by the step before, after leak and reset
    spikes: list[Tensor] = field(default_factory=list)

    def __call__(self, current: Tensor) -> Tensor:
        u = current + (self.start * self.threshold if self.m is None else self.m)
        spike = Spike.apply(u / self.threshold - 1, None, self.condition == ">=")
        fired = self.threshold * spike.detach()
        if self.reset == "zero":
            self.m = self.leak * torch.where(spike.detach() > 0, 0.0, u)
        else:
            self.m = self.leak * (u - fired) if self.reset == "subtract" else self.leak * u - fired
        self.spikes.append(spike)
        return spike


class ReferenceNetwork:
    """An ANN as a spiking network, one timestep after another.

    Args:
        ann: stateless; a copy in eval mode and float64 is used. Its ReLUs become neurons, in the order of their calls.
        thresholds, leaks: one number per ReLU call.
    """

    def __init__(
        self,
        ann: nn.Module,
        thresholds: list[float],
        leaks: list[float],
        reset: str = "subtract",
        start: float = 0.0,
        condition: str = ">",
    ) -> None:
        self.ann = copy.deepcopy(ann).double().eval()
        self.thresholds = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in thresholds]
        self.leaks = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in leaks]
        self.reset, self.start, self.condition = reset, start, condition
        self.rest()

    @classmethod
    def of(cls, ann: nn.Module, network: Any) -> ReferenceNetwork:
        """The reference of `network`, a converted `ann` whose neurons are called in the order of their names."""
        neurons = list(network.neurons.values())
        numbers = [neuron.threshold.item() for neuron in neurons], [neuron.leak.item() for neuron in neurons]
        return cls(ann, *numbers, neurons[0].reset, neurons[0].v_init, neurons[0].neuron.condition)

    @property
    def parameters(self) -> list[Tensor]:
        """Weights, then thresholds, then leaks."""
        return [*self.ann.parameters(), *self.thresholds, *self.leaks]

    def rest(self) -> None:
        """Put every membrane to rest and forget the spikes."""
        values = zip(self.thresholds, self.leaks, strict=True)
        kind = self.reset, self.start, self.condition
        self.neurons = [Neuron(threshold, leak, *kind) for threshold, leak in values]

    def __call__(self, images: Tensor, timesteps: int) -> Tensor:
        """Logits: the ANN's output, summed over `timesteps` steps."""
        total: Tensor | int = 0
        for _ in range(timesteps):
            with _Spiking(iter(self.neurons)):
                total = total + self.ann(images.double())
        return total

    @property
    def spikes(self) -> list[Tensor]:
        """The spikes of each layer, [T, ...]."""
        return [torch.stack(neuron.spikes) for neuron in self.neurons]


class _Spiking(TorchFunctionMode):
    def __init__(self, neurons: Any) -> None:
        super().__init__()
        self.neurons = neurons

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in RELUS:
            return next(self.neurons)(args[0] if args else kwargs["input"])
        return func(*args, **(kwargs or {}))


@dataclass
class Algorithm1:
    """HIRE-SNN by plain gradient descent: `periods` updates per batch, each at the old weights, and kappa (Eq. 6)."""

    network: ReferenceNetwork
    kappa: Tensor
    rate: float
    step: float
    bound: float
    losses: list[float] = field(default_factory=list)

    def batch(self, images: Tensor, labels: Tensor, timesteps: int, periods: int, carry: bool = False) -> None:
        """Train on one batch; `carry` lets membranes and logits go on from period to period."""
        network, rows, summed = self.network, len(images), torch.zeros(())
        network.rest()
        for _ in range(periods):
            if not carry:
                network.rest()
                summed = torch.zeros(())
            shown = (images + self.kappa[:rows]).clamp(0, 1).detach().requires_grad_()
            summed = summed + network(shown, timesteps // periods)
            loss = -summed.log_softmax(1)[range(rows), labels].mean()
            *gradients, to_image = torch.autograd.grad(loss, [*network.parameters, shown], materialize_grads=True)
            with torch.no_grad():
                for parameter, gradient in zip(network.parameters, gradients, strict=True):
                    parameter -= self.rate * gradient
                for threshold, leak in zip(network.thresholds, network.leaks, strict=True):
                    threshold.clamp_(min=1e-3)
                    leak.clamp_(0, 1)
                self.kappa[:rows] = (self.kappa[:rows] + self.step * to_image.sign()).clamp(-self.bound, self.bound)
            summed = summed.detach()
            for neuron in network.neurons:
                neuron.m = None if neuron.m is None else neuron.m.detach()
            self.losses.append(loss.item())
