"""Noise on the images of a training, crafted (Eq. 6), Gaussian (Fig. 9) or adversarial, in pixel units; and losses."""

import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hiresnn.attacks.gate import ascend, frozen, perturbed, uniform
from hiresnn.attacks.losses import ROUNDED_LOSSES, LossName, summed_steps
from hiresnn.errors import UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import LIF, Linear, Window
from hiresnn.neurons.lif import lif_steps


class Noise:
    """No noise: the images as they are. Base class of every training noise."""

    needs_gradient = False  # whether `update` uses the gradient of the loss in the noisy images

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        """Prepare for a batch of images [B, C, H, W] in [0, 1]; called before its first period."""

    def apply(self, images: Tensor) -> Tensor:
        """Return the noisy images of one period, in [0, 1], which the network may write into."""
        return images.clone()

    def update(self, gradient: Tensor) -> None:
        """Use the gradient of the period's loss with respect to the noisy images, [B, C, H, W]."""

    def end(self) -> None:
        """Let go of the batch; called after its last period, and when it fails."""

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None: ...


class CraftedNoise(Noise):
    """The crafted noise kappa of HIRE-SNN (Eq. 6, Algorithm 1).

    kappa starts at zero once and continues from period to period and from batch to batch. Row i of kappa belongs to
    row i of every batch, so a shorter batch uses and updates the first rows.

    Of event grids kappa has the shape of the bins of one period, [B, T/N, P, H, W]: bin j of a period gets what the
    gradient of bin j of the period before says, of the same sample; the noisy cells, which need not be whole numbers,
    are clipped to [0, largest cell of the sample]; see docs/events.md.

    Args:
        step: eps_s, the step along the sign of the input gradient, in pixel units; at least 0.
        bound: eps_t, the largest absolute value of kappa, in pixel units; at least 0.
    """

    needs_gradient = True

    def __init__(self, step: float, bound: float) -> None:
        self.step, self.bound = step, bound
        self.kappa: Tensor | None = None

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        kappa = images[:0] if self.kappa is None else self.kappa
        self.kappa = torch.cat([kappa, torch.zeros_like(images[len(kappa) :])])

    def apply(self, images: Tensor) -> Tensor:
        assert self.kappa is not None
        return perturbed(images, self.kappa[: len(images)])

    def update(self, gradient: Tensor) -> None:
        """Apply Eq. 6: kappa = clip(kappa + eps_s * sign(gradient), -eps_t, eps_t)."""
        assert self.kappa is not None
        rows = len(gradient)
        self.kappa[:rows] = ascend(self.kappa[:rows], gradient, self.step, self.bound)

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self.kappa is None else {"kappa": self.kappa}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.kappa = state["kappa"].clone() if "kappa" in state else None


class GaussianNoise(Noise):
    """Gaussian noise with zero mean and deviation `std` >= 0 (eps_s in Fig. 9), drawn anew in every period."""

    def __init__(self, std: float) -> None:
        self.std = std

    def apply(self, images: Tensor) -> Tensor:
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
        step, start: alpha, and the radius of the random start, in pixel units; at least 0.
        bound: radius of the ball, in pixel units; infinite for none. With a bound, x + delta is clipped to [0, 1].
        iterations: gradients per batch.
        divergence: ascend KL(p(x) || p(x + delta)), as TRADES does, and not `craft_loss`.
        evaluating: craft in eval mode, without dropout.
        craft_loss: name of the loss to ascend; the margin is what the strongest attacks ascend.
    """

    step: float
    _: KW_ONLY
    start: float = 0.0
    bound: float = math.inf
    iterations: int = 1
    divergence: bool = False
    evaluating: bool = False
    craft_loss: LossName = "cross-entropy"
    delta: Tensor = field(init=False)  # of the batch that began last

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        with frozen(model) if self.evaluating else nullcontext():
            target, steps = None, summed_steps(model)
            if self.divergence:
                with torch.no_grad():
                    target = (model(images).float() / steps).log_softmax(1)
            delta = uniform(images, self.start, None) if self.start else torch.zeros_like(images)
            for _ in range(self.iterations):
                noisy = images + delta if math.isinf(self.bound) else perturbed(images, delta)
                noisy = noisy.detach().requires_grad_()
                logits = model(noisy).float()
                if target is None:
                    loss = ROUNDED_LOSSES[self.craft_loss](logits, labels).mean()
                else:
                    loss = F.kl_div((logits / steps).log_softmax(1), target, reduction="batchmean", log_target=True)
                (gradient,) = torch.autograd.grad(loss, noisy)
                delta = ascend(noisy.detach() - images, gradient, self.step, self.bound)
            self.delta = delta

    def apply(self, images: Tensor) -> Tensor:
        return perturbed(images, self.delta)


class NoiseInTime(CraftedNoise):
    """N-FGSM spread over the periods of a batch, so that no pass is spent on crafting (hire-nfgsm).

    The first period sees x + eta, eta uniform in [-2 bound, 2 bound]. Every later one sees
    x + eta + step * sign(gradient of the period before), which is not projected. Nothing continues to the next batch.
    """

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        self.eta = self.kappa = uniform(images, 2 * self.bound, None)

    def update(self, gradient: Tensor) -> None:
        self.kappa = ascend(self.eta, gradient, self.step, math.inf)


class Presentation(NamedTuple):
    """What a loss sees of one period.

    Attributes:
        model: images -> logits [B, K], for a further pass over `timesteps` steps; with `same_draws` it has the dropout
            masks, and the other draws of the global generators, that the pass of `shown` had.
        images, shown, labels: [B, C, H, W] in [0, 1], without and with the noise, and class numbers [B].
        logits: [B, K], of `shown`, sums over `timesteps` steps.
        earlier: logits per timestep of the period before, detached, or None.
    """

    model: Callable[..., Tensor]
    images: Tensor
    shown: Tensor
    labels: Tensor
    logits: Tensor
    timesteps: int
    earlier: Tensor | None


def cross_entropy(seen: Presentation, *, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy of the logits, the loss of the paper, with label `smoothing` in [0, 1)."""
    return F.cross_entropy(seen.logits, seen.labels, label_smoothing=smoothing)


