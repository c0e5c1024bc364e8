"""Noise that training adds to its input, in pixel units: none, crafted (Eq. 6) or Gaussian (Fig. 9).

Adversarial examples as training noise: FGSM, N-FGSM, PGD and TRADES, crafted on the network in training.

Training noise that is remembered for every image from epoch to epoch, moved with its crop and flip (ATTA, MEP).

Training noise that is crafted on the rate twin: the ANN that shares the weights of a spiking network.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from hiresnn.attacks.ball import ascend, perturbed, uniform
from hiresnn.attacks.gate import frozen
from hiresnn.attacks.losses import summed_steps
from hiresnn.data import Batches
from hiresnn.data.batches import gathered
from hiresnn.errors import UsageError
from hiresnn.network import Encoder, SharedDropout, SpikingNetwork, record
from hiresnn.neurons import LIF, Window, gradient_rule


class Noise:
    """No noise: the images as they are. Base class of every training noise.

    Attributes:
        needs_gradient: whether `update` uses the gradient of the loss with respect to the noisy images.
    """

    needs_gradient = False

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Prepare for a batch of images [B, C, H, W] in [0, 1]; called before its first period."""

    def apply(self, images: Tensor) -> Tensor:
        """Return the noisy images of one period, in [0, 1], which the network may write into."""
        return images.clone()

    def update(self, gradient: Tensor) -> None:
        """Use the gradient of the period's loss with respect to the noisy images, [B, C, H, W]."""

    def end(self) -> None:
        """Let go of the batch; called after its last period, and when it fails."""

    def attach(self, batches: Any) -> None:
        """Get to know the batches of a training before its first epoch."""

    def report(self) -> dict[str, Any]:
        """Return what the noise has to say about the epoch that ended, for its row in the log."""
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state that a resumed training needs."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""


class CraftedNoise(Noise):
    """The crafted noise kappa of HIRE-SNN (Eq. 6, Algorithm 1).

    kappa starts at zero once and continues from period to period and from batch to batch. Row i of kappa belongs to
    row i of every batch, so a shorter batch uses and updates the first rows.

    Args:
        step: eps_s, the step along the sign of the input gradient, in pixel units; at least 0.
        bound: eps_t, the largest absolute value of kappa, in pixel units; at least 0.

    Raises:
        UsageError: step or bound is negative.
    """

    needs_gradient = True

    def __init__(self, step: float, bound: float) -> None:
        if not (step >= 0 and bound >= 0):
            raise UsageError(f"crafted noise: step is {step} and bound is {bound}; neither may be negative.")
        self.step, self.bound = step, bound
        self.kappa: Tensor | None = None

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Give every row of the batch a row of kappa; new rows are zero."""
        kappa = images[:0] if self.kappa is None else self.kappa
        self.kappa = torch.cat([kappa, torch.zeros_like(images[len(kappa) :])])

    def apply(self, images: Tensor) -> Tensor:
        """Return clip(images + kappa, 0, 1)."""
        assert self.kappa is not None, "begin comes before apply"
        return perturbed(images, self.kappa[: len(images)])

    def update(self, gradient: Tensor) -> None:
        """Apply Eq. 6: kappa = clip(kappa + eps_s * sign(gradient), -eps_t, eps_t)."""
        assert self.kappa is not None, "begin comes before update"
        rows = len(gradient)
        self.kappa[:rows] = ascend(self.kappa[:rows], gradient, self.step, self.bound)

    def state_dict(self) -> dict[str, Tensor]:
        """Return kappa, which is part of the training state."""
        return {} if self.kappa is None else {"kappa": self.kappa}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore kappa."""
        self.kappa = state["kappa"].clone() if "kappa" in state else None


class GaussianNoise(Noise):
    """Gaussian noise with zero mean and deviation `std` (eps_s in Fig. 9), drawn anew in every period.

    Raises:
        UsageError: std is negative.
    """

    def __init__(self, std: float) -> None:
        if not std >= 0:
            raise UsageError(f"Gaussian noise: std is {std}; it must not be negative.")
        self.std = std

    def apply(self, images: Tensor) -> Tensor:
        """Return clip(images + noise, 0, 1)."""
        return perturbed(images, self.std * torch.randn_like(images))


