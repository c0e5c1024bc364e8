"""Which layers carry weights, what reaches them, and connections counted one by one."""

import operator
from collections.abc import Callable
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hiresnn.analysis.operations import Synapses, fan_out, synapses
from hiresnn.errors import UsageError
from hiresnn.models import build
from hiresnn.network import Encoding, spiking_graph


def by_name(ann: nn.Module, timesteps: int = 2, encoding: Encoding = "direct") -> dict[str, Synapses]:
    return {use.name: use for use in synapses(spiking_graph(ann, timesteps, encoding=encoding)).values()}


def slow_fan_out(conv: nn.Conv2d, channels: int, height: int, width: int) -> Tensor:
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


def test_a_padded_3x3_kernel_has_4_connections_at_a_corner_6_at_an_edge_and_9_inside() -> None:
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
def test_fan_out_equals_a_count_over_all_connections(kernel, stride, padding, dilation, groups, bias, size) -> None:  # type: ignore[no-untyped-def]
    conv = nn.Conv2d(4, 4, kernel, stride, padding, dilation, groups, bias)
    assert torch.equal(fan_out(conv, torch.zeros(3, 4, *size)), slow_fan_out(conv, 4, *size))


def test_circular_padding_loses_no_connection() -> None:
    conv = nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    assert (fan_out(conv, torch.zeros(1, 1, 4, 4)) == 9).all()


def test_a_linear_layer_connects_every_input_to_every_output() -> None:
    assert fan_out(nn.Linear(3, 5), torch.zeros(2, 3)).tolist() == [5.0, 5.0, 5.0]


def test_only_the_layer_before_the_first_neurons_sees_the_image() -> None:
    found = by_name(build("vgg5", 2, in_channels=1, image_size=8, width=0.05, hidden=4, mean=[0.5], std=[0.5]))
    assert list(found) == ["conv1", "conv2", "conv3", "linear1", "linear2", "linear3"]
    assert [use.timed for use in found.values()] == [False, *[True] * 5]
    assert [use.analog for use in found.values()] == [True, *[False] * 5]


def test_a_network_of_one_timestep_is_timed_too() -> None:
    found = by_name(build("vgg5", 2, in_channels=1, image_size=8, width=0.05, hidden=4), timesteps=1)
    assert (found["conv1"].timed, found["conv2"].timed) == (False, True)


def test_poisson_spikes_reach_the_first_layer() -> None:
    conv1 = by_name(build("vgg5", 2, in_channels=1, image_size=8, width=0.05, hidden=4), encoding="poisson")["conv1"]
    assert (conv1.timed, conv1.analog) == (True, False)


def test_a_layer_directly_after_another_gets_a_current() -> None:
    ann = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3), nn.Linear(3, 2))
    found = by_name(ann)
    assert [(use.timed, use.analog) for use in found.values()] == [(False, True), (True, False), (True, True)]


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.relu = nn.Linear(4, 4), nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(self.relu(self.linear(images.flatten(1))))


def test_a_layer_used_twice_counts_its_parameters_once() -> None:
    found = by_name(Twice())
    assert [(name, use.first_use) for name, use in found.items()] == [("linear", True), ("linear_2", False)]


class AsFunction(nn.Module):
    def __init__(self, product: Callable[[Tensor, Tensor], Tensor] = F.linear) -> None:
        super().__init__()
        self.weight, self.relu, self.product = nn.Parameter(torch.ones(4, 4)), nn.ReLU(), product

    def forward(self, images: Tensor) -> Tensor:
        return self.product(self.relu(images.flatten(1)), self.weight)


@pytest.mark.parametrize(
    "product",
    [torch.mm, torch.matmul, operator.matmul, lambda one, two: one.mm(two)],
    ids=["mm", "matmul", "@", "method"],
)
def test_matrix_products_outside_a_layer_are_refused(product: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(UsageError, match="as a function and cannot be counted"):
        by_name(AsFunction(product))


def test_layers_that_cannot_be_counted_are_named_and_refused() -> None:
    with pytest.raises(UsageError, match=r"linear is called as a function.*use an nn\.Linear"):
        by_name(AsFunction())
    with pytest.raises(UsageError, match="layer '0' is a ConvTranspose2d; energy counts only"):
        by_name(nn.Sequential(nn.ConvTranspose2d(1, 1, 2), nn.ReLU()))
