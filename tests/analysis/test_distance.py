"""Definition 2: L2 norms of what an attack changed, in images and in normalised spike maps."""

import math

import pytest
import torch

from hiresnn.analysis import PerturbationDistance, SpikeDistance
from hiresnn.errors import UsageError


def test_image_distance_equals_a_slow_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    images, adversarial = torch.rand(2, 5, 3, 4, 4, generator=generator)
    measure = PerturbationDistance()
    measure.update(images[:3], adversarial[:3])
    measure.update(images[3:], adversarial[3:])
    slow = [
        math.sqrt(sum((float(a) - float(b)) ** 2 for a, b in zip(x.flatten(), y.flatten(), strict=True)))
        for x, y in zip(images, adversarial, strict=True)
    ]
    assert measure.compute().per_image.tolist() == pytest.approx(slow, rel=1e-12)
    assert measure.compute().mean == pytest.approx(sum(slow) / 5, rel=1e-12)


def test_spike_distance_compares_spike_counts_and_not_single_steps() -> None:
    early, late = torch.tensor([[[1.0]], [[0.0]]]), torch.tensor([[[0.0]], [[1.0]]])
    measure = SpikeDistance()
    measure.update({"a": early}, {"a": late})
    assert measure.compute()["a"].mean == 0.0


def test_spike_distance_worked_out_by_hand() -> None:
    # T = 4. Counts 4, 1, 0 clean and 1, 1, 4 attacked: sqrt((3/4)^2 + 0 + 1) = 1.25.
    clean = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]]).reshape(4, 1, 3).float()
    attacked = torch.tensor([[0, 0, 1], [1, 0, 1], [0, 1, 1], [0, 0, 1]]).reshape(4, 1, 3).float()
    measure = SpikeDistance()
    measure.update({"a": clean}, {"a": attacked})
    assert measure.compute()["a"].mean == pytest.approx(1.25)


def test_pairs_of_different_shape_or_layers_are_refused() -> None:
    with pytest.raises(UsageError, match=r"shape \[1, 1, 1, 2, 2\] clean and \[1, 2, 1, 2, 2\] attacked"):
        PerturbationDistance().update(torch.zeros(1, 1, 2, 2), torch.zeros(2, 1, 2, 2))
    with pytest.raises(UsageError, match="layer 'b' is in only one"):
        SpikeDistance().update({"a": torch.zeros(1, 1, 1)}, {"a": torch.zeros(1, 1, 1), "b": torch.zeros(1, 1, 1)})


@pytest.mark.parametrize("measure", [PerturbationDistance(), SpikeDistance()])
def test_compute_before_the_first_batch_is_refused(measure: PerturbationDistance | SpikeDistance) -> None:
    with pytest.raises(UsageError, match="call update"):
        measure.compute()
