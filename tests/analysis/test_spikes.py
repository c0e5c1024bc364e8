"""Definition 1, spikes over all timesteps / neurons, and Definition 2, L2 norms of what an attack changed."""

import math

import pytest
import torch
from torch import nn

from hiresnn.analysis import PerturbationDistance, SpikeDistance, SpikingActivity, spike_rates
from hiresnn.errors import UsageError
from hiresnn.network import record, spiking_graph


def two_neurons(timesteps):
    """Two pixels, each into one IF neuron of threshold 1 with weight 1."""
    ann = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    first = ann[1]
    with torch.no_grad():
        first.weight.copy_(torch.eye(2))
    return spiking_graph(ann, timesteps)


def test_activity_of_a_network_whose_spikes_are_known():
    # Pixel 0.5: membranes 0.5 1.0 1.5* 1.0 1.5* 1.0, two spikes (1.0 is not above the threshold).
    # Pixel 1.0: 1.0 2.0* 2.0* 2.0* 2.0* 2.0*, five spikes.
    network, measure = two_neurons(6), SpikingActivity()
    images = torch.tensor([0.5, 1.0]).reshape(1, 1, 1, 2)
    with record(network) as spikes:
        network(images)
    measure.update(spikes)
    layer = measure.compute()["2"]
    assert (layer.neurons, layer.timesteps, layer.spikes) == (2, 6, 7.0)
    assert layer.sa == 3.5
    assert layer.tasa == pytest.approx(3.5 / 6)


def test_activity_equals_a_slow_loop_over_batches_of_different_size():
    generator = torch.Generator().manual_seed(0)
    batches = [(torch.rand(4, size, 3, 2, 2, generator=generator) < 0.3).float() for size in (5, 2)]
    measure = SpikingActivity()
    for batch in batches:
        measure.update({"a": batch})
    counts = []
    for batch in batches:
        for image in range(batch.shape[1]):
            counts.append(sum(float(value) for step in batch for value in step[image].flatten()))
    layer = measure.compute()["a"]
    assert layer.counts.tolist() == counts
    assert layer.sa == pytest.approx(sum(counts) / 7 / 12)
    assert layer.tasa == pytest.approx(sum(counts) / 7 / 12 / 4)
    assert layer.image_rates.tolist() == pytest.approx([count / 48 for count in counts])


def test_another_number_of_steps_is_refused():
    measure = SpikingActivity()
    measure.update({"a": torch.ones(2, 1, 3)})
    with pytest.raises(UsageError, match="layer 'a' had"):
        measure.update({"a": torch.ones(4, 1, 3)})
    with pytest.raises(UsageError, match="no spikes were added; call update"):
        SpikingActivity().compute()
    with pytest.raises(UsageError, match="there are no images"):
        spike_rates(two_neurons(2), torch.rand(0, 1, 1, 2))


def test_spike_rates_are_those_of_the_accumulator_and_leave_the_network_in_its_mode():
    network = two_neurons(6).train()
    images = torch.tensor([[0.5, 1.0], [0.0, 0.0], [1.0, 1.0]]).reshape(3, 1, 1, 2)
    # spikes 2 + 5, 0 and 5 + 5, of 2 neurons * 6 steps * 3 images
    for batch_size in (1, 2, 200):
        assert spike_rates(network, images, batch_size=batch_size) == {"2": pytest.approx(17 / 36)}
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_image_distance_equals_a_slow_loop():
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


def test_spike_distance_compares_spike_counts_and_not_single_steps():
    early, late = torch.tensor([[[1.0]], [[0.0]]]), torch.tensor([[[0.0]], [[1.0]]])
    measure = SpikeDistance()
    measure.update({"a": early}, {"a": late})
    assert measure.compute()["a"].mean == 0.0


def test_spike_distance_worked_out_by_hand():
    # T = 4. Counts 4, 1, 0 clean and 1, 1, 4 attacked: sqrt((3/4)^2 + 0 + 1) = 1.25.
    clean = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]]).reshape(4, 1, 3).float()
    attacked = torch.tensor([[0, 0, 1], [1, 0, 1], [0, 1, 1], [0, 0, 1]]).reshape(4, 1, 3).float()
    measure = SpikeDistance()
    measure.update({"a": clean}, {"a": attacked})
    assert measure.compute()["a"].mean == pytest.approx(1.25)


def test_pairs_of_different_shape_or_layers_are_refused():
    with pytest.raises(UsageError, match=r"\[1, 1, 1, 2, 2\] clean and \[1, 2, 1, 2, 2\] attacked"):
        PerturbationDistance().update(torch.zeros(1, 1, 2, 2), torch.zeros(2, 1, 2, 2))
    with pytest.raises(UsageError, match="layer 'b' is in only one"):
        SpikeDistance().update({"a": torch.zeros(1, 1, 1)}, {"a": torch.zeros(1, 1, 1), "b": torch.zeros(1, 1, 1)})


@pytest.mark.parametrize("measure", [PerturbationDistance(), SpikeDistance()])
def test_compute_before_the_first_batch_is_refused(measure):
    with pytest.raises(UsageError, match="call update"):
        measure.compute()
