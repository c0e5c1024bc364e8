"""A network is rescaled only where every layer grows in proportion to the spikes that it gets."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from hiresnn.errors import UsageError
from hiresnn.network import calibrate, convert

IMAGES = torch.rand(32, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Between(nn.Module):
    """conv -> ReLU -> `layer`, a method or a module -> ReLU -> linear."""

    def __init__(self, layer, second=None):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.layer = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(64, 3), layer
        self.second = second or nn.Identity()
        self.shift = nn.Parameter(torch.rand(4, 1, 1) - 0.5)
        self.weight, self.bias = nn.Parameter(torch.randn(64, 64) / 8), nn.Parameter(torch.rand(64) - 0.5)

    def forward(self, images):
        hidden = self.layer(self, self.second(self.first(images).relu())).relu()
        return self.last(hidden.flatten(1))


def same(_, spikes):
    return spikes


def error(ann):
    """The largest difference of logits / T and the ANN's logits, at T = 400."""
    ann.eval()
    network = convert(ann, IMAGES, timesteps=400, percentile=100.0, threshold_scale=1.0, start=0.5, rescale=True)
    with torch.no_grad():
        return float((network(IMAGES) / 400 - ann(IMAGES)).abs().max())


GROWING = {
    "linear function": lambda self, x: F.linear(x.flatten(1), self.weight),
    "transposed convolution": (same, nn.ConvTranspose2d(4, 4, 1)),
    "factor and slices": lambda self, x: torch.cat([0.5 * x[:, :2], x[:, 2:]], 1),
    "mean": lambda self, x: x - x.mean((2, 3), keepdim=True),
    "interpolation": lambda self, x: F.interpolate(F.avg_pool2d(x, 2), scale_factor=2),
    "padding": lambda self, x: F.pad(x, (1, 0, 1, 0))[:, :, 1:, 1:],
}

NOT_GROWING = {
    "linear function with bias": lambda self, x: F.linear(x.flatten(1), self.weight, self.bias),
    "sum with a parameter": lambda self, x: x + self.shift,
    "constant": lambda self, x: x - 0.2,
    "difference from 1": lambda self, x: 1 - x,
    "another activation": lambda self, x: x.sigmoid(),
    "square": lambda self, x: x * x,
}


def network(case):
    layer, second = case if isinstance(case, tuple) else (case, None)
    return Between(layer, second)


@pytest.mark.parametrize("case", GROWING.values(), ids=GROWING)
def test_what_grows_with_its_input_is_rescaled(case):
    assert error(network(case)) < 0.02


@pytest.mark.filterwarnings("ignore::hiresnn.network.ConversionWarning")
@pytest.mark.parametrize("case", NOT_GROWING.values(), ids=NOT_GROWING)
def test_what_does_not_grow_with_its_input_is_refused(case):
    with pytest.raises(UsageError, match="does not grow in proportion to the spikes"):
        error(network(case))


def test_two_layers_that_share_their_weights_are_refused():
    torch.manual_seed(0)
    layers = [part for _ in range(3) for part in (nn.Linear(16, 16), nn.ReLU())]
    ann = nn.Sequential(nn.Flatten(), *layers, nn.Linear(16, 3))
    assert error(ann) < 0.05
    ann[5].weight = ann[3].weight
    with pytest.raises(UsageError, match=r"'5' shares its weights"):
        error(ann)


def test_parametrised_weights_are_refused():
    ann = Between(same, parametrizations.weight_norm(nn.Conv2d(4, 4, 1)))
    with pytest.raises(UsageError, match=r"'second' does not grow in proportion .* remove parametrizations"):
        error(ann)


def test_a_network_is_rescaled_once():
    ann = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    network = convert(ann, IMAGES, timesteps=4, rescale=True)
    with pytest.raises(UsageError, match="rescaled already; convert the ANN again"):
        calibrate(network, IMAGES, rescale=True)


@pytest.mark.parametrize(
    "part", [lambda x: x.chunk(2, 1)[0], lambda x: torch.split(x, [2, 2], 1)[0], lambda x: x[:, :2]]
)
def test_spikes_behind_a_tuple_are_rescaled_as_behind_a_slice(part):
    class Parts(Between):
        def forward(self, images):
            return self.last(self.second(part(self.first(images).relu())).flatten(1))

    assert error(Parts(same, nn.Conv2d(2, 4, 1))) < 0.02