@dataclass(eq=False)
class Adversarial(Noise):
    """Adversarial examples that are crafted anew at the beginning of each batch.

        delta = eta, uniform in [-start, start]
        delta = clip(delta + step * sign(gradient of the loss at x + delta), -bound, bound), `iterations` times

    N-FGSM (de Jorge et al., NeurIPS 2022) starts in twice the ball and never projects: start = 2 eps, step = eps and
    no bound. The network stays in training mode while the noise is crafted, as in the authors' code; gradients of
    weights are not computed.

    Args:
        step: alpha, in pixel units; at least 0.
        start: radius of the random start, in pixel units; at least 0.
        bound: radius of the ball, in pixel units; infinite for none. With a bound, x + delta is clipped to [0, 1].
        iterations: gradients per batch.
        divergence: ascend KL(p(x) || p(x + delta)), as TRADES does, and not the cross-entropy.
        timesteps: T of the passes that craft the noise, of a spiking network; None is the network's own.
        rules: texts of gradient rules that take turns, one per batch; empty for the network's own. A network that is
            trained against a single rule fits that rule, and others break it.
        evaluating: craft in eval mode, without dropout.

    Raises:
        UsageError: a value is negative or NaN.
    """

    step: float
    _: KW_ONLY
    start: float = 0.0
    bound: float = math.inf
    iterations: int = 1
    divergence: bool = False
    timesteps: int | None = None
    rules: Sequence[str] = ()
    evaluating: bool = False
    turn: int = field(default=0, init=False)
    delta: Tensor = field(init=False)  # of the batch that began last

    def __post_init__(self) -> None:
        if not (self.step >= 0 and self.start >= 0 and self.bound >= 0):
            raise UsageError(
                f"adversarial noise: step {self.step}, start {self.start}, bound {self.bound}; none may be negative."
            )

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Craft the noise of a batch on the network as it is now."""
        rule = gradient_rule(model, self.rules[self.turn % len(self.rules)]) if self.rules else nullcontext()
        with rule, frozen(model) if self.evaluating else nullcontext():
            self.delta = self.crafted(model, images, labels)
        self.turn += 1

    def crafted(self, model: Callable[..., Tensor], images: Tensor, labels: Tensor) -> Tensor:
        """Return delta [B, C, H, W], crafted on `model`."""
        target, steps = None, summed_steps(model)
        if self.divergence:
            with torch.no_grad():
                target = (model(images).float() / steps).log_softmax(1)
        delta = uniform(images, self.start, None) if self.start else torch.zeros_like(images)
        for _ in range(self.iterations):
            shown = images + delta if math.isinf(self.bound) else perturbed(images, delta)
            shown = shown.detach().requires_grad_()
            logits = (model(shown) if self.timesteps is None else model(shown, timesteps=self.timesteps)).float()
            if target is None:
                loss = F.cross_entropy(logits, labels)
            else:
                loss = F.kl_div((logits / steps).log_softmax(1), target, reduction="batchmean", log_target=True)
            (gradient,) = torch.autograd.grad(loss, shown)
            delta = ascend(shown.detach() - images, gradient, self.step, self.bound)
        return delta

    def apply(self, images: Tensor) -> Tensor:
        """Return clip(images + delta, 0, 1)."""
        return perturbed(images, self.delta)

    def state_dict(self) -> dict[str, Tensor]:
        """Return whose turn it is, if rules take turns."""
        return {"turn": torch.tensor(self.turn)} if self.rules else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.turn = int(state.get("turn", 0))


class NoiseInTime(CraftedNoise):
    """N-FGSM spread over the periods of a batch, so that no pass is spent on crafting (hire-nfgsm).

    The first period sees x + eta, eta uniform in [-2 bound, 2 bound]. Every later one sees
    x + eta + step * sign(gradient of the period before), which is not projected. Nothing continues to the next batch.
    """

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: each batch starts anew."""
        return {}

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Draw eta."""
        self.eta = self.kappa = uniform(images, 2 * self.bound, None)

    def update(self, gradient: Tensor) -> None:
        """Set the noise to eta + step * sign(gradient)."""
        self.kappa = ascend(self.eta, gradient, self.step, math.inf)


FRESH = 10
"""Epochs after which all noise is drawn anew."""
PARTS = 127
"""Steps of int8 from 0 to the bound."""


class MemoryNoise(Noise):
    """One noise d_i per training image, updated from the gradient that the training step computes anyway.

        shown: clip(A_i(x_i + d_i), 0, 1),   then d_i <- clip(d_i + step * sign(A_i^T gradient), -bound, bound)

    A_i is the crop and flip of image i in this batch (Zheng et al., CVPR 2020; Jia et al. 2022, FGSM-MEP). d_i starts
    at a uniform draw and is stored as int8. With several processes each has a memory of its own.

    Args:
        step: alpha, in pixel units; at least 0.
        bound: radius of the ball, in pixel units; above 0.

    Raises:
        UsageError: a value is out of range.
    """

    needs_gradient = True

    def __init__(self, step: float, bound: float) -> None:
        if not (step >= 0 and bound > 0):
            raise UsageError(f"memory noise: step is {step} and bound is {bound}; give a bound above 0.")
        self.step, self.bound, self.batches = step, bound, 0
        self.source: Batches  # since `attach`
        self.memory: Tensor  # since the first batch: int8 [N, C, H, W], in parts of the bound

    def attach(self, batches: Any) -> None:
        """Remember the batches, which know the images that they show."""
        batches = getattr(batches, "source", batches)  # `hiresnn.fit` checks batches in a wrapper
        if not isinstance(batches, Batches):
            raise UsageError(
                "memory noise needs to know which images a batch shows; train with hiresnn.data.Batches, or with "
                "uint8 images and labels."
            )
        self.source = batches

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Take the noise of the images of this batch."""
        if self.batches % (FRESH * len(self.source)) == 0:
            shape = (len(self.source.labels), *images.shape[1:])
            self.memory = torch.randint(-PARTS, PARTS + 1, shape, dtype=torch.int8, device=images.device)
        self.batches += 1
        assert self.source.latest is not None
        self.rows, self.pixels = self.source.latest
        delta = self.memory[self.rows].to(images) * (self.bound / PARTS)
        self.delta = delta if self.pixels is None else gathered(delta, self.pixels)
        if not len(delta):  # another process has the last rows; this one shows a blank image
            self.delta = torch.zeros_like(images)

    def apply(self, images: Tensor) -> Tensor:
        """Return clip(images + delta, 0, 1)."""
        return perturbed(images, self.delta)

    def update(self, gradient: Tensor) -> None:
        """Improve the noise of the images of this batch."""
        if not len(self.rows):
            return
        if self.pixels is not None:
            moved = torch.zeros_like(gradient).flatten(2)
            pixels = self.pixels.expand(-1, gradient.shape[1], -1)
            gradient = moved.scatter_add_(2, pixels, gradient.flatten(2)).view(gradient.shape)
        steps = self.memory[self.rows].to(gradient) + gradient.sign() * (self.step / self.bound * PARTS)
        self.memory[self.rows] = steps.round().clamp(-PARTS, PARTS).to(torch.int8)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the memory and the number of batches so far."""
        known = {"memory": self.memory} if self.batches else {}
        return {"batches": torch.tensor(self.batches), **known}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.batches = int(state.get("batches", 0))
        if self.batches:
            self.memory = state["memory"].clone()


EVERY = 100
"""Batches between two measurements of the gate and of the scales."""
SAMPLE = 32
"""Images that they are measured on."""


class RateTwin(fx.Interpreter):
    """Computes the graph of a spiking network with rates instead of spikes, once instead of T times.

        r = clip(s * I / threshold - (1/2 - start) / T, 0, 1),   logits = T * (last layer of r)

    I is the input from the rates of the layers before; the offset is the mean loss by rounding. Dropout is left out.

    Args:
        network: its weights are used as they are at each call.

    Attributes:
        scales: layer name -> s, 1 before `fit`.
    """

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__(network.layers)
        self.extra_traceback = False
        self.network = network
        self.scales = dict.fromkeys(network.neurons, 1.0)
        self._wanted: dict[str, float] = {}  # layer name -> mean spike rate of the network; empty except during `fit`

    def __call__(self, images: Tensor) -> Tensor:
        """Return logits [B, K] for images [B, C, H, W] in [0, 1]."""
        logits: Tensor = self.run(images, Window(1, len(images)))
        return self.network.timesteps * logits

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Choose every s so that the twin's mean rate is that of the network; layers in order, each after the last."""
        with frozen(self.network), record(self.network) as spikes:
            self.network(images)
        self._wanted = {name: float(each.mean()) for name, each in spikes.items()}
        self(images)
        self._wanted = {}

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """Compute a layer; neurons and Poisson encoders give their rate, dropout its input."""
        layer = self.fetch_attr(target)
        if isinstance(layer, SharedDropout):
            return args[0]
        if isinstance(layer, Encoder) and layer.encoding == "poisson":
            return args[0].clamp(-1, 1)  # the mean of its spikes
        if isinstance(layer, LIF):
            return self._rate(target, layer, args[0])
        return super().call_module(target, args, kwargs)

    def _rate(self, name: str, lif: LIF, current: Tensor) -> Tensor:
        lost = (0.5 - lif.v_init) / self.network.timesteps

        def at(scale: float) -> Tensor:
            return (scale * current / lif.threshold - lost).clamp(0, 1)

        if self._wanted:
            found = float(at(1.0).mean())
            self.scales[name] = min(max(self._wanted[name] / found, 0.5), 2.0) if found else 1.0
        return at(self.scales[name])


