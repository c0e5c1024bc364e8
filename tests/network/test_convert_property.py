"""`convert` against one timestep after another, for random networks of stateless layers."""

from contextlib import nullcontext

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from hiresnn.errors import UsageError
from hiresnn.network import convert, record
from hiresnn.neurons import RESETS

from ..reference import ReferenceNetwork

FEW = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


class Add(nn.Module):
    """A residual sum: with the input, or with a projection of it."""

    def __init__(self, body, shortcut):
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, rows):
        return self.body(rows) + self.shortcut(rows)


class Patches(nn.Module):
    """Folds the pixels of each image into the batch, applies `body` to every pixel, and unfolds."""

    def __init__(self, body, size):
        super().__init__()
        self.body, self.size = body, size

    def forward(self, rows):
        channels = rows.size(1)
        pixels = self.body(rows.permute(0, 2, 3, 1).reshape(-1, channels))
        return pixels.reshape(-1, self.size, self.size, channels).permute(0, 3, 1, 2)


@st.composite
def networks(draw):
    """A network from images [B, 2, 4, 4] to 3 logits, with at least one ReLU."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    layers: list[nn.Module] = []
    size = 4

    def relu():
        return draw(st.sampled_from([nn.ReLU(), nn.ReLU(inplace=True)]))

    def convolution(bias=True):
        return nn.Conv2d(2, 2, 3, padding=1, bias=bias)

    for kind in draw(st.lists(st.sampled_from(["conv", "residual", "norm", "patches", "pool", "max"]), max_size=3)):
        if kind == "conv":
            layers += [convolution(), relu()]
        elif kind == "norm":
            norm = nn.BatchNorm2d(2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
            layers += [convolution(False), norm, relu()]
        elif kind == "residual":
            shortcut = draw(st.sampled_from([nn.Identity(), nn.Conv2d(2, 2, 1)]))
            layers += [Add(nn.Sequential(convolution(), relu(), convolution()), shortcut), relu()]
        elif kind == "patches":
            layers.append(Patches(nn.Sequential(nn.Linear(2, 5), relu(), nn.Linear(5, 2)), size))
        elif size > 1:
            layers.append(nn.AvgPool2d(2) if kind == "pool" else nn.MaxPool2d(2))
            size //= 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(2 * size * size, 6), relu(), nn.Linear(6, 3)).eval()


@FEW
@given(networks(), st.integers(1, 5), st.sampled_from(RESETS), st.sampled_from([0.0, 0.5]))
def test_a_converted_network_equals_its_ann_run_step_by_step(ann, timesteps, reset, start):
    ann, images = ann.double(), torch.rand(4, 2, 4, 4, dtype=torch.float64)
    try:
        network = convert(
            ann, images, timesteps=timesteps, leak=0.9, reset=reset, start=start, threshold_scale=0.6, max_pool="spikes"
        )
    except UsageError as error:
        if "never spike" in str(error):  # by chance a layer of random weights never activates
            return
        raise
    reference = ReferenceNetwork.of(ann, network.double())
    ours, theirs = images.clone().requires_grad_(), images.clone().requires_grad_()
    with record(network) as spikes:
        logits = network(ours)
    expected = reference(theirs, timesteps)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)
    for layer, steps in zip(spikes.values(), reference.spikes, strict=True):
        assert torch.equal(layer, steps.reshape(layer.shape))
    assert torch.equal(network(images), logits)  # the same through the fused blocks
    logits.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-9)
    for neuron, threshold, leak in zip(network.neurons.values(), reference.thresholds, reference.leaks, strict=True):
        torch.testing.assert_close(neuron.threshold.grad, threshold.grad, rtol=1e-6, atol=1e-9)
        if timesteps > 1:
            torch.testing.assert_close(neuron.leak.grad, leak.grad, rtol=1e-6, atol=1e-9)


class FourPatches(nn.Module):
    """Four patches of 2x2 pixels per image, folded into the batch before the ReLU."""

    def __init__(self, unfold="view"):
        super().__init__()
        self.first, self.last, self.unfold = nn.Linear(4, 6), nn.Linear(24, 3), unfold

    def forward(self, images):
        patches = images.unfold(2, 2, 2).unfold(3, 2, 2).reshape(-1, 4)
        hidden = torch.relu(self.first(patches))
        if self.unfold == "images":
            return self.last(hidden.view(images.shape[0], 24))
        return self.last(hidden.view(-1, 24))


@pytest.mark.parametrize("timesteps", [1, 3, 4])  # with 4 = patches per image version 1 was wrong without a word
def test_patches_folded_into_the_batch_are_computed_correctly(timesteps):
    torch.manual_seed(0)
    ann, images = FourPatches().double(), torch.rand(5, 1, 4, 4, dtype=torch.float64)
    network = convert(ann, images, timesteps=timesteps)
    expected = ReferenceNetwork.of(ann, network.double())(images, timesteps)
    torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-9)


def test_patches_unfolded_by_the_size_of_the_images_are_refused():
    with pytest.raises(UsageError, match=r"called with 12 images, failed: .* batches of any size"):
        convert(FourPatches("images"), torch.rand(5, 1, 4, 4), timesteps=4)


class Moved(nn.Module):
    """Moves the batch out of the first dimension, and back before the last layer or not."""

    def __init__(self, body):
        super().__init__()
        self.first, self.last, self.body = nn.Linear(4, 6), nn.Linear(6, 3), body

    def forward(self, images):
        hidden = torch.relu(self.first(images.flatten(1, 2)))  # [B, 4, 6]
        if self.body == "relu behind a transpose":
            return self.last(torch.relu(hidden.transpose(0, 1)).mean(0))
        if self.body == "mean over the batch":
            return self.last(torch.relu(hidden - hidden.mean(0)).mean(1))
        if self.body == "softmax over the batch":
            return self.last(torch.relu(hidden.softmax(0)).mean(1))
        if self.body == "wrong output":
            return self.last(hidden)[:, 0].sum(0, keepdim=True)
        return self.last(hidden.transpose(0, 1).mul(2).transpose(0, 1).mean(1))  # back before anything spikes


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("relu behind a transpose", "'transpose' mixes the rows of a batch, so 'relu_1' would mix timesteps"),
        ("mean over the batch", "'sub' mixes|'mean' mixes"),
        ("softmax over the batch", "'softmax' mixes the rows of a batch"),
        ("wrong output", "'sum_1' mixes the rows of a batch, so 'output'"),
    ],
)
def test_a_network_that_mixes_the_rows_of_a_batch_is_refused_by_the_name_of_the_node(body, message):
    torch.manual_seed(0)
    with pytest.raises(UsageError, match=message):
        convert(Moved(body), torch.rand(4, 1, 4, 4), timesteps=4)


def test_a_batch_that_is_back_in_the_first_dimension_before_the_next_neuron_is_accepted():
    torch.manual_seed(0)
    ann, images = Moved("back").double(), torch.rand(4, 1, 4, 4, dtype=torch.float64)
    network = convert(ann, images, timesteps=4)
    expected = ReferenceNetwork.of(ann, network.double())(images, 4)
    torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("encoding", "refused"), [("direct", False), ("poisson", True)])
def test_images_may_be_mixed_only_where_they_have_no_time(encoding, refused):
    class Centred(Moved):
        def forward(self, images):
            return super().forward(images - images.mean(0))

    torch.manual_seed(0)
    with pytest.raises(UsageError, match=r"'(mean|sub)' mixes") if refused else nullcontext():
        convert(Centred("back"), torch.rand(4, 1, 4, 4), timesteps=4, encoding=encoding)
