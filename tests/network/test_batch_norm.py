"""Batch norms that no layer can take up stay as fixed affine maps: against the ANN, one timestep after another."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import fx, nn

from hiresnn.analysis import count_operations
from hiresnn.network import ChannelAffine, ConversionWarning, convert
from hiresnn.network.batch_norm import remove_batch_norms

from ..reference import ReferenceNetwork


class PreActivation(nn.Module):
    """A block of a wide ResNet: norm, ReLU, convolution, twice, around a shortcut."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(before), nn.BatchNorm2d(after)
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x):
        return self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x)))))) + self.shortcut(x)


def wide_resnet(channels=3):
    return nn.Sequential(
        *(nn.Conv2d(channels, 4, 3, padding=1, bias=False), PreActivation(4, 6, 2), PreActivation(6, 6, 1)),
        *(nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)),
    )


class NormApart(nn.Module):
    """The output of a convolution is used with and without its norm, and one convolution has two norms."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.other = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.last = nn.Linear(3 * 40, 3)

    def forward(self, x):
        features = self.conv(x)
        features = F.relu(self.norm(features) + features)
        return self.last(F.relu(self.other(self.conv(features))).flatten(1))


def norm_first():
    flat = nn.BatchNorm1d(120, affine=False)
    return nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(120, 120), nn.ReLU(), flat, nn.Linear(120, 3))


def dense_net():
    return torchvision.models.DenseNet(4, (2, 2), 8, 2, num_classes=3)


def small_vgg():
    features = torchvision.models.vgg.make_layers([4, "M", 6, "M"], batch_norm=True)
    return nn.Sequential(features, nn.AdaptiveAvgPool2d((3, 2)), nn.Flatten(), nn.Linear(36, 3))


def trained(ann, images):
    """Give the norms statistics and weights that are not those of a new network."""
    torch.manual_seed(0)
    for _ in range(3):
        ann(images + torch.rand_like(images))
    for norm in ann.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)) and norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, -0.5, 0.5)
    return ann.eval().double()


NETWORKS = {
    "wide ResNet": (wide_resnet, (3, 8, 6), 3),
    "norm apart": (NormApart, (3, 8, 5), 2),
    "norm first": (norm_first, (3, 8, 5), 2),
    "DenseNet": (dense_net, (3, 33, 40), 6),
    "VGG": (small_vgg, (3, 16, 12), 0),
    "wide ResNet on two channels": (lambda: wide_resnet(2), (2, 6, 9), 3),
}


@pytest.mark.parametrize(("make", "shape", "affine"), NETWORKS.values(), ids=NETWORKS.keys())
def test_a_converted_network_equals_its_ann_run_step_by_step(make, shape, affine):
    torch.manual_seed(1)
    images = torch.rand(6, *shape)
    ann, images = trained(make(), images), images.double()
    network = convert(ann, images, timesteps=3, max_pool="spikes")
    assert sum(isinstance(layer, ChannelAffine) for layer in network.modules()) == affine
    assert sum("ChannelAffine" in change.became for change in network.report.changes) == affine
    assert not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in network.modules())
    expected = ReferenceNetwork.of(ann, network)(images, 3)
    torch.testing.assert_close(network(images), expected, rtol=0, atol=1e-9)
    # The statistics of a batch do not matter in training either.
    torch.testing.assert_close(network.train()(images), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("make", "timesteps"), [(wide_resnet, 64), (dense_net, 256)])
def test_a_rescaled_network_with_affine_maps_comes_close_to_its_ann(make, timesteps):
    torch.manual_seed(1)
    images = torch.rand(2, 3, 33, 33)
    ann, images = trained(make(), images), images.double()
    network = convert(ann, images, timesteps=timesteps, threshold_scale=1.0, start=0.5, rescale=True, percentile=100)
    with torch.no_grad():
        logits = ann(images)
        error = (network(images) / timesteps - logits).abs().max()
    assert error < 0.1 * (logits.max() - logits.min())


def test_a_second_norm_is_folded_into_what_the_first_became():
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4), nn.ReLU()).eval()
    for norm in (ann[1], ann[2]):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    traced = fx.symbolic_trace(ann)
    assert [change.became for _, change in remove_batch_norms(traced)] == ["part of 0", "part of 0"]
    images = torch.rand(2, 3, 5, 5)
    torch.testing.assert_close(traced(images), ann(images))


def test_scale_and_shift_are_trained_and_counted_as_a_depthwise_convolution():
    torch.manual_seed(1)
    images = torch.rand(6, 3, 8, 6)
    network = convert(trained(wide_resnet(), images).float(), images, timesteps=3)
    network(images).sum().backward()
    affine = next(layer for layer in network.modules() if isinstance(layer, ChannelAffine))
    assert affine.weight.grad.abs().max() > 0
    first = next(layer for layer in count_operations(network, images).layers if layer.kind == "affine")
    assert (first.parameters, first.units, first.connections) == (8, 4 * 48, 4 * 48)


@pytest.mark.filterwarnings("ignore::hiresnn.network.ConversionWarning")
def test_the_report_says_what_becomes_of_a_relu6_and_a_max_pool():
    torch.manual_seed(0)
    ann = torchvision.models.mobilenet_v2(num_classes=3, width_mult=0.1).eval()
    network = convert(ann, torch.rand(4, 3, 32, 32), timesteps=1)
    kinds = {(change.was, change.became) for change in network.report.changes}
    assert ("ReLU6", "LIF, without the cap at 6") in kinds
    pooled = convert(small_vgg().eval(), torch.rand(4, 3, 8, 8), timesteps=1).report.changes
    assert [change.layer for change in pooled] == ["0.1", "0.2", "0.3", "0.5", "0.6", "0.7"]
    assert pooled[2].became == "in front of the neurons: the maximum of their currents"


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4), nn.LayerNorm([4, 4, 4])])
def test_a_norm_of_each_input_is_a_warning(norm):
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), norm, nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    with pytest.warns(ConversionWarning, match=rf"'1' \({type(norm).__name__}\) normalises every timestep"):
        convert(ann, torch.rand(4, 1, 4, 4), timesteps=2)


def test_the_norm_of_a_distributed_training_is_folded_like_any_other():
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)).eval()
    ann[1].running_mean.uniform_(-1, 1)
    images = torch.rand(8, 1, 4, 4)
    expected = convert(ann, images, timesteps=3)(images)
    found = convert(nn.SyncBatchNorm.convert_sync_batchnorm(ann), images, timesteps=3)
    torch.testing.assert_close(found(images), expected)
    assert not [module for module in found.modules() if isinstance(module, nn.SyncBatchNorm)]
