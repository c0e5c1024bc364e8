"""The error of a conversion, layer by layer, against sums by hand and on networks whose error is known."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hiresnn.analysis import ConversionError
from hiresnn.errors import UsageError
from hiresnn.network import convert, record

IMAGES = torch.rand(20, 1, 4, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(20) % 3
ON = {"percentile": 90.0, "threshold_scale": 1.0, "start": 0.5, "rescale": True}


def ann():
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3)]
    return nn.Sequential(*layers).eval()


def measured(network, plain, size=20):
    measure = ConversionError(plain, network)
    for images, labels in zip(IMAGES.split(size), LABELS.split(size), strict=True):
        measure.update(images, labels)
    return measure


def activations(plain):
    first = plain[:3](IMAGES)
    return {"2": first, "4": plain[3:5](first)}


@torch.no_grad()
def test_error_bias_clipping_and_accuracy_are_those_of_their_definitions():
    plain = ann()
    network = convert(plain, IMAGES, timesteps=3, **ON).eval()
    found = measured(network, plain).compute()
    with record(network) as spikes:
        logits = network(IMAGES)
    continued = {"2": lambda rates: plain[3:](rates), "4": lambda rates: plain[5](rates)}
    for name, a in activations(plain).items():
        theta = network.neurons[name].threshold
        r = theta * spikes[name].sum(0) / 3
        layer = found[name]
        assert layer.error == pytest.approx(((r - a).norm() / a.norm()).item(), rel=1e-5)
        assert layer.bias == pytest.approx(((r.mean() - a.mean()) / a.mean()).item(), rel=1e-4)
        assert layer.clipped == pytest.approx((a > theta).float().mean().item())
        assert layer.clipped > 0
        right = (continued[name](r).argmax(1) == LABELS).float().mean().item()
        assert layer.accuracy == pytest.approx(100 * right)
    assert measured(network, plain).accuracies == (
        pytest.approx(100 * (plain(IMAGES).argmax(1) == LABELS).float().mean().item()),
        pytest.approx(100 * (logits.argmax(1) == LABELS).float().mean().item()),
    )
    assert found["4"].accuracy == measured(network, plain).accuracies[1]  # the readout is linear


def test_batches_do_not_change_what_is_measured():
    plain = ann()
    network = convert(plain, IMAGES, timesteps=3, **ON).eval()
    whole, parts = measured(network, plain).compute(), measured(network, plain, 7).compute()
    for name, layer in whole.items():
        assert parts[name].error == pytest.approx(layer.error, rel=1e-6)
        assert (parts[name].clipped, parts[name].accuracy) == pytest.approx((layer.clipped, layer.accuracy))


def test_without_rescaling_a_spike_stands_for_what_fits_best():
    plain = ann()
    network = convert(plain, IMAGES, timesteps=3, **{**ON, "rescale": False}).eval()
    found = measured(network, plain).compute()
    with torch.no_grad(), record(network) as spikes:
        network(IMAGES)
    a, rates = activations(plain)["4"].flatten(), spikes["4"].mean(0).flatten()
    amplitude = torch.linalg.lstsq(rates[:, None], a[:, None]).solution.item()
    assert found["4"].error == pytest.approx(((amplitude * rates - a).norm() / a.norm()).item(), rel=1e-4)


def test_network_and_ann_are_left_as_they_were():
    plain = ann().train()
    network = convert(plain, IMAGES, timesteps=2, **ON)
    before = network(IMAGES), plain(IMAGES)
    measured(network, plain)
    assert plain.training
    assert network.training
    assert torch.equal(network(IMAGES), before[0])
    assert torch.equal(plain(IMAGES), before[1])


class OneReLU(nn.Module):
    """Calls one nn.ReLU twice, pools behind it, and activates by a function."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.pool = nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        self.drop, self.hidden, self.last = nn.Dropout(), nn.Linear(16, 8), nn.Linear(8, 3)

    def forward(self, images):
        pooled = self.drop(self.pool(self.relu(self.conv(images))))
        return self.last(F.relu6(0.9 * self.relu(self.hidden(pooled.flatten(1)))))


@pytest.mark.filterwarnings("ignore::hiresnn.network.ConversionWarning")
@pytest.mark.parametrize("max_pool", ["currents", "spikes"])
@torch.no_grad()
def test_activations_without_a_module_of_their_own_and_pools_behind_them_are_compared(max_pool):
    torch.manual_seed(0)
    plain = OneReLU().eval()
    network = convert(plain, IMAGES, timesteps=64, max_pool=max_pool, **ON).eval()
    measure = measured(network, plain)
    layers = measure.compute()
    assert list(layers) == ["relu", "relu_2", "relu6"]
    right = [100 * (net(IMAGES).argmax(1) == LABELS).float().mean().item() for net in (plain, network)]
    assert measure.accuracies == pytest.approx(tuple(right))
    with record(network) as spikes:
        network(IMAGES)
    a = plain.relu(plain.conv(IMAGES))
    a = plain.pool(a) if max_pool == "currents" else a
    r = network.neurons["relu"].amplitude * spikes["relu"].mean(0)
    assert layers["relu"].error == pytest.approx(((r - a).norm() / a.norm()).item(), rel=1e-4)
    assert layers["relu6"].accuracy == measure.accuracies[1]  # the readout is linear


def test_the_network_of_another_ann_is_refused():
    network = convert(ann(), IMAGES, timesteps=2)
    with pytest.raises(UsageError, match="has neurons 2, 4, but the ANN activations relu, relu_2, relu6"):
        ConversionError(OneReLU(), network)
