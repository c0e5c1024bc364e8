"""Operations counted on real spikes, against slow loops over every spike and connection."""

import operator
from dataclasses import asdict
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hiresnn.analysis import Energy, SpikingActivity
from hiresnn.analysis.operations import fan_out
from hiresnn.errors import UsageError
from hiresnn.models import build
from hiresnn.network import convert, record, spiking_graph


def slow_fan_out(conv, channels, height, width):
    """Visit every kernel element of every output and count the input that it reaches."""
    found = torch.zeros(channels, height, width, dtype=torch.float64)
    (k0, k1), (s0, s1), (d0, d1) = conv.kernel_size, conv.stride, conv.dilation
    p0, p1 = (int(side) for side in conv.padding)
    rows = (height + 2 * p0 - d0 * (k0 - 1) - 1) // s0 + 1
    columns = (width + 2 * p1 - d1 * (k1 - 1) - 1) // s1 + 1
    size = channels // conv.groups
    for out, row, column, i, j in product(range(conv.out_channels), range(rows), range(columns), range(k0), range(k1)):
        y, x = row * s0 - p0 + i * d0, column * s1 - p1 + j * d1
        if 0 <= y < height and 0 <= x < width:
            group = out // (conv.out_channels // conv.groups)
            found[group * size : (group + 1) * size, y, x] += 1
    return found


def test_a_padded_3x3_kernel_has_4_connections_at_a_corner_6_at_an_edge_and_9_inside():
    counted = fan_out(nn.Conv2d(1, 2, 3, padding=1), torch.zeros(1, 1, 3, 3))
    assert counted.tolist() == [[[8.0, 12.0, 8.0], [12.0, 18.0, 12.0], [8.0, 12.0, 8.0]]]


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    size=st.tuples(st.integers(5, 7), st.integers(5, 7)),
)
def test_fan_out_equals_a_count_over_all_connections(kernel, stride, padding, dilation, groups, bias, size):
    conv = nn.Conv2d(4, 4, kernel, stride, padding, dilation, groups, bias)
    assert torch.equal(fan_out(conv, torch.zeros(3, 4, *size)), slow_fan_out(conv, 4, *size))


def test_circular_padding_loses_no_connection():
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    assert (fan_out(conv, torch.zeros(1, 1, 4, 4)) == 9).all()


def test_a_linear_layer_connects_every_input_to_every_output():
    assert fan_out(nn.Linear(3, 5), torch.zeros(2, 3)).tolist() == [5.0, 5.0, 5.0]


def counted(network, *batches):
    measure = Energy(network)
    for batch in batches:
        measure.update(batch)
    return {layer.name: layer for layer in measure.compute().layers}


def spikes_of(network, images):
    with torch.no_grad(), record(network) as spikes:
        network(images)
    return spikes


@pytest.fixture
def network():
    torch.manual_seed(0)
    ann = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 2, 3, stride=2, padding=1, bias=False), nn.ReLU(),
        nn.Flatten(), nn.Linear(18, 4),
    )  # fmt: skip
    return convert(ann.eval(), torch.rand(8, 1, 6, 6), timesteps=4).eval()


def test_acs_are_the_outputs_that_the_spikes_reach(network):
    images = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    spikes = spikes_of(network, images)["1"]
    reached = 0
    for step, image, _, y, x in spikes.nonzero().tolist():
        assert spikes[step, image].max() == 1
        for row in range(3):  # a 3x3 window of stride 2 and padding 1 starts at 2 * row - 1
            for column in range(3):
                inside = 2 * row - 1 <= y <= 2 * row + 1 and 2 * column - 1 <= x <= 2 * column + 1
                reached += 2 * inside  # two output channels
    layer = counted(network, images)["2"]
    assert reached > 0
    assert layer.acs == pytest.approx(reached / 3)
    assert (layer.inputs, layer.macs, layer.multiplications) == ("spikes", 0, 0)


def test_several_batches_give_the_operations_of_one(network):
    images = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    whole, parts = counted(network, images), counted(network, images[:4], images[4:])
    assert whole.keys() == parts.keys()
    for name, layer in whole.items():
        assert asdict(layer) == pytest.approx(asdict(parts[name]))


def test_input_activity_is_that_of_the_neurons_before_it_also_after_a_pool():
    torch.manual_seed(0)
    images = torch.rand(6, 1, 8, 8)
    network = convert(build("vgg5", 3, in_channels=1, image_size=8, width=0.1, hidden=8), images, timesteps=3)
    activity = SpikingActivity()
    activity.update(spikes_of(network.eval(), images))
    layers, sa = counted(network, images), {name: layer.sa for name, layer in activity.compute().items()}
    for layer, before in [("conv2", "relu1"), ("conv3", "relu2"), ("linear1", "relu3"), ("linear2", "relu4")]:
        assert layers[layer].activity == pytest.approx(sa[before])
    assert [layers[name].inputs for name in ("conv1", "conv2", "conv3", "linear1", "linear2")] == [
        "image", "fractional", "spikes", "fractional", "spikes",
    ]  # fmt: skip


