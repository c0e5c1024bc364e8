"""Training methods: one decorated function each, whose `Method` is the whole difference between two trainings.

The registry is the list that recipes, the help of the command line and the training cost derive from. Recipes and help
are read before anything is trained, so this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hiresnn.errors import UsageError, closest


class _Lazy:
    """A module that is imported when one of its attributes is used."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self.name), attribute)


if TYPE_CHECKING:
    from hiresnn.training import loop, losses, noise, weights
else:
    loop, losses, noise, weights = (
        _Lazy(f"hiresnn.training.{name}") for name in ("loop", "losses", "noise", "weights")
    )

State = Literal["reset", "carry"]

FORWARD, BACKWARD = 1, 2
"""Cost in passes: a backward pass computes the gradients of inputs and weights, two products where forward has one."""
CRAFTING = FORWARD + 1
"""Cost of the gradient of the image alone."""


class NoiseSettings(NamedTuple):
    """Section noise of a recipe: number of periods N, eps_s and eps_t in pixel units, the state between periods."""

    periods: int
    step: float
    bound: float
    state: State = "reset"


@dataclass(frozen=True)
class TrainingMethod:
    """A row of the registry.

    Attributes:
        build: makes the `Method`.
        help: what `hiresnn train --help` says; methods of robust training have only a name there, see docs/robust.md.
        passes: cost of a timestep beside the forward and backward pass of every training, in forward passes.
        periodic: whether a batch is split into `periods` windows of time.
        replays: whether a batch is shown `periods` times at full length.
        own_loss: whether the loss is not the cross-entropy, so that distillation cannot replace it.
    """

    build: Callable[[NoiseSettings], loop.Method]
    help: str = ""
    passes: int = 0
    periodic: bool = False
    replays: bool = False
    own_loss: bool = False


METHODS: dict[str, TrainingMethod] = {}
"""Name -> method that trains a spiking network."""
REMOVED = ("short", "twin", "memory", "rotating")
"""Variants of "nfgsm" that gained nothing; version 0.2 has them."""


def training_method(
    name: str, **facts: Any
) -> Callable[[Callable[[NoiseSettings], loop.Method]], Callable[[NoiseSettings], loop.Method]]:
    """Decorate a function that builds a method; `facts` are attributes of `TrainingMethod`."""

    def register(build: Callable[[NoiseSettings], loop.Method]) -> Callable[[NoiseSettings], loop.Method]:
        METHODS[name] = TrainingMethod(build, **facts)
        return build

    return register


@training_method("traditional", help="one update per batch")
def _traditional(settings: NoiseSettings) -> loop.Method:
    """One update per batch, on the images as they are."""
    return loop.Method()


@training_method("hire", periodic=True, help="HIRE-SNN")
def _hire(settings: NoiseSettings) -> loop.Method:
    """HIRE-SNN: an update per period, and crafted noise that goes on from period to period (Algorithm 1)."""
    return loop.Method(settings.periods, noise.CraftedNoise(settings.step, settings.bound), settings.state)


@training_method("gaussian", periodic=True, help="hire with random noise")
def _gaussian(settings: NoiseSettings) -> loop.Method:
    """HIRE-SNN with Gaussian noise of deviation `step` (Fig. 9)."""
    return loop.Method(settings.periods, noise.GaussianNoise(settings.step), settings.state)


@training_method("noise-free", periodic=True, help="hire without noise")
def _noise_free(settings: NoiseSettings) -> loop.Method:
    """HIRE-SNN without noise."""
    return loop.Method(settings.periods, noise.Noise(), settings.state)


@training_method("rate", help="traditional, with Poisson input")
def _rate(settings: NoiseSettings) -> loop.Method:
    """Traditional; only the encoding of the network differs."""
    return loop.Method()


@training_method("converted", help="the converted ANN, without further training")
def _converted(settings: NoiseSettings) -> loop.Method:
    """No epoch: the converted ANN as it is."""
    return loop.Method()


@training_method("nfgsm", passes=CRAFTING)
def _nfgsm(settings: NoiseSettings) -> loop.Method:
    """N-FGSM over all timesteps (de Jorge et al., NeurIPS 2022)."""
    return loop.Method(noise=noise.Adversarial(settings.step, start=2 * settings.bound))


@training_method("hire-nfgsm", periodic=True)
def _hire_nfgsm(settings: NoiseSettings) -> loop.Method:
    """N-FGSM spread over the periods."""
    return loop.Method(settings.periods, noise.NoiseInTime(settings.step, settings.bound), settings.state)


@training_method("free", replays=True)
def _free(settings: NoiseSettings) -> loop.Method:
    """HIRE's noise at full length (Free-AT, Shafahi et al., NeurIPS 2019)."""
    return loop.Method(settings.periods, noise.CraftedNoise(settings.step, settings.bound), replay=True)


@training_method("consistency", periodic=True, own_loss=True)
def _consistency(settings: NoiseSettings) -> loop.Method:
    """As hire-nfgsm; the loss pulls the logits of a period to those of the period before."""
    noise_in_time = noise.NoiseInTime(settings.step, settings.bound)
    return loop.Method(settings.periods, noise_in_time, settings.state, losses.consistent)