def trades(seen: Presentation, *, smoothing: float = 0.0, beta: float = 6.0) -> Tensor:
    """Return CE(m(x), y) + beta KL(p(x) || p(x + delta)) (TRADES, Zhang et al. 2019), p of m = logits / T.

    Sums over T would saturate both terms; an ANN has T = 1.
    """
    clean, shown = seen.model(seen.images) / seen.timesteps, seen.logits / seen.timesteps
    natural, adversarial = clean.log_softmax(1), shown.log_softmax(1)
    divergence = F.kl_div(adversarial, natural, reduction="batchmean", log_target=True)
    return F.cross_entropy(clean, seen.labels, label_smoothing=smoothing) + beta * divergence


def consistent(seen: Presentation, *, pull: float = 1.0) -> Tensor:
    """Return CE(m, y) + pull |m - m'|^2, with m = logits / T and m' that of the period before, as it was."""
    logits = seen.logits / seen.timesteps
    loss = F.cross_entropy(logits, seen.labels)
    if seen.earlier is None:
        return loss
    return loss + pull * F.mse_loss(logits, seen.earlier)


def sparse_gradients(seen: Presentation, *, strength: float = 0.002, h: float = 0.01) -> Tensor:
    """Return CE(m) + strength * mean of ((f(x + h d) - f(x)) / h)^2, with d the sign of the gradient of f.

    SR (Liu et al., ICML 2024): f(x) is the logit of the label, m = logits / T, and the difference is the L1 norm of
    the gradient of f with respect to the image, up to the order of h. All passes share their dropout masks.
    """
    model, t = partial(seen.model, same_draws=True), seen.timesteps

    def of_label(logits: Tensor) -> Tensor:
        return logits.gather(1, seen.labels[:, None])[:, 0] / t

    images = seen.shown.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(of_label(model(images)).sum(), images)
    moved = of_label(model(images.detach() + h * gradient.sign()))
    slope = (moved - of_label(seen.logits)) / h
    return F.cross_entropy(seen.logits / t, seen.labels) + strength * slope.square().mean()


class Distillation:
    """The loss of robust soft labels (RSLAD, Zi et al., ICCV 2021), on logits averaged over time, m = logits / T.

        (1 - weight) CE(m(x'), y) + weight t^2 KL(softmax(teacher(x) / t) || softmax(m(x') / t))

    x' is what the method shows; the teacher, images -> logits, sees the image x in eval mode. Both logits must have one
    scale, as after a conversion with `rescale`. `weight` lies in [0, 1], and t, the `temperature`, above 0.
    """

    def __init__(self, teacher: nn.Module, weight: float = 0.7, temperature: float = 1.0) -> None:
        self.teacher, self.weight, self.temperature = teacher, weight, temperature

    def __call__(self, seen: Presentation) -> Tensor:
        logits, t = seen.logits / seen.timesteps, self.temperature
        with frozen(self.teacher), torch.no_grad():
            target = (self.teacher(seen.images).float() / t).log_softmax(1)
        divergence = F.kl_div((logits / t).log_softmax(1), target, reduction="batchmean", log_target=True)
        return (1 - self.weight) * F.cross_entropy(logits, seen.labels) + self.weight * t**2 * divergence


