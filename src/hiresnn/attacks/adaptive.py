"""Attacks that adapt their step: APGD and AutoAttack (Croce and Hein 2020), SA-PGD (Wang et al., CVPR 2026).

AutoAttack runs as in the optional package pyautoattack, for numbers comparable with others.
"""

import importlib
import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from hiresnn.attacks.ball import Ball
from hiresnn.attacks.gate import Images, Labels, Model, Norm, checked, perturbed, seeded
from hiresnn.attacks.iterative import PerRow, climb, restarted
from hiresnn.attacks.losses import (
    Loss,
    LossGradient,
    LossName,
    WorstCandidates,
    choose_loss,
    dlr_targeted,
    loss_steps,
)
from hiresnn.attacks.search import finish_by_square
from hiresnn.errors import UsageError, install_command

IMPROVED = 0.75
"""The step is halved unless more than this share of the steps since the last checkpoint raised the loss."""
MOMENTUM = 0.75
"""Share of the new step in APGD; the rest repeats the previous step."""
FIRST, SECOND = 0.5, 0.8
"""Decay of the first and the second moment in SA-PGD."""
SUM, HALVINGS = 0.5, 4
"""Decay of the sum of gradients in the momentum attack (0.9 breaks far fewer), and how often its step is halved."""
CLASSES = {"standard": 4, "plus": 4, "rand": 3}
"""Version -> number of classes that its DLR loss needs."""
TARGETS = 9
"""Number of classes that its targeted attacks try, if the model has that many."""


@checked("apgd")
def apgd(
    model: Model,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    norm: Norm = "linf",
    iterations: int = 100,
    restarts: int = 1,
    loss: Literal["cross-entropy", "margin", "dlr", "dlr-targeted"] = "cross-entropy",
    targets: int = 9,
    mean_logits: bool = False,
    draws: int = 1,
    finish: int = 0,
    generator: torch.Generator | None = None,
) -> Images:
    """Auto-PGD: momentum and a step that starts at 2 eps and adapts; any misclassified iterate counts.

    Args:
        iterations: of each run.
        restarts: number of runs (per target), each from a random start, on the images not yet broken; at least 1.
        targets: for "dlr-targeted", number of next best classes that are attacked in turn.

    All else is as in `pgd_restarts`; UsageError also for too few classes for the loss.
    """
    ball, worst = Ball(eps, norm), WorstCandidates(model, images, labels, draws)
    ranked = worst.logits.scatter(1, labels[:, None], -torch.inf).argsort(1, descending=True)
    runs = min(targets, ranked.shape[1] - 1) if loss == "dlr-targeted" else 1
    for run in range(restarts * runs):
        rows = worst.standing
        if loss == "dlr-targeted":
            chosen: Loss = _Targeted(ranked[rows, run % runs])
        else:
            chosen = choose_loss(model, loss, mean_logits=mean_logits)
        start = perturbed(images[rows], ball.draw_surface(images[rows], generator))
        climb(worst, rows, start, iterations, chosen, ApgdStep(ball, iterations))
    return finish_by_square(worst, ball, finish, generator)


class _Targeted(PerRow):
    """The targeted DLR loss with one target class per row of the batch."""

    def __init__(self, targets: Int64[Tensor, " batch"]) -> None:
        self.targets = targets

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return dlr_targeted(logits, labels, self.targets)


@checked("sa-pgd")
def sa_pgd(
    model: Model,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    iterations: int = 100,
    restarts: int = 1,
    loss: LossName = "cross-entropy",
    mean_logits: bool = False,
    draws: int = 1,
    finish: int = 0,
    generator: torch.Generator | None = None,
) -> Images:
    """SA-PGD: normalised moments of the gradient and a step that adapts; any misclassified iterate counts.

    It has no L2 form: it scales the step of each pixel by itself, which only L-infinity bounds by itself.

    Use it with the rule ASSG and at least 100 iterations: with few, the checkpoints halve the step before the search
    has gone anywhere. Arguments, result and errors are those of `pgd_restarts`.
    """
    chosen = choose_loss(model, loss, mean_logits=mean_logits)
    worst = WorstCandidates(model, images, labels, draws)
    ball = Ball(eps)
    restarted(worst, chosen, partial(SaPgdStep, ball), ball, iterations, restarts, generator)
    return finish_by_square(worst, ball, finish, generator)