# Published defences of other authors.


@training_method("trades", passes=FORWARD + CRAFTING + FORWARD + BACKWARD, own_loss=True)
def _trades(settings: NoiseSettings) -> loop.Method:
    """TRADES (Zhang et al., ICML 2019) in one step; the clean logits come first, and the loss has the clean image."""
    adversarial = noise.Adversarial(settings.step, start=1e-3, bound=settings.bound, divergence=True)
    return loop.Method(noise=adversarial, loss=losses.trades)


@training_method("snn-rat", passes=CRAFTING)
def _snn_rat(settings: NoiseSettings) -> loop.Method:
    """SNN-RAT (Ding et al., NeurIPS 2022): FGSM, and weights that are pulled towards orthogonal ones."""
    adversarial = noise.Adversarial(settings.step, bound=settings.bound, evaluating=True)
    return loop.Method(noise=adversarial, after=weights.orthogonalise)


@training_method("sparse", passes=2 * CRAFTING + FORWARD + BACKWARD, own_loss=True)
def _sparse(settings: NoiseSettings) -> loop.Method:
    """SR (Liu et al., ICML 2024): FGSM, and the gradient of the label's logit is small, which takes another pass."""
    return loop.Method(noise=noise.Adversarial(settings.step, bound=settings.bound), loss=losses.sparse_gradients)


@training_method("mppd-tv", passes=CRAFTING + FORWARD + BACKWARD, own_loss=True)
def _mppd_tv(settings: NoiseSettings) -> loop.Method:
    """MPPD-TV (Ding et al., ICML 2024): the membranes of clean and adversarial image stay together."""
    distance = losses.MembraneDistance(settings.step, bound=settings.bound)
    return loop.Method(noise=distance, loss=distance.loss)


@training_method("mpd-sgr", own_loss=True)
def _mpd_sgr(settings: NoiseSettings) -> loop.Method:
    """MPD-SGR (Jiang et al., AAAI 2026): membranes keep away from the threshold."""
    overlap = losses.MembraneOverlap()
    return loop.Method(noise=overlap, loss=overlap.loss)


METHOD_NAMES = ("ann", *METHODS)
"""Values of `method` in a recipe; "ann" trains no spiking network."""


def instead_of(name: str, known: Collection[str] = METHOD_NAMES) -> str:
    """Return which methods to take instead of a name that is not among the `known` ones; "" for one that is."""
    if name in REMOVED:
        return "it gained nothing over nfgsm and was removed after version 0.2; take nfgsm"
    return "" if name in known else closest(name, known)


def method_help() -> str:
    """Return what each value of `method` means, for the command line."""
    explained = [f"{name}: {entry.help}." for name, entry in METHODS.items() if entry.help]
    robust = [name for name, entry in METHODS.items() if not entry.help]
    return " ".join(
        ["ann: no SNN, only the ANN.", *explained, f"Methods of robust training (docs/robust.md): {', '.join(robust)}."]
    )


def method(name: str, *, periods: int, step: float, bound: float | None = None, state: State = "reset") -> loop.Method:
    """Build a method by its name in METHODS, with N `periods` and noise of eps_s `step` and eps_t `bound`.

    `bound` equals `step` by default, as in the paper; `step` is the standard deviation of Gaussian noise.

    Raises:
        UsageError: an unknown name, or a negative step or bound.
    """
    if remedy := instead_of(name, METHODS):
        raise UsageError(f"method is {name!r}; {remedy}.")
    return METHODS[name].build(NoiseSettings(periods, step, step if bound is None else bound, state))


ANN_TRAININGS: dict[str, Callable[[float], noise.Noise]] = {
    "plain": lambda eps: noise.Noise(),
    "fgsm": lambda eps: noise.Adversarial(eps, bound=eps),
    "n-fgsm": lambda eps: noise.Adversarial(eps, start=2 * eps),
    "pgd": lambda eps: noise.Adversarial(eps / 4, start=eps, bound=eps, iterations=7),
    "trades": lambda eps: noise.Adversarial(eps / 4, start=1e-3, bound=eps, iterations=7, divergence=True),
}
"""How an ANN is trained -> noise of its training for the bound eps."""


def ann_method(training: str = "plain", *, eps: float = 8 / 255, smoothing: float = 0.0) -> loop.Method:
    """Build the method of an ANN by its name in ANN_TRAININGS.

    Args:
        training: "plain", "fgsm", "n-fgsm", "pgd" (7 steps of eps / 4 from a random start) or "trades".
        eps: bound of the adversarial examples in pixel units, in [0, 1].
        smoothing: of the labels, in [0, 1).

    Raises:
        UsageError: an unknown name.
    """
    if training not in ANN_TRAININGS:
        raise UsageError(f"training is {training!r}; choose one of {', '.join(ANN_TRAININGS)}.")
    loss = losses.trades if training == "trades" else losses.cross_entropy
    return loop.Method(noise=ANN_TRAININGS[training](eps), loss=partial(loss, smoothing=smoothing))
