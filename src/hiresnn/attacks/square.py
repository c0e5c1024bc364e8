"""Square attack (Andriushchenko et al. 2020): random search with squares. It sees scores alone, never a gradient."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from hiresnn.attacks.ball import perturbed
from hiresnn.attacks.best_of import Worst
from hiresnn.attacks.eot import expected_logits
from hiresnn.attacks.gate import Model, check, frozen
from hiresnn.attacks.losses import margin
from hiresnn.attacks.options import check_options
from hiresnn.errors import UsageError

SCHEDULE = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Queries of 10,000 after which the area of the squares is halved."""


def square(
    model: Model,
    images: Float[Tensor, "batch channel height width"],
    labels: Int64[Tensor, " batch"],
    *,
    eps: float = 8 / 255,
    queries: int = 1000,
    area: float = 0.8,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "batch channel height width"]:
    """Change one random square a query to -eps or +eps in each channel; keep what raises the margin loss.

    The control for every surrogate: what it breaks and gradients do not, the gradients were hiding.

    Args:
        model, images, labels, eps: as in `pgd`.
        queries: forward passes an image at most: 1,000 or more, 5,000 for a headline. A broken image takes no more.
        area: share of the image that the first squares cover, in (0, 1].
        generator: CPU generator of the draws.

    Returns:
        Adversarial images, verified; where none was found, the candidate with the largest margin loss.

    Raises:
        UsageError: a value out of range.
    """
    check_options("square", eps=eps, queries=queries)
    if not 0 < area <= 1:
        raise UsageError(f"square: area is {area}; it must lie in (0, 1].")
    _, channels, height, width = images.shape
    with frozen(model):
        worst = Worst(model, images, labels)
        rows = worst.standing
        delta = (_signs((len(rows), channels, 1, width), images, generator) * eps).expand(-1, -1, height, -1)
        reached = torch.full_like(worst.reached[rows], -torch.inf)  # the search starts at its stripes, whatever they do
        proposed = delta
        for query in range(1, queries + 1):
            if not len(rows):
                break
            candidates = perturbed(images[rows], proposed)
            logits = expected_logits(model, candidates)
            left, loss = ~worst.offer(rows, candidates, logits), margin(logits, labels[rows])
            better = loss > reached
            delta = torch.where(better.view(-1, 1, 1, 1), proposed, delta)[left]
            rows, reached = rows[left], torch.maximum(loss, reached)[left]
            length = side(query, queries, area, height, width)
            window = _windows(len(rows), length, height, width, generator).to(images.device)
            colour = _signs((len(rows), channels, 1, 1), images, generator) * eps
            proposed = torch.where(window, colour, delta)
    check(images, worst.adversarial, eps=eps)
    return worst.adversarial


def side(query: int, queries: int, area: float, height: int, width: int) -> int:
    """Side of the square, in pixels, at a query counted from 1: its area halves along `SCHEDULE`."""
    halvings = sum(int(query / queries * 10_000) > after for after in SCHEDULE)
    length = round(math.sqrt(area / 2**halvings * height * width))
    return max(1, min(length, height - 1, width - 1))


def _signs(shape: tuple[int, ...], like: Tensor, generator: torch.Generator | None) -> Tensor:
    return (torch.randint(0, 2, shape, generator=generator) * 2 - 1).to(like)


def _windows(count: int, length: int, height: int, width: int, generator: torch.Generator | None) -> Tensor:
    """One square a sample at a random place: [count, 1, height, width], True inside."""
    inside = []
    for extent in (height, width):
        first = torch.randint(0, extent - length + 1, (count, 1), generator=generator)
        along = torch.arange(extent)
        inside.append((along >= first) & (along < first + length))
    return (inside[0][:, :, None] & inside[1][:, None, :])[:, None]