@checked("momentum")
def momentum(
    model: Model,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    norm: Norm = "linf",
    iterations: int = 100,
    restarts: int = 1,
    narrow: int = 1,
    random_start: bool = False,
    loss: LossName = "cross-entropy",
    mean_logits: bool = False,
    draws: int = 1,
    finish: int = 0,
    generator: torch.Generator | None = None,
) -> Images:
    """Sign steps along a running sum of gradients (MI-FGSM, Dong et al. 2018), halved four times on the way.

    m = 0.5 m + g / mean |g|, and the iterate moves by eta sign(m), in L2 eta m / |m|, inside the ball. eta starts at
    eps / 2 and is halved after each fifth of the steps.

    Args:
        narrow: after the first start, climb only from 1 / `narrow` of the images that stand, those of the largest
            margin loss, with `narrow` times the iterations: each start costs about the same.
        random_start: also the first start is a uniform draw from the ball, not the image itself.

    All else is as in `pgd_restarts`; any misclassified iterate counts.
    """
    chosen = choose_loss(model, loss, mean_logits=mean_logits)
    ball, worst = Ball(eps, norm), WorstCandidates(model, images, labels, draws)
    new_step = partial(MomentumStep, ball)
    restarted(worst, chosen, new_step, ball, iterations, restarts, generator, random_start=random_start, narrow=narrow)
    return finish_by_square(worst, ball, finish, generator)