class Recorder:
    """Values that layers compute in the passes of a batch, from its start to its loss."""

    def __init__(self) -> None:
        self.hooks: list[RemovableHandle] = []
        self.values: list[Tensor] = []

    def start(self, layers: Iterable[nn.Module], value: Callable[[Any, Any, Tensor], Tensor]) -> None:
        """Collect `value(layer, its inputs, its output)` from now on, at each call of each layer."""

        self.hooks = [layer.register_forward_hook(lambda *call: self.values.append(value(*call))) for layer in layers]

    def stop(self) -> list[Tensor]:
        """Return the values and forget all: a network that holds on to a graph cannot be copied."""
        for hook in self.hooks:
            hook.remove()
        values, self.hooks, self.values = self.values, [], []
        return values


class MembraneDistance(Adversarial):
    """The noise and the loss of MPPD-TV (Ding et al., ICML 2024), on logits averaged over time, m = logits / T.

        1/2 CE(m(x), y) + 1/2 CE(m(x'), y) + strength * mean |Y_t|,   Y_t = decay Y_(t-1) + c_t(x) - c_t(x')

    c_t is the input of the readout at step t, [B, K], and the mean is over steps, images and classes. Both passes share
    their dropout masks. `strength` is rho, `step` and `options` are those of `Adversarial`.
    """

    def __init__(self, step: float, *, strength: float = 2.5, decay: float = 0.99, **options: Any) -> None:
        super().__init__(step, **options)
        self.strength, self.decay, self.readout = strength, decay, Recorder()

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        if not isinstance(model, SpikingNetwork):
            raise UsageError(f"mppd-tv needs the readout of a spiking network, not of {type(model).__name__}.")
        super().begin(model, images, labels)
        self.readout.start([model.readout], lambda _, __, rows: rows)

    def loss(self, seen: Presentation) -> Tensor:
        t = seen.timesteps
        clean = seen.model(seen.images, same_draws=True)
        both = F.cross_entropy(clean / t, seen.labels) + F.cross_entropy(seen.logits / t, seen.labels)
        shown, unperturbed = (rows.float().view(t, *clean.shape) for rows in self.readout.stop())
        distance = y = torch.zeros_like(clean)
        for clean_step, shown_step in zip(unperturbed, shown, strict=True):
            y = self.decay * y + clean_step - shown_step
            distance = distance + y.abs()
        return both / 2 + self.strength * (distance / t).mean()

    def end(self) -> None:
        self.readout.stop()


class MembraneOverlap(Noise):
    """The loss of MPD-SGR (Jiang et al., AAAI 2026), on logits averaged over time, m = logits / T.

        CE(m, y) + strength * mean over layers of P(|z| < width),   z ~ N(mean, std) of the layer

    z = u / v_t - 1 is the normalised membrane over all steps, images and neurons of a layer, and `width` is where its
    surrogate ends. The probability under the normal distribution has a gradient; the counted share has none. Spikes
    inside the reset are constants. The images are those without noise. `strength` is eta, at least 0.

    Few membranes near the threshold mean small surrogate gradients, which mislead only an attacker who uses the same
    surrogate: docs/robust.md has what the audit finds.
    """

    def __init__(self, strength: float = 1.0) -> None:
        self.strength, self.shares = strength, Recorder()

    def begin(self, model: nn.Module, images: Tensor, labels: Tensor) -> None:
        if not isinstance(model, SpikingNetwork) or model.recomputes:
            raise UsageError("mpd-sgr needs the membranes of a spiking network; leave snn.recompute off.")
        for layer in model.neurons.values():
            if not isinstance(layer.surrogate, Linear):
                raise UsageError(f"mpd-sgr needs a surrogate with a window, but that of {layer.name} is not linear.")
        self.shares.start(model.neurons.values(), lambda layer, inputs, _: share_inside(layer, *inputs))

    def loss(self, seen: Presentation) -> Tensor:
        share = torch.stack(self.shares.stop()).mean()
        return F.cross_entropy(seen.logits / seen.timesteps, seen.labels) + self.strength * share

    def end(self) -> None:
        self.shares.stop()


def share_inside(layer: LIF, current: Tensor, window: Window, timed: bool) -> Tensor:
    """Return P(|z| < width) of a layer, a scalar, from its input current as `LIF` takes it."""
    assert isinstance(layer.surrogate, Linear)
    current, scan = layer.arriving(current, window, timed)
    rows = window.by_step(current) if timed else current
    steps = lif_steps(rows, None, layer.threshold, layer.leak, scan)
    z = torch.stack([membrane for _, membrane, _, _ in steps])
    normal = torch.distributions.Normal(z.mean(), z.std().clamp(min=1e-6))
    edge = z.new_tensor(layer.surrogate.width)
    inside: Tensor = normal.cdf(edge) - normal.cdf(-edge)  # type: ignore[no-untyped-call]
    return inside
