"""Max pools in front of the neurons: against an ANN of that order, and where the order cannot be exchanged."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hiresnn.network import convert

from ..reference import ReferenceNetwork

IMAGES = torch.rand(6, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Pooling(nn.Module):
    """Two convolutions, each with ReLU and max pool, as functions or modules, in one of two orders."""

    def __init__(self, pool_first, functional):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.last, self.relu, self.pool = nn.Linear(16, 3), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, padding=1)
        self.pool_first, self.functional = pool_first, functional

    def activated(self, x):
        relu, pool = self.relu, self.pool
        if self.functional:
            relu, pool = F.relu, lambda x: F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        return relu(pool(x)) if self.pool_first else pool(relu(x))

    def forward(self, x):
        return self.last(self.activated(self.conv2(self.activated(self.conv1(x)))).flatten(1))


def network(pool_first, functional=False):
    torch.manual_seed(0)
    return Pooling(pool_first, functional).double().eval()


@pytest.mark.parametrize("functional", [True, False])
def test_neurons_get_the_maximum_of_the_currents(functional):
    ann, images = network(False, functional), IMAGES
    spiking = convert(ann, images, timesteps=4)
    assert spiking.pools_currents
    changed = [change for change in spiking.report.changes if change.was.lower().startswith("max")]
    assert [change.became for change in changed] == ["in front of the neurons: the maximum of their currents"] * 2
    expected = ReferenceNetwork.of(network(True, functional), spiking)(images, 4)
    torch.testing.assert_close(spiking(images), expected, rtol=0, atol=1e-9)


def test_spikes_are_pooled_where_that_is_asked_for():
    spiking = convert(network(False), IMAGES, timesteps=4, max_pool="spikes")
    assert not spiking.pools_currents
    expected = ReferenceNetwork.of(network(False), spiking)(IMAGES, 4)
    torch.testing.assert_close(spiking(IMAGES), expected, rtol=0, atol=1e-9)


class Branching(nn.Module):
    """The spikes are also used without the pool, and one pool returns where its maxima are."""

    def __init__(self):
        super().__init__()
        self.conv, self.last, self.where = (
            nn.Conv2d(2, 3, 3, padding=1),
            nn.Linear(48, 3),
            nn.MaxPool2d(4, None, 0, 1, True),
        )

    def forward(self, x):
        spikes = F.relu(self.conv(x))
        pooled = F.max_pool2d(spikes, 2) + F.avg_pool2d(spikes, 2)
        return self.last(torch.cat([pooled.flatten(1)], 1)) + self.where(F.relu(x))[0].flatten(1)[:, :3]


def test_a_pool_whose_spikes_are_used_elsewhere_stays_behind_them():
    torch.manual_seed(0)
    ann = Branching().double().eval()
    spiking = convert(ann, IMAGES, timesteps=3)
    assert not spiking.pools_currents
    assert {change.became for change in spiking.report.changes if "ax" in change.was} == {
        "unchanged: the maximum over the spikes of each timestep"
    }
    expected = ReferenceNetwork.of(ann, spiking)(IMAGES, 3)
    torch.testing.assert_close(spiking(IMAGES), expected, rtol=0, atol=1e-9)