class TwinNoise(Adversarial):
    """N-FGSM on the rate twin, at the cost of two passes of one timestep; for the options see `Adversarial`.

    Every EVERY batches the twin is fitted to the network, and the gate q is measured: how much of the loss that noise
    crafted on the network itself adds is also added by the twin's,

        q = (CE(f(x + d_twin)) - CE(f(x))) / (CE(f(x + d_own)) - CE(f(x))).

    Below about 0.7 the twin is no longer like its network, and "nfgsm", which costs more, is the better choice.
    """

    def __init__(self, step: float, *, start: float = 0.0, bound: float = math.inf, iterations: int = 1) -> None:
        super().__init__(step, start=start, bound=bound, iterations=iterations)
        self.batches = 0
        self.gates: list[float] = []  # since the last report
        self.scales: dict[str, float] = {}

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Craft the noise of a batch."""
        if not isinstance(model, SpikingNetwork):
            raise UsageError(f"the noise of a rate twin needs a spiking network, not {type(model).__name__}.")
        twin = RateTwin(model)
        if self.batches % EVERY == 0:
            twin.fit(images[:SAMPLE])
            self.scales = twin.scales
            self._gate(model, twin, images[:SAMPLE], labels[:SAMPLE])
        self.batches += 1
        twin.scales = self.scales
        self.delta = self.crafted(twin, images, labels)

    def _gate(self, model: SpikingNetwork, twin: RateTwin, images: Tensor, labels: Tensor) -> None:
        with frozen(model), torch.random.fork_rng([]):
            own, other = self.crafted(model, images, labels), self.crafted(twin, images, labels)
            with torch.no_grad():
                shown = (images, (images + other).clamp(0, 1), (images + own).clamp(0, 1))
                clean, by_twin, by_own = (float(F.cross_entropy(model(each).float(), labels)) for each in shown)
        if by_own > clean:
            self.gates.append((by_twin - clean) / (by_own - clean))

    def report(self) -> dict[str, Any]:
        """Return the mean gate since the last report."""
        gates, self.gates = self.gates, []
        return {"gate": round(sum(gates) / len(gates), 3)} if gates else {}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the number of batches so far and the scales."""
        return {"batches": torch.tensor(self.batches), **{f"s {k}": torch.tensor(v) for k, v in self.scales.items()}}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        self.batches = int(state.get("batches", 0))
        self.scales = {name[2:]: value.item() for name, value in state.items() if name.startswith("s ")}
