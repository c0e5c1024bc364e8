"""Attacks of images on event grids [B, T, P, H, W]: L-infinity on the grid, and counts of at least 0."""

import pytest
import torch

from hiresnn.attacks import parse, verified
from hiresnn.errors import AttackError

GRIDS = torch.tensor([1.0, 0.0, 0.0, 3.0]).view(2, 2, 1, 1, 1)
"""Two event grids of two bins and one cell; the first has at most one event in a cell, the second three."""
LABELS = torch.tensor([1, 1])


def network(grids: torch.Tensor) -> torch.Tensor:
    """More events are worse for class 1."""
    events = grids.flatten(1).sum(1)
    return torch.stack([events, 5 - events], 1)


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "pgd-restarts", "apgd", "square", "noise"])
def test_an_attack_ends_at_the_largest_cell_of_each_sample(attack: str):
    """With eps = 1 the cells of the first sample rise to 1; those of the second to 1, and stay at 3, its largest."""
    adversarial = parse(f"{attack}(eps=1)")(network, GRIDS, LABELS)
    assert adversarial.shape == GRIDS.shape
    assert adversarial[0].max() <= 1
    assert adversarial[1].max() <= 3
    if attack in ("fgsm", "pgd"):
        assert adversarial.flatten().tolist() == [1, 1, 1, 3]


@pytest.mark.parametrize("cell", [-0.5, 3.5])
def test_an_attack_that_leaves_the_range_of_its_grid_is_refused(cell: float):
    with pytest.raises(AttackError, match="largest cell"):
        verified(lambda model, grids, labels: grids * 0 + cell, network, GRIDS, LABELS, eps=None)
