"""Losses of training, as functions of what one period of a batch shows; two of them are on membranes."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from hiresnn.attacks.gate import frozen
from hiresnn.errors import UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import LIF, Linear, Window
from hiresnn.neurons.lif import lif_steps
from hiresnn.training.noise import Adversarial, Noise


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
        for currents, perturbed in zip(unperturbed, shown, strict=True):
            y = self.decay * y + currents - perturbed
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
