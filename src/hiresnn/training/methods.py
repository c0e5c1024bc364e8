"""The training methods: one table, from which recipes, the help of the command line and the training cost derive.

Recipes and help are read before anything is trained, so this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from hiresnn.errors import UsageError, closest


class _Lazy:
    """A module that is imported when one of its attributes is used."""

    def __init__(self, name: str) -> None:
        self.name = f"hiresnn.training.{name}"

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self.name), attribute)


if TYPE_CHECKING:
    from hiresnn.attacks.losses import LossName
    from hiresnn.training import loop, losses
else:
    loop, losses = _Lazy("loop"), _Lazy("losses")

State = Literal["reset", "carry"]
SpikingMethod = Literal[
    "traditional", "hire", "gaussian", "noise-free", "rate", "nfgsm", "hire-nfgsm", "free", "consistency", "trades",
    "snn-rat", "sparse", "mppd-tv", "mpd-sgr",
]  # fmt: skip
"""The methods that `fit` trains a spiking network with: all of METHODS but "converted", for type checkers."""

FORWARD, BACKWARD = 1, 2
"""Cost in passes: a backward pass computes the gradients of inputs and weights, two products where forward has one."""
CRAFTING = FORWARD + 1
"""Cost of the gradient of the image alone."""


@dataclass(frozen=True)
class TrainingMethod:
    """A row of the registry.

    Attributes:
        help: what `hiresnn train --help` says; methods of robust training have only a name there, see docs/robust.md.
        noise: makes the noise for eps_s and eps_t, in pixel units.
        loss: returns the loss of such a noise; None for the cross-entropy, which alone distillation can replace.
        after: returns what changes the weights after each update.
        passes: cost of a timestep beside the forward and backward pass of every training, in forward passes.
        periodic: whether a batch is split into `periods` windows of time.
        replays: whether a batch is shown `periods` times at full length.
    """

    help: str = ""
    noise: Callable[[float, float], losses.Noise] = lambda step, bound: losses.Noise()
    loss: Callable[[Any], Callable[[losses.Presentation], Any]] | None = None
    after: Callable[[], Callable[[Any], None]] | None = None
    passes: int = 0
    periodic: bool = False
    replays: bool = False


METHODS = {
    "traditional": TrainingMethod("one update per batch"),
    # Algorithm 1: an update per period, and crafted noise that goes on from period to period.
    "hire": TrainingMethod("HIRE-SNN", lambda step, bound: losses.CraftedNoise(step, bound), periodic=True),
    "gaussian": TrainingMethod("hire with random noise", lambda step, bound: losses.GaussianNoise(step), periodic=True),
    "noise-free": TrainingMethod("hire without noise", periodic=True),
    "rate": TrainingMethod("traditional, with Poisson input"),
    "converted": TrainingMethod("the converted ANN, without further training"),
    # N-FGSM (de Jorge et al., NeurIPS 2022) over all timesteps, and spread over the periods.
    "nfgsm": TrainingMethod(noise=lambda step, bound: losses.Adversarial(step, start=2 * bound), passes=CRAFTING),
    "hire-nfgsm": TrainingMethod(noise=lambda step, bound: losses.NoiseInTime(step, bound), periodic=True),
    # HIRE's noise at full length (Free-AT, Shafahi et al., NeurIPS 2019).
    "free": TrainingMethod(noise=lambda step, bound: losses.CraftedNoise(step, bound), replays=True),
    # As hire-nfgsm; the loss pulls the logits of a period to those of the period before.
    "consistency": TrainingMethod(
        noise=lambda step, bound: losses.NoiseInTime(step, bound), loss=lambda noise: losses.consistent, periodic=True
    ),
    # TRADES (Zhang et al., ICML 2019) in one step; the clean logits come first, and the loss has the clean image. The
    # published one crafts in eval mode from a normal start of deviation 1e-3, this one in train mode from a uniform.
    "trades": TrainingMethod(
        noise=lambda step, bound: losses.Adversarial(step, start=1e-3, bound=bound, divergence=True),
        loss=lambda noise: losses.trades,
        passes=FORWARD + CRAFTING + FORWARD + BACKWARD,
    ),
    # SNN-RAT (Ding et al., NeurIPS 2022): FGSM, and weights that are pulled towards orthogonal ones.
    "snn-rat": TrainingMethod(
        noise=lambda step, bound: losses.Adversarial(step, bound=bound, evaluating=True),
        after=lambda: loop.orthogonalise,
        passes=CRAFTING,
    ),
    # SR (Liu et al., ICML 2024): FGSM, and a small gradient of the label's logit, which takes another pass.
    "sparse": TrainingMethod(
        noise=lambda step, bound: losses.Adversarial(step, bound=bound),
        loss=lambda noise: losses.sparse_gradients,
        passes=2 * CRAFTING + FORWARD + BACKWARD,
    ),
    # MPPD-TV (Ding et al., ICML 2024): the membranes of clean and adversarial image stay together.
    "mppd-tv": TrainingMethod(
        noise=lambda step, bound: losses.MembraneDistance(step, bound=bound),
        loss=lambda noise: noise.loss,
        passes=CRAFTING + FORWARD + BACKWARD,
    ),
    # MPD-SGR (Jiang et al., AAAI 2026): membranes keep away from the threshold.
    "mpd-sgr": TrainingMethod(noise=lambda step, bound: losses.MembraneOverlap(), loss=lambda noise: noise.loss),
}
"""Name -> method that trains a spiking network; "converted" has no epoch, "rate" is the encoding of its network."""
REMOVED = ("short", "twin", "memory", "rotating")
"""Variants of "nfgsm" that gained nothing; version 0.2 has them."""
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
    entry = METHODS[name]
    noise = entry.noise(step, bound)
    loss = losses.cross_entropy if entry.loss is None else entry.loss(noise)
    return loop.Method(
        periods if entry.periodic or entry.replays else 1, noise, state if entry.periodic else "reset", loss,
        entry.replays, None if entry.after is None else entry.after(),
    )  # fmt: skip


ANN_TRAININGS: dict[str, Callable[[float], losses.Noise]] = {
    "plain": lambda eps: losses.Noise(),
    "gaussian": lambda eps: losses.GaussianNoise(eps),  # for hiresnn certify
    "fgsm": lambda eps: losses.Adversarial(eps, bound=eps),
    "n-fgsm": lambda eps: losses.Adversarial(eps, start=2 * eps),
    "pgd": lambda eps: losses.Adversarial(eps / 4, start=eps, bound=eps, iterations=7),
    "trades": lambda eps: losses.Adversarial(eps / 4, start=1e-3, bound=eps, iterations=7, divergence=True),
}
"""How an ANN is trained -> noise of its training for the bound eps."""


def ann_method(
    training: str = "plain",
    *,
    eps: float = 8 / 255,
    smoothing: float = 0.0,
    evaluating: bool = False,
    craft_loss: LossName = "cross-entropy",
) -> loop.Method:
    """Build the method of an ANN by its name in ANN_TRAININGS.

    Args:
        training: "plain", "gaussian", "fgsm", "n-fgsm", "pgd" (7 steps of eps / 4 from a random start) or "trades".
        eps: bound of the adversarial examples, or deviation of the Gaussian noise, in pixel units, in [0, 1].
        smoothing: of the labels, in [0, 1).
        evaluating: craft adversarial examples in eval mode, with the running statistics of batch norms.
        craft_loss: loss that "fgsm", "n-fgsm" and "pgd" ascend.

    Raises:
        UsageError: an unknown name.
    """
    if training not in ANN_TRAININGS:
        raise UsageError(f"training is {training!r}; choose one of {', '.join(ANN_TRAININGS)}.")
    loss = losses.trades if training == "trades" else losses.cross_entropy
    crafted = ANN_TRAININGS[training](eps)
    if isinstance(crafted, losses.Adversarial):
        crafted.evaluating, crafted.craft_loss = evaluating, craft_loss
    return loop.Method(noise=crafted, loss=partial(loss, smoothing=smoothing))
