"""Training methods: one decorated function each, whose `Method` is the whole difference between two trainings.

The registry is the list that recipes, the help of the command line and the training cost derive from. Recipes and help
are read before anything is trained, so this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from hiresnn.errors import UsageError, closest


class _Lazy:
    """A module that is imported when one of its attributes is used."""

    def __init__(self, name: str) -> None:
        self.name = f"hiresnn.training.{name}"

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self.name), attribute)


if TYPE_CHECKING:
    from hiresnn.training import loop, losses, noise
else:
    loop, losses, noise = map(_Lazy, ("loop", "losses", "noise"))

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


Build = Callable[[NoiseSettings], "loop.Method"]


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

    build: Build
    help: str = ""
    passes: int = 0
    periodic: bool = False
    replays: bool = False
    own_loss: bool = False


METHODS: dict[str, TrainingMethod] = {}
"""Name -> method that trains a spiking network."""
REMOVED = ("short", "twin", "memory", "rotating")
"""Variants of "nfgsm" that gained nothing; version 0.2 has them."""


def training_method(name: str, **facts: Any) -> Callable[[Build], Build]:
    """Decorate a function that builds a method; `facts` are attributes of `TrainingMethod`."""

    def register(build: Build) -> Build:
        METHODS[name] = TrainingMethod(build, **facts)
        return build

    return register


@training_method("traditional", help="one update per batch")
def _traditional(given: NoiseSettings) -> loop.Method:
    return loop.Method()


@training_method("hire", periodic=True, help="HIRE-SNN")
def _hire(given: NoiseSettings) -> loop.Method:
    """An update per period, and crafted noise that goes on from period to period (Algorithm 1)."""
    return loop.Method(given.periods, noise.CraftedNoise(given.step, given.bound), given.state)


@training_method("gaussian", periodic=True, help="hire with random noise")
def _gaussian(given: NoiseSettings) -> loop.Method:
    return loop.Method(given.periods, noise.GaussianNoise(given.step), given.state)


@training_method("noise-free", periodic=True, help="hire without noise")
def _noise_free(given: NoiseSettings) -> loop.Method:
    return loop.Method(given.periods, noise.Noise(), given.state)


@training_method("converted", help="the converted ANN, without further training")  # no epoch
@training_method("rate", help="traditional, with Poisson input")  # which is the encoding of the network
def _plain(given: NoiseSettings) -> loop.Method:
    return loop.Method()


@training_method("nfgsm", passes=CRAFTING)
def _nfgsm(given: NoiseSettings) -> loop.Method:
    """N-FGSM over all timesteps (de Jorge et al., NeurIPS 2022)."""
    return loop.Method(noise=noise.Adversarial(given.step, start=2 * given.bound))


@training_method("hire-nfgsm", periodic=True)
def _hire_nfgsm(given: NoiseSettings) -> loop.Method:
    """N-FGSM spread over the periods."""
    return loop.Method(given.periods, noise.NoiseInTime(given.step, given.bound), given.state)


@training_method("free", replays=True)
def _free(given: NoiseSettings) -> loop.Method:
    """HIRE's noise at full length (Free-AT, Shafahi et al., NeurIPS 2019)."""
    return loop.Method(given.periods, noise.CraftedNoise(given.step, given.bound), replay=True)


@training_method("consistency", periodic=True, own_loss=True)
def _consistency(given: NoiseSettings) -> loop.Method:
    """As hire-nfgsm; the loss pulls the logits of a period to those of the period before."""
    return replace(_hire_nfgsm(given), loss=losses.consistent)


# Published defences of other authors.


@training_method("trades", passes=FORWARD + CRAFTING + FORWARD + BACKWARD, own_loss=True)
def _trades(given: NoiseSettings) -> loop.Method:
    """TRADES (Zhang et al., ICML 2019) in one step; the clean logits come first, and the loss has the clean image."""
    adversarial = noise.Adversarial(given.step, start=1e-3, bound=given.bound, divergence=True)
    return loop.Method(noise=adversarial, loss=losses.trades)


@training_method("snn-rat", passes=CRAFTING)
def _snn_rat(given: NoiseSettings) -> loop.Method:
    """SNN-RAT (Ding et al., NeurIPS 2022): FGSM, and weights that are pulled towards orthogonal ones."""
    adversarial = noise.Adversarial(given.step, bound=given.bound, evaluating=True)
    return loop.Method(noise=adversarial, after=loop.orthogonalise)


@training_method("sparse", passes=2 * CRAFTING + FORWARD + BACKWARD, own_loss=True)
def _sparse(given: NoiseSettings) -> loop.Method:
    """SR (Liu et al., ICML 2024): FGSM, and a small gradient of the label's logit, which takes another pass."""
    return loop.Method(noise=noise.Adversarial(given.step, bound=given.bound), loss=losses.sparse_gradients)


@training_method("mppd-tv", passes=CRAFTING + FORWARD + BACKWARD, own_loss=True)
def _mppd_tv(given: NoiseSettings) -> loop.Method:
    """MPPD-TV (Ding et al., ICML 2024): the membranes of clean and adversarial image stay together."""
    distance = losses.MembraneDistance(given.step, bound=given.bound)
    return loop.Method(noise=distance, loss=distance.loss)


@training_method("mpd-sgr", own_loss=True)
def _mpd_sgr(given: NoiseSettings) -> loop.Method:
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
    bound = step if bound is None else bound
    if not (step >= 0 and bound >= 0):
        raise UsageError(f"noise: step is {step} and bound is {bound}; neither may be negative.")
    return METHODS[name].build(NoiseSettings(periods, step, bound, state))


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
