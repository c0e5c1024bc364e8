"""Our count of the operations of each layer against the counter of torch, which counts two FLOPs per MAC."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hiresnn.analysis import count_operations
from hiresnn.models import build
from hiresnn.network import SpikingNetwork, convert

T, B = 3, 2


def flops(network, images):
    """Return name of a module, without those around it -> its FLOPs for one image."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(images)
    return {
        name.partition(".layers.")[2]: sum(found.values()) // len(images)
        for name, found in counter.get_flop_counts().items()
    }


class Varied(nn.Module):
    """Strides, groups, dilation, and a layer without padding."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(8, 12, 3, groups=4, bias=False), nn.ReLU(),
            nn.Conv2d(12, 4, (1, 3), padding=2, dilation=2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(7),
        )  # fmt: skip

    def forward(self, images):
        return self.layers(images)


def vgg5():
    return build("vgg5", 10, image_size=16, width=0.1, hidden=16)


def resnet12():
    return build("resnet12", 10, image_size=16, width=0.1)


def varied():
    network = Varied()
    network(torch.rand(1, 3, 16, 16))  # the size of the lazy layer
    return network


@pytest.mark.parametrize("ann", [vgg5, resnet12, varied])
def test_each_layer_has_the_flops_that_torch_counts(ann):
    torch.manual_seed(0)
    images = torch.rand(B, 3, 16, 16)
    network: SpikingNetwork = convert(ann().eval(), images, timesteps=T).eval()
    measured, weighted = flops(network, images), 0
    for layer in count_operations(network, images).layers:
        if layer.dense:
            weighted += 1
            # The image's side is computed once, everything behind the first neurons at each step.
            assert measured[layer.name] == 2 * layer.dense * (1 if layer.inputs == "image" else T), layer.name
    assert weighted == sum(isinstance(module, nn.Conv2d | nn.Linear) for module in network.modules()) > 3
    assert measured[""] == sum(measured[name] for name, module in network.layers.named_modules()
                               if isinstance(module, nn.Conv2d | nn.Linear))  # fmt: skip
