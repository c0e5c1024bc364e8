"""Attacks that use only logits and no gradient: Square and random noise."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from hiresnn.attacks.ball import Ball, unit
from hiresnn.attacks.gate import Images, Labels, Model, Norm, checked, perturbed
from hiresnn.attacks.losses import WorstCandidates, expected_logits, margin

Generator = torch.Generator | None
SCHEDULE = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries out of 10,000 after which the area of the squares is halved."""
FINISH_AREA = 0.05
"""Share of the image that the first squares of `finish_by_square` cover: small, to keep what the gradients found."""
ADDED = 0.5
"""Length of the square that a query in L2 adds, as a share of eps."""


@checked("square")
def square(
    model: Model,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    norm: Norm = "linf",
    queries: int = 1000,
    area: float = 0.8,
    generator: torch.Generator | None = None,
) -> Images:
    """Square attack: random search with squares on the margin loss (Andriushchenko et al. 2020).

    Each query sets one random square to -eps or +eps per channel, and keeps it if the margin loss rises. If this breaks
    images that gradient attacks do not, the gradients are masked. In L2 each query empties one random square of the
    change, adds another of length eps / 2, and scales the whole to eps; this is simpler than the published L2 form.

    Args:
        queries: largest number of forward passes per image; 1,000 or more, 5,000 for a published number. A broken image
            takes no more.
        area: share of the image that the first squares cover, in (0, 1].

    All else is as in `pgd_restarts`.
    """
    ball, worst = Ball(eps, norm), WorstCandidates(model, images, labels)
    rows = worst.standing
    stripes = _signs((len(rows), *images.shape[1:-2], 1, images.shape[-1]), images, generator)
    stripes = stripes.expand(len(rows), *images.shape[1:]) * ball.each_pixel(images)
    _search(worst, rows, stripes, ball, queries, area, generator)
    return worst.adversarial


def finish_by_square(worst: WorstCandidates, ball: Ball, queries: int, generator: Generator) -> Tensor:
    """Search from the best iterates of a gradient attack on the images that still stand; 150 to 300 queries do."""
    rows = worst.standing
    _search(worst, rows, worst.adversarial[rows] - worst.images[rows], ball, queries, FINISH_AREA, generator)
    return worst.adversarial


def _search(
    worst: WorstCandidates, rows: Tensor, delta: Tensor, ball: Ball, queries: int, area: float, generator: Generator
) -> None:
    """Search at random from the perturbations `delta` of `rows`, which cost the first query."""
    proposed, reached = delta, torch.full_like(worst.margins[rows], -torch.inf)
    _, *channels, height, width = delta.shape  # of an event grid bins and polarities, which have a sign each
    for query in range(1, queries + 1):
        if not len(rows):
            break
        if ball.norm == "l2":  # without what the valid range cuts off
            proposed = ball.projected(worst.images[rows], proposed) - worst.images[rows]
        candidates = perturbed(worst.images[rows], proposed)
        logits = expected_logits(worst.model, candidates, worst.draws)
        left, loss = ~worst.update(rows, candidates, logits), margin(logits, worst.labels[rows])
        better = loss > reached
        delta = torch.where(better.view(-1, *(1,) * (delta.dim() - 1)), proposed, delta)[left]
        rows, reached = rows[left], torch.maximum(loss, reached)[left]
        length = side(query, queries, area, height, width)
        window = _windows(delta, length, generator)
        colour = _signs((len(rows), *channels, 1, 1), delta, generator)
        if ball.norm == "linf":
            proposed = torch.where(window, colour * ball.eps, delta)
        else:
            emptied = delta * ~_windows(delta, length, generator)
            proposed = ball.eps * unit(emptied + ADDED * ball.eps * unit(window * colour))


def side(query: int, queries: int, area: float, height: int, width: int) -> int:
    """Return the side of the square, in pixels, at a query counted from 1; its area halves along `SCHEDULE`."""
    halvings = sum(int(query / queries * 10_000) > after for after in SCHEDULE)
    length = round(math.sqrt(area / 2**halvings * height * width))
    return max(1, min(length, height - 1, width - 1))


def _signs(shape: tuple[int, ...], like: Tensor, generator: Generator) -> Tensor:
    return (torch.randint(0, 2, shape, generator=generator) * 2 - 1).to(like)


def _windows(delta: Tensor, length: int, generator: Generator) -> Tensor:
    """Draw one square per sample at a random place: [count, 1, height, width], True inside; a grid has more axes."""
    inside, count = [], len(delta)
    for extent in delta.shape[-2:]:
        first = torch.randint(0, extent - length + 1, (count, 1), generator=generator)
        along = torch.arange(extent)
        inside.append((along >= first) & (along < first + length))
    window = inside[0][:, :, None] & inside[1][:, None, :]
    return window.view(count, *(1,) * (delta.dim() - 3), *delta.shape[-2:]).to(delta.device)


KINDS: dict[str, Callable[[Ball, Tensor, Generator], Tensor]] = {
    "uniform": Ball.draw,
    "sign": lambda ball, like, draws: _signs(tuple(like.shape), like, draws) * ball.each_pixel(like),
    "gaussian": lambda ball, like, draws: torch.randn(like.shape, generator=draws).to(like) * ball.each_pixel(like),
}
"""Distributions of `random_noise`, before the projection to the ball."""


@checked("noise")
def random_noise(
    model: Model,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    norm: Norm = "linf",
    draws: int = 100,
    kind: Literal["uniform", "sign", "gaussian"] = "uniform",
    generator: torch.Generator | None = None,
) -> Images:
    """The worst of many random perturbations per image; a gradient attack should break more (Athalye et al. 2018).

    Args:
        draws: number of perturbations, at least 1; a broken image takes no more.
        kind: "uniform" in the ball, "sign" (-eps or +eps), or "gaussian" (standard deviation eps, clipped to the ball).
            In L2 every sign and deviation is eps / sqrt(pixels).

    All else is as in `pgd_restarts`.
    """
    ball, worst = Ball(eps, norm), WorstCandidates(model, images, labels)
    for _ in range(draws):
        rows = worst.standing
        worst.query(rows, ball.projected(images[rows], KINDS[kind](ball, images[rows], generator)))
    return worst.adversarial
