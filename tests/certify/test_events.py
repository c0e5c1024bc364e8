"""Sparsity-aware smoothing: exact against all grids of eight cells, and sound for arbitrary classifiers of them."""

import itertools

import pytest
import torch

from hiresnn.certify import Sparse, certify_smoothed
from hiresnn.errors import UsageError

BITS = 8
GRIDS = torch.tensor(list(itertools.product((0, 1), repeat=BITS)), dtype=torch.float64)
"""All 256 grids, as bits of their position."""
SETTINGS = [(0.1, 0.4), (0.01, 0.6), (0.0, 0.5), (0.3, 0.3), (0.2, 0.0)]


def chances(p_plus, p_minus):
    """[256, 256]: probability of each noisy grid (column) from each grid (row), cell by cell."""
    first, second = GRIDS[:, None], GRIDS[None]
    flips = first * p_minus + (1 - first) * p_plus
    return torch.where(first == second, 1 - flips, flips).prod(2)


@pytest.mark.parametrize(("p_plus", "p_minus"), SETTINGS)
@pytest.mark.parametrize(("added", "deleted"), [(1, 0), (0, 1), (1, 1), (2, 0), (0, 3), (3, 2), (4, 4)])
def test_the_required_probability_is_that_of_the_worst_of_all_classifiers(p_plus, p_minus, added, deleted):
    """Neyman and Pearson by brute force: the 256 noisy grids in the order of their likelihood ratio."""
    first = torch.tensor([0.0] * added + [1.0] * (BITS - added))
    second = first.clone()
    second[:added] = 1
    second[added : added + deleted] = 0
    table = chances(p_plus, p_minus)
    here, there = (table[int((grid == GRIDS).all(1).nonzero())] for grid in (first, second))
    order = sorted(range(2**BITS), key=lambda z: -float(here[z] / there[z]) if there[z] > 0 else -torch.inf)
    needed = mass = 0.0
    for z in (z for z in order if here[z] > 0):
        if mass + float(there[z]) > 0.5 + 1e-12:
            needed += float(here[z]) * (0.5 - mass) / float(there[z])
            break
        needed, mass = needed + float(here[z]), mass + float(there[z])
    else:
        needed = 1.0
    assert Sparse(p_plus, p_minus).required(added, deleted) == pytest.approx(needed, abs=1e-9)


@pytest.mark.parametrize(("p_plus", "p_minus"), SETTINGS)
def test_no_certificate_is_wrong_on_any_pair_of_grids(p_plus, p_minus):
    """Random and structured classifiers of eight cells, whose probabilities are exact, on all 65,536 pairs."""
    table, sparse = chances(p_plus, p_minus), Sparse(p_plus, p_minus)
    generator = torch.Generator().manual_seed(0)
    random = (torch.rand(2**BITS, 20, generator=generator) < torch.rand(20, generator=generator)).double()
    counts = GRIDS.sum(1, keepdim=True)
    classifiers = torch.cat([random, (counts >= torch.arange(1, BITS)).double(), GRIDS], 1)
    p = (table @ classifiers).clamp(max=1)  # rounding
    added = ((GRIDS[None] - GRIDS[:, None]) > 0).sum(2)
    deleted = ((GRIDS[None] - GRIDS[:, None]) < 0).sum(2)
    required = torch.tensor(
        [[sparse.required(a, d) if a + d <= BITS else 1.0 for d in range(BITS + 1)] for a in range(BITS + 1)],
        dtype=torch.float64,
    )[added, deleted]
    certified = 0
    for c in range(p.shape[1]):
        inside = p[:, c, None] > required
        certified += int(inside.sum())
        assert (p[:, c].expand_as(inside)[inside] > 0.5 - 1e-9).all()
    assert certified > 10_000


def test_a_lost_event_needs_three_quarters_where_half_of_them_are_lost():
    """First: the event survives with 1/2. Second: never. The worst classifier has "lost" and half of "survives"."""
    assert Sparse(0.0, 0.5).required(0, 1) == pytest.approx(0.5 + 0.5 * 0.5)
    assert not Sparse(0.0, 0.5).certified(0.75, 0, 1)
    assert Sparse(0.0, 0.5).certified(0.751, 0, 1)


def test_more_events_need_more():
    sparse = Sparse(0.01, 0.6)
    grid = [[sparse.required(a, d) for d in range(4)] for a in range(4)]
    assert all(x <= y for row in grid for x, y in itertools.pairwise(row))
    assert all(x <= y for one, two in itertools.pairwise(grid) for x, y in zip(one, two, strict=True))
    assert grid[0][0] == pytest.approx(0.5)


def test_the_radius_is_the_first_number_of_events_that_is_not_certified():
    sparse = Sparse(0.01, 0.6)
    for p in (0.55, 0.9, 0.99, 0.9999):
        radius = sparse.radius(p)
        assert all(sparse.certified(p, a, int(radius) - 1 - a) for a in range(int(radius)))
        assert not all(sparse.certified(p, a, int(radius) - a) for a in range(int(radius) + 1))


def test_noisy_grids_have_the_rates_of_the_noise():
    grid = torch.zeros(3, 2, 5, 5)
    grid[:, 0] = 1
    noisy = Sparse(0.05, 0.4).draw(grid, 4000, torch.Generator().manual_seed(0))
    assert noisy.shape == (4000, 3, 2, 5, 5)
    assert float(noisy[:, :, 0].mean()) == pytest.approx(0.6, abs=5e-3)
    assert float(noisy[:, :, 1].mean()) == pytest.approx(0.05, abs=2e-3)


def test_event_grids_are_certified_by_a_classifier_of_counts():
    """Four of 50 cells hold an event; two that remain make class 1: P(Binomial(4, 0.9) >= 2)."""
    grid = torch.zeros(1, 2, 1, 5, 5)
    grid[0, 0, 0, 0, :4] = 1

    def counts(grids):
        total = grids.flatten(1).sum(1)
        return torch.stack([1.5 - total, total - 1.5], 1)

    certificate = certify_smoothed(counts, grid, Sparse(0.0, 0.1), n=2000)
    assert certificate.prediction.item() == 1
    assert certificate.probability.item() == pytest.approx(0.9963, abs=0.012)
    assert Sparse(0.0, 0.1).certified(certificate.probability.item(), 0, 1)  # needs 0.9 + 0.1 / 2
    assert certificate.radius.item() == 1  # the noise never adds an event, so an added one is seen each time


@pytest.mark.parametrize("probabilities", [(0.5, 0.5), (-0.1, 0.4), (0, 0), (0.1, 0.95)])
def test_impossible_noise_is_refused(probabilities):
    with pytest.raises(UsageError, match="p_plus"):
        Sparse(*probabilities)


def test_other_values_than_events_are_refused():
    with pytest.raises(UsageError, match="binary"):
        Sparse(0.1, 0.2).draw(torch.full((2,), 0.5), 3, torch.Generator())
    with pytest.raises(UsageError, match="from 0"):
        Sparse(0.1, 0.2).required(-1, 0)