def test_counting_uses_the_spikes_of_a_forward_pass_and_does_not_change_the_network():
    torch.manual_seed(0)
    images = torch.rand(4, 3, 8, 8)
    network = convert(build("resnet12", 3, image_size=8, width=0.05), images, timesteps=2).train()
    layers = counted(network, images)
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    for name, spikes in spikes_of(network.eval(), images).items():
        assert layers[name].events == pytest.approx(float(spikes.sum()) / 4)
    assert layers["block1.conv1"].inputs == "fractional"
    assert layers["block2.conv1"].inputs == layers["block2.shortcut"].inputs == "spikes"


def test_a_current_without_spikes_is_multiplied_at_every_step():
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3), nn.Linear(3, 2, bias=False))
    images = torch.rand(8, 1, 2, 2)
    layer = counted(convert(ann, images, timesteps=5), images)["4"]
    assert (layer.inputs, layer.macs, layer.acs, layer.activity) == ("current", 30.0, 0.0, 5.0)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.relu = nn.Linear(4, 4), nn.ReLU()

    def forward(self, images):
        return self.linear(self.relu(self.linear(images.flatten(1))))


def test_a_layer_used_twice_has_two_entries_and_counts_its_parameters_once():
    torch.manual_seed(0)
    images = torch.rand(8, 1, 2, 2)
    layers = counted(convert(Twice(), images, timesteps=2), images)
    assert (layers["linear"].parameters, layers["linear_2"].parameters) == (20, 0)
    assert (layers["linear"].inputs, layers["linear_2"].inputs) == ("image", "spikes")
    assert layers["linear"].connections == layers["linear_2"].connections == 16


class Patches(nn.Module):
    """Folds two patches of two pixels per image into the batch, and unfolds them before the last layer."""

    def __init__(self):
        super().__init__()
        self.patch, self.relu, self.last = nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(6, 2, bias=False)

    def forward(self, images):
        return self.last(self.relu(self.patch(images.flatten(1).view(-1, 2))).view(-1, 6))


@pytest.mark.parametrize("timesteps", [2, 3])
def test_patches_in_the_batch_count_for_their_image(timesteps):
    network, images = spiking_graph(Patches(), timesteps), torch.ones(5, 1, 2, 2)
    with torch.no_grad():
        network.layers.get_parameter("patch.weight").fill_(1)
        network.neurons["relu"].threshold.fill_(1.5)
    layers = counted(network, images)
    # 2 patches * 3 neurons; each gets a current of 2 and spikes at every step (2, then 2.5, then 3 over 1.5)
    assert (layers["patch"].sources, layers["patch"].units, layers["patch"].dense) == (4, 6, 12)
    assert (layers["patch"].connections, layers["patch"].macs) == (12, 12)
    assert (layers["relu"].units, layers["relu"].events, layers["relu"].state_bytes) == (6, 6 * timesteps, 24)
    assert (layers["last"].sources, layers["last"].acs, layers["last"].activity) == (6, 12 * timesteps, timesteps)
    activity = SpikingActivity()
    activity.update(spikes_of(network, images))
    layer = activity.compute()["relu"]
    assert (layer.neurons, layer.counts.tolist()) == (6, [6.0 * timesteps] * 5)


def test_only_the_layer_before_the_first_neurons_sees_the_image():
    ann = build("vgg5", 2, in_channels=1, image_size=8, width=0.05, hidden=4, mean=[0.5], std=[0.5])
    for timesteps in (1, 2):
        layers = counted(spiking_graph(ann, timesteps), torch.rand(2, 1, 8, 8))
        weighted = {name: layer.inputs for name, layer in layers.items() if layer.dense}
        assert list(weighted) == ["conv1", "conv2", "conv3", "linear1", "linear2", "linear3"]
        assert [name for name, inputs in weighted.items() if inputs == "image"] == ["conv1"]
    poisson = counted(spiking_graph(ann, 2, encoding="poisson"), torch.rand(2, 1, 8, 8))
    assert "image" not in {layer.inputs for layer in poisson.values()}


class AsFunction(nn.Module):
    def __init__(self, product):
        super().__init__()
        self.weight, self.relu, self.product = nn.Parameter(torch.ones(4, 4)), nn.ReLU(), product

    def forward(self, images):
        return self.product(self.relu(images.flatten(1)), self.weight)


@pytest.mark.parametrize("product", [F.linear, torch.mm, operator.matmul, lambda one, two: one.mm(two)])
def test_matrix_products_outside_a_layer_are_refused(product):
    with pytest.raises(UsageError, match=r"as a function and cannot be counted; use an nn\.Linear"):
        counted(spiking_graph(AsFunction(product), 2), torch.rand(2, 1, 2, 2))


def test_a_layer_that_cannot_be_counted_is_named():
    with pytest.raises(UsageError, match="layer '0' is a ConvTranspose2d; energy counts only"):
        Energy(spiking_graph(nn.Sequential(nn.ConvTranspose2d(1, 1, 2), nn.ReLU()), 2))
