"""The loop of every gradient attack, and the attacks with a fixed step: FGSM, PGD, PGD with restarts (Eq. 3, 4).

APGD and SA-PGD (adaptive.py) replace the step of `iterate`, greedy rule choice (Xu et al. 2022) the evaluation.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from hiresnn.attacks.ball import Ball
from hiresnn.attacks.gate import Images, Labels, Model, Norm, checked, perturbed, relative_step
from hiresnn.attacks.losses import (
    Loss,
    LossGradient,
    LossName,
    WorstCandidates,
    choose_loss,
    expected_logits,
    loss_gradient,
    over_draws,
)
from hiresnn.attacks.search import finish_by_square
from hiresnn.errors import UsageError
from hiresnn.neurons import gradient_rule, takes_rule
from hiresnn.neurons.rules import RULES, Rule, keep_rows

Evaluate = Callable[[int, Tensor, Tensor], "tuple[LossGradient, Tensor | None]"]
"""(steps made, rows of the batch, their iterates) -> loss and gradient there, and which rows go on; None keeps all."""
Step = Callable[[Tensor, Tensor, LossGradient], Tensor]
"""(images, iterates, loss and gradient there) -> next iterates. If it remembers tensors of rows, it is a `PerRow`."""
FEWEST = 10
"""Images that the later starts of a narrowed attack climb from, if so many stand."""
FALLEN = 0.1
"""Share of a batch that must be broken before these images leave it, where statistics of a rule must follow."""


class PerRow:
    """A step or a loss whose tensors, also in its parts, have one row per image of the batch."""

    def keep(self, kept: Bool[Tensor, " batch"]) -> None:
        """Go on with some rows of the batch."""
        for name, value in vars(self).items():
            if isinstance(value, PerRow):
                value.keep(kept)
            elif isinstance(value, Tensor):
                setattr(self, name, value[kept])


def iterate(
    images: Tensor, rows: Tensor, start: Tensor, iterations: int, evaluate: Evaluate, step: Step
) -> tuple[Tensor, Tensor]:
    """Run the loop on rows of a batch from `start`; return the rows left and their last iterates, not evaluated yet."""
    adversarial = start
    for done in range(iterations):
        if not len(rows):
            break
        point, kept = evaluate(done, rows, adversarial)
        if kept is not None:
            rows, adversarial, point = rows[kept], adversarial[kept], point.at(kept)
        adversarial = step(images[rows], adversarial, point)
    return rows, adversarial


def fixed_step(step: float | None, ball: Ball) -> Step:
    """Return the step of that size up the gradient, inside the ball and [0, 1] (Eq. 4); None scales with eps."""
    size = relative_step(ball.eps) if step is None else step

    return lambda images, adversarial, point: ball.step(images, adversarial, point.gradient, size)


@checked("fgsm")
def fgsm(
    model: Model,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    norm: Norm = "linf",
    draws: int = 1,
    float32_loss: bool = False,
) -> Images:
    """Fast gradient sign method: x + eps * sign(gradient), clipped to [0, 1] (Eq. 3; Goodfellow et al. 2015).

    In L2 it is the fast gradient method, x + eps * gradient / |gradient|. Arguments, result and errors are those of
    `pgd`.
    """
    return pgd(
        model, images, labels, eps=eps, norm=norm, step=eps, iterations=1, draws=draws, float32_loss=float32_loss
    )


@checked("pgd")
def pgd(
    model: Model,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    norm: Norm = "linf",
    step: float | None = None,
    iterations: int = 7,
    random_start: bool = False,
    draws: int = 1,
    float32_loss: bool = False,
    generator: torch.Generator | None = None,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Images:
    """Projected gradient descent on the cross-entropy; the last iterate counts (Eq. 4; Madry et al. 2018).

    Args:
        model: images -> logits; a module is attacked in eval mode and restored afterwards.
        images: in [0, 1].
        labels: the true classes.
        eps: bound in pixel units (paper: 8/255), for L-infinity in [0, 1]. L2 has no default.
        norm: "linf" bounds the change of each pixel, and a step follows the sign of the gradient. "l2" bounds the
            Euclidean length of the change, and a step follows the gradient, divided by its length.
        step: alpha, in pixel units, the length of a step in L2; None scales with eps, from the paper's 0.01 at 8/255.
        iterations: K (paper: 7).
        random_start: start at a uniform draw from the ball, as the authors' code does; Eq. 4 does not.
        draws: forward passes that a gradient is averaged over, see `over_draws`.
        float32_loss: round the cross-entropy as torch does in float32, as published FGSM and PGD do: it leaves images
            that others break, where the true class leads by 16.6 or more.
        generator: CPU generator of the random start.
        watch: called before each step with the number of steps made so far and the logits [B, classes] there, so one
            run of K steps also gives the accuracy after every smaller number of steps.

    Returns:
        Adversarial images, checked: `|x_adv - x|` <= eps in the norm, values in [0, 1].

    Raises:
        UsageError: an option out of range, or images that are not floats in [0, 1].
    """
    ball = Ball(eps, norm)
    noise = ball.draw(images, generator) if random_start else torch.zeros_like(images)
    gradient, loss = over_draws(draws), choose_loss(model, "cross-entropy", float32=float32_loss)

    def evaluate(done: int, _: Tensor, adversarial: Tensor) -> tuple[LossGradient, None]:
        point = gradient(model, adversarial, labels, loss)
        if watch is not None:
            watch(done, point.logits)
        return point, None

    rows, start = torch.arange(len(images), device=images.device), perturbed(images, noise)
    return iterate(images, rows, start, iterations, evaluate, fixed_step(step, ball))[1]


@checked("pgd-restarts")
def pgd_restarts(
    model: Model,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    norm: Norm = "linf",
    step: float | None = None,
    iterations: int = 100,
    restarts: int = 5,
    loss: LossName = "cross-entropy",
    mean_logits: bool = False,
    draws: int = 1,
    finish: int = 0,
    generator: torch.Generator | None = None,
) -> Images:
    """PGD from several starts, where any misclassified iterate counts (as Carlini et al. 2019 advise).

    The first start is the image itself, the others are uniform draws from the ball. An image leaves the batch with its
    first misclassified iterate.

    Args:
        step: in pixel units; None scales with eps, from the paper's 0.01 at 8/255.
        restarts: number of starts, at least 1.
        loss: "cross-entropy", "margin" or "dlr".
        mean_logits: divide the logits by the number of timesteps before the loss, see `choose_loss`.
        finish: queries of a final Square search from the best iterate, see `finish_by_square`.

    All else is as in `pgd`; where no adversarial image was found, the iterate with the largest margin loss is returned.
    """
    ball, chosen = Ball(eps, norm), choose_loss(model, loss, mean_logits=mean_logits)
    move = fixed_step(step, ball)
    # The logits of the first iterate, the image itself, also say which images are wrong at the start.
    first = over_draws(draws)(model, images, labels, chosen) if iterations else None
    worst = WorstCandidates(model, images, labels, draws, first)
    restarted(worst, chosen, lambda _: move, ball, iterations, restarts, generator, leave=True)
    return finish_by_square(worst, ball, finish, generator)


@checked("unbroken", returns_images=False)
def unbroken(
    model: Model,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    step: float | None = None,
    iterations: int = 7,
) -> Bool[Tensor, " batch"]:
    """Return which images are classified correctly at every iterate of `pgd_restarts` with one start.

    This is the fastest way to a robust accuracy where any iterate counts: no image is evaluated twice.
    """
    ball, loss = Ball(eps), choose_loss(model, "cross-entropy")
    first = loss_gradient(model, images, labels, loss) if iterations else None
    worst = WorstCandidates(model, images, labels, first=first)
    restarted(worst, loss, lambda _: fixed_step(step, ball), ball, iterations, leave=True)
    return ~worst.broken


def restarted(
    worst: WorstCandidates,
    loss: Loss,
    new_step: Callable[[int], Step],
    ball: Ball,
    iterations: int,
    restarts: int = 1,
    generator: torch.Generator | None = None,
    *,
    leave: bool = False,
    random_start: bool = False,
    narrow: int = 1,
) -> None:
    """Climb from the images (or a `random_start`), then from uniform draws, each time on what still stands.

    `new_step` makes the step of a climb of so many iterations. With `narrow`, the later starts climb only from one in
    `narrow` of the images that stand, those of the largest margin loss, but `narrow` times as long.
    """
    for run in range(restarts):
        rows, steps = worst.standing, iterations * (narrow if run else 1)
        if run and narrow > 1:
            count = max(math.ceil(len(rows) / narrow), FEWEST)
            rows = rows[worst.margins[rows].argsort(descending=True)[:count].sort().values]
        start = worst.images[rows]
        if run or random_start:
            start = perturbed(start, ball.draw(start, generator))
        climb(worst, rows, start, steps, loss, new_step(steps), leave=leave)


def climb(
    worst: WorstCandidates, rows: Tensor, start: Tensor, iterations: int, loss: Loss, step: Step, *, leave: bool = False
) -> None:
    """Run the loop once from `start`, where any misclassified iterate counts.

    Broken images `leave` at once. Otherwise they leave in groups, and only where the statistics of a rule (ASSG) can
    follow, so that the images that stand are attacked as if all had stayed.
    """
    gradient = over_draws(worst.draws)

    def evaluate(_: int, rows: Tensor, adversarial: Tensor) -> tuple[LossGradient, Tensor | None]:
        first, worst.first = worst.first, None
        point = first.at(rows) if first else gradient(worst.model, adversarial, worst.labels[rows], loss)
        wrong = worst.update(rows, adversarial, point.logits)
        if leave:
            return point, ~wrong
        standing = ~worst.broken[rows]
        if int(standing.sum()) > (1 - FALLEN) * len(rows) or not keep_rows(worst.model, standing):
            return point, None
        parts: tuple[object, ...] = (step, loss)
        for part in parts:
            if isinstance(part, PerRow):
                part.keep(standing)
        return point, standing

    worst.query(*iterate(worst.images, rows, start, iterations, evaluate, step))


CHOICE = ("linear", "arctan", "rectangular", "straight-through", "bptr", "conversion")
"""Rules that are tried unless the caller names others."""


@checked("greedy")
def greedy(
    model: nn.Module,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    norm: Norm = "linf",
    step: float | None = None,
    iterations: int = 20,
    loss: LossName = "margin",
    mean_logits: bool = False,
    rules: Sequence[Rule] | None = None,
) -> Images:
    """PGD that takes, for each sample, the step of the rule that leads to the highest loss.

    Broken images leave the batch, so do not use it with a rule that keeps statistics (ASSG).

    Args:
        model: a network with LIF neurons. All else is as in `pgd_restarts`.
        rules: the rules to try; each costs two forward passes and a backward pass per step. None takes those of
            `CHOICE` that the network supports.
    """
    if rules is None:
        defaults = [RULES[name].make() for name in CHOICE]
        rules = [rule for rule in defaults if takes_rule(model, rule)] or defaults  # gradient_rule names the cause
    if not rules:
        raise UsageError("greedy: rules is empty; name at least one.")
    chosen, move = choose_loss(model, loss, mean_logits=mean_logits), fixed_step(step, Ball(eps, norm))
    worst = WorstCandidates(model, images, labels)

    def best_rule(_: int, rows: Tensor, adversarial: Tensor) -> tuple[LossGradient, Tensor]:
        highest, best = torch.full((len(rows),), -torch.inf, device=images.device), torch.zeros_like(adversarial)
        for rule in rules:
            with gradient_rule(model, rule):
                point = loss_gradient(model, adversarial, labels[rows], chosen)
            tried = move(images[rows], adversarial, point)
            logits = expected_logits(model, tried)
            worst.update(rows, tried, logits)
            value = chosen(logits, labels[rows])
            best = torch.where((value > highest).view(-1, *(1,) * (best.dim() - 1)), point.gradient, best)
            highest = torch.maximum(value, highest)
        return point._replace(gradient=best), ~worst.broken[rows]

    rows = worst.standing
    iterate(images, rows, images[rows], iterations, best_rule, move)
    return worst.adversarial
