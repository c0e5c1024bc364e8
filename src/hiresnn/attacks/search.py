"""Attacks that use only logits and no gradient: Square and random noise."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from hiresnn.attacks.gate import Images, Labels, Model, checked, perturbed, uniform
from hiresnn.attacks.losses import WorstCandidates, expected_logits, margin

Generator = torch.Generator | None
SCHEDULE = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries out of 10,000 after which the area of the squares is halved."""
FINISH_AREA = 0.05
"""Share of the image that the first squares of `finish_by_square` cover: small, to keep what the gradients found."""


@checked("square")
def square(
    model: Model,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    queries: int = 1000,
    area: float = 0.8,
    generator: torch.Generator | None = None,
) -> Images:
    """Square attack: random search with squares on the margin loss (Andriushchenko et al. 2020).

    Each query sets one random square to -eps or +eps per channel, and keeps it if the margin loss rises. If this breaks
    images that gradient attacks do not, the gradients are masked.

    Args:
        queries: largest number of forward passes per image; 1,000 or more, 5,000 for a published number. A broken image
            takes no more.
        area: share of the image that the first squares cover, in (0, 1].

    All else is as in `pgd_restarts`.
    """
    worst = WorstCandidates(model, images, labels)
    rows = worst.standing
    stripes = _signs((len(rows), *images.shape[1:-2], 1, images.shape[-1]), images, generator) * eps
    _search(worst, rows, stripes.expand(len(rows), *images.shape[1:]), eps, queries, area, generator)
    return worst.adversarial


def finish_by_square(worst: WorstCandidates, eps: float, queries: int, generator: Generator) -> Tensor:
    """Search from the best iterates of a gradient attack on the images that still stand; 150 to 300 queries do."""
    rows = worst.standing
    _search(worst, rows, worst.adversarial[rows] - worst.images[rows], eps, queries, FINISH_AREA, generator)
    return worst.adversarial


def _search(
    worst: WorstCandidates, rows: Tensor, delta: Tensor, eps: float, queries: int, area: float, generator: Generator
) -> None:
    """Search at random from the perturbations `delta` of `rows`, which cost the first query."""
    proposed, reached = delta, torch.full_like(worst.margins[rows], -torch.inf)
    _, *channels, height, width = delta.shape  # of an event grid bins and polarities, which have a sign each
    for query in range(1, queries + 1):
        if not len(rows):
            break
        candidates = perturbed(worst.images[rows], proposed)
        logits = expected_logits(worst.model, candidates, worst.draws)
        left, loss = ~worst.update(rows, candidates, logits), margin(logits, worst.labels[rows])
        better = loss > reached
        delta = torch.where(better.view(-1, *(1,) * (delta.dim() - 1)), proposed, delta)[left]
        rows, reached = rows[left], torch.maximum(loss, reached)[left]
        length = side(query, queries, area, height, width)
        window = _windows(len(rows), length, height, width, generator).to(delta.device)
        colour = _signs((len(rows), *channels, 1, 1), delta, generator) * eps
        proposed = torch.where(window.view(-1, *(1,) * len(channels), height, width), colour, delta)


def side(query: int, queries: int, area: float, height: int, width: int) -> int:
    """Return the side of the square, in pixels, at a query counted from 1; its area halves along `SCHEDULE`."""
    halvings = sum(int(query / queries * 10_000) > after for after in SCHEDULE)
    length = round(math.sqrt(area / 2**halvings * height * width))
    return max(1, min(length, height - 1, width - 1))


def _signs(shape: tuple[int, ...], like: Tensor, generator: Generator) -> Tensor:
    return (torch.randint(0, 2, shape, generator=generator) * 2 - 1).to(like)


def _windows(count: int, length: int, height: int, width: int, generator: Generator) -> Tensor:
    """Draw one square per sample at a random place: [count, 1, height, width], True inside."""
    inside = []
    for extent in (height, width):
        first = torch.randint(0, extent - length + 1, (count, 1), generator=generator)
        along = torch.arange(extent)
        inside.append((along >= first) & (along < first + length))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]


def _gaussian(images: Tensor, eps: float, generator: Generator) -> Tensor:
    return (torch.randn(images.shape, generator=generator).to(images) * eps).clamp(-eps, eps)


KINDS: dict[str, Callable[[Tensor, float, Generator], Tensor]] = {
    "uniform": uniform,
    "sign": lambda images, eps, generator: _signs(tuple(images.shape), images, generator) * eps,
    "gaussian": _gaussian,
}
"""Distributions of `random_noise`."""


@checked("noise")
def random_noise(
    model: Model,
    images: Images,
    labels: Labels,
    *,
    eps: float = 8 / 255,
    draws: int = 100,
    kind: Literal["uniform", "sign", "gaussian"] = "uniform",
    generator: torch.Generator | None = None,
) -> Images:
    """The worst of many random perturbations per image; a gradient attack should break more (Athalye et al. 2018).

    Args:
        draws: number of perturbations, at least 1; a broken image takes no more.
        kind: "uniform" in [-eps, eps], "sign" (-eps or +eps), or "gaussian" (standard deviation eps, clipped).

    All else is as in `pgd_restarts`.
    """
    worst = WorstCandidates(model, images, labels)
    for _ in range(draws):
        rows = worst.standing
        worst.query(rows, perturbed(images[rows], KINDS[kind](images[rows], eps, generator)))
    return worst.adversarial