class MomentumStep(PerRow):
    """m = decay m + g / mean |g|, a step eta up m in the norm; eta = eps / 2, halved after each fifth of the steps."""

    m: Tensor | float = 0.0

    def __init__(self, ball: Ball, iterations: int, decay: float = SUM) -> None:
        self.ball, self.lasts, self.done, self.decay = ball, max(iterations // (HALVINGS + 1), 1), 0, decay

    def __call__(self, images: Tensor, adversarial: Tensor, point: LossGradient) -> Tensor:
        slope = point.gradient
        self.m = self.decay * self.m + _divided(slope, slope.abs().mean((1, 2, 3), keepdim=True))
        size = self.ball.eps / 2 / 2 ** min(self.done // self.lasts, HALVINGS)
        self.done += 1
        return self.ball.step(images, adversarial, self.m, size)


class AdaptiveStep(PerRow, ABC):
    """Steps whose size is halved at checkpoints, where the search also returns to the best iterate."""

    first: float  # size of the first step, as a multiple of eps

    def __init__(self, ball: Ball, iterations: int) -> None:
        self.ball, self.iterations = ball, iterations
        self.checkpoints: Checkpoints | None = None
        self.previous: Tensor | None = None  # the iterate before this one

    def __call__(self, images: Tensor, adversarial: Tensor, point: LossGradient) -> Tensor:
        slope, per_sample = point.gradient, (-1, *(1,) * (images.dim() - 1))
        if self.checkpoints is None:
            self.checkpoints = Checkpoints(self.iterations, point.loss)
            self.size = torch.full_like(point.loss, self.first * self.ball.eps).view(per_sample)
            self.best, self.best_slope = adversarial, slope
        else:
            better = (point.loss > self.checkpoints.best).view(per_sample)
            self.best = torch.where(better, adversarial, self.best)
            self.best_slope = torch.where(better, slope, self.best_slope)
            halved = self.checkpoints.halve(point.loss).view(per_sample)
            self.size = torch.where(halved, self.size / 2, self.size)
            adversarial = torch.where(halved, self.best, adversarial)
            slope = torch.where(halved, self.best_slope, slope)
        move = self._move(images, adversarial, slope)
        self.previous = adversarial
        return self.ball.projected(images, adversarial - images + move)

    @abstractmethod
    def _move(self, images: Tensor, adversarial: Tensor, slope: Tensor) -> Tensor:
        """Return the change of the iterate before projection, from the gradient `slope`."""


class ApgdStep(AdaptiveStep):
    """A step up the gradient with momentum: 0.75 of the new step and 0.25 of the previous one."""

    first = 2.0

    def _move(self, images: Tensor, adversarial: Tensor, slope: Tensor) -> Tensor:
        move = self.ball.step(images, adversarial, slope, self.size) - adversarial
        if self.previous is not None:
            move = MOMENTUM * move + (1 - MOMENTUM) * (adversarial - self.previous)
        return move


class SaPgdStep(AdaptiveStep):
    """m = 0.5 m + g / mean |g|, v = 0.8 v + g^2 / mean g^2, move = clip(eta m / sqrt v, -eta, eta).

    g is the gradient, the means are over the pixels of a sample, and eta starts at eps.
    """

    first = 1.0
    m: Tensor | float = 0.0
    v: Tensor | float = 0.0

    def _move(self, images: Tensor, adversarial: Tensor, slope: Tensor) -> Tensor:
        pixels = (1, 2, 3)
        scaled = _divided(slope, slope.abs().mean(pixels, keepdim=True))
        square = scaled.square()  # of the scaled gradient, as the square of a tiny one would be 0 in float32
        self.m = FIRST * self.m + scaled
        self.v = SECOND * self.v + _divided(square, square.mean(pixels, keepdim=True))
        return torch.clamp(self.size * _divided(self.m, self.v.sqrt()), -self.size, self.size)


def _divided(value: Tensor, by: Tensor) -> Tensor:
    """Return value / by, and 0 where `by` is 0: a pixel that never had a gradient does not move."""
    return torch.where(by > 0, value / torch.where(by > 0, by, 1.0), 0.0)


class Checkpoints(PerRow):
    """Decides when the step of a sample is halved (Croce and Hein 2020, sec. 3.1): at a checkpoint, if at most 75 % of
    the steps since the last one raised the loss, or if neither the step nor the best loss has changed since then.
    """

    def __init__(self, iterations: int, loss: Float[Tensor, " batch"]) -> None:  # loss: at the start of the run
        self._lengths = iter(lengths(iterations))
        self._length = self._left = next(self._lengths, 0)
        self._rises = torch.zeros_like(loss)
        self._last = self.best = self._best_before = loss
        self._halved = torch.ones_like(loss, dtype=torch.bool)

    def halve(self, loss: Float[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Take the loss after one iteration; return the samples whose step is halved now."""
        self._rises += loss > self._last
        self._last, self.best = loss, torch.maximum(self.best, loss)
        self._left -= 1
        if self._left:
            return torch.zeros_like(self._halved)
        stuck = ~self._halved & (self._best_before >= self.best)
        self._halved = (self._rises <= IMPROVED * self._length) | stuck
        self._best_before, self._rises = self.best, torch.zeros_like(loss)
        self._length = self._left = next(self._lengths, 0)
        return self._halved


def lengths(iterations: int) -> list[int]:
    """Return the iterations between checkpoints: 22 % of all at first, then 3 % fewer each time, at least 6 %."""
    length, least, less = (max(int(share * iterations), 1) for share in (0.22, 0.06, 0.03))
    gaps: list[int] = []
    while sum(gaps) + length <= iterations:
        gaps.append(length)
        length = max(length - less, least)
    return gaps


@checked("autoattack")
def autoattack(
    model: Model,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    norm: Norm = "linf",
    version: Literal["standard", "plus", "rand"] = "standard",
    seed: int = 0,
) -> Images:
    """The parameter-free ensemble; each attack runs on the images that the earlier ones have not broken.

    All attacks but Square follow the gradient rule in force. The package's log is silenced meanwhile.

    Args:
        version: "standard" is APGD with cross-entropy, targeted APGD, targeted FAB and Square; "plus" adds APGD with
            DLR, FAB and restarts; "rand", for a random model, is APGD with cross-entropy and with DLR over 20 draws.
        seed: of the package's draws; torch's global generators are restored afterwards.

    All else is as in `pgd`; where no adversarial image was found, the image itself is returned.

    Raises:
        UsageError: the package is missing, an option out of range, or too few classes for the version.
    """
    try:
        package = importlib.import_module("pyautoattack")
    except ImportError:
        hint = install_command("autoattack")
        raise UsageError(f"autoattack needs the package pyautoattack, which is not installed; run: {hint}") from None
    if not len(images) or not eps:
        return images.detach().clone()
    if norm == "l2" and version != "rand" and min(images.shape[-2:]) < 5:
        raise UsageError("autoattack: its Square attack in L2 needs images of at least 5 x 5 pixels; use version=rand.")

    steps = loss_steps(model)

    def logits(queried: Tensor) -> Tensor:
        return model(queried.clone()).float() / steps

    with seeded(seed), _quiet():
        with torch.no_grad():
            classes = logits(images[:1]).shape[1]
        if classes < CLASSES[version]:
            needed = f"version {version!r} needs {CLASSES[version]} classes for its DLR loss"
            raise UsageError(f"autoattack: {needed}, but the model has {classes}; use apgd with loss=margin.")
        adversary = package.AutoAttack(
            logits, norm={"linf": "Linf", "l2": "L2"}[norm], eps=eps, version=version, seed=seed, device=images.device
        )
        # The package assumes ten classes; with fewer it would index beyond the last logit.
        adversary.fab.n_target_classes = adversary.apgd_targeted.n_target_classes = min(TARGETS, classes - 1)
        found, _ = adversary.run_standard_evaluation(images.detach().float(), labels, batch_size=len(images))
    adversarial: Tensor = found.to(images.dtype)
    return adversarial


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the package's log, and restore the trace function (debugger, coverage tool) that the package clears."""
    log, trace = logging.getLogger("auto-attack"), sys.gettrace()
    was_disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was_disabled
        sys.settrace(trace)
