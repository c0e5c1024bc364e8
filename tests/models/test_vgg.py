import pytest
import torch
from torch import nn

from hiresnn.models import build


def parameters(name, num_classes, **arguments):
    with torch.device("meta"):
        network = build(name, num_classes, **arguments)
    return sum(parameter.numel() for parameter in network.parameters())


def test_vgg5_at_full_width_has_the_weights_of_the_paper():
    convolutions = 1_728 + 73_728 + 147_456  # 3*64*9, 64*128*9, 128*128*9
    linears = 33_554_432 + 16_777_216 + 40_960  # 8*8*128*4096, 4096*4096, 4096*10
    assert parameters("vgg5", 10) == convolutions + linears


def test_vgg11_has_three_pools_and_8192_linear_inputs():
    convolutions = 1_728 + 73_728 + 294_912 + 1_179_648 + 4 * 2_359_296  # 3-64-128-256-512, four 512-512
    linears = 33_554_432 + 16_777_216 + 409_600  # 4*4*512*4096, 4096*4096, 4096*100
    assert parameters("vgg11", 100) == convolutions + linears


def test_vgg16_has_thirteen_convolutions_and_one_pixel_after_five_pools():
    convolutions = 14_710_464  # of the published 14,714,688 all but the 4,224 biases
    linears = 2_097_152 + 16_777_216 + 40_960  # 512*4096, 4096*4096, 4096*10
    assert parameters("vgg16", 10) == convolutions + linears


def test_image_size_and_channels_change_the_first_convolution_and_the_first_linear_layer():
    # 64*9 + 64*128*9 + 128*128*9, then 2*2*128*16 + 16*16 + 16*10
    assert parameters("vgg5", 10, in_channels=1, image_size=8, hidden=16) == 221_760 + 8_608


def test_dropout_follows_each_activation_but_not_where_a_pool_follows():
    assert list(dict(build("vgg5", 10, hidden=8).named_children())) == [
        *("conv1", "relu1", "pool1"),
        *("conv2", "relu2", "drop1"),
        *("conv3", "relu3", "pool2"),
        "flatten",
        *("linear1", "relu4", "drop2"),
        *("linear2", "relu5", "drop3"),
        "linear3",
    ]


@pytest.mark.parametrize(
    ("name", "pooled_after"), [("vgg11", (1, 3, 6)), ("vgg16", (2, 4, 7, 10, 13)), ("vgg5", (1, 3))]
)
def test_pools_come_after_these_convolutions(name, pooled_after):
    convolutions, positions = 0, []
    for layer in build(name, 10, width=1 / 64, hidden=2):
        convolutions += isinstance(layer, nn.Conv2d)
        if isinstance(layer, nn.AvgPool2d):
            positions.append(convolutions)
    assert tuple(positions) == pooled_after


def test_dropout_has_the_probability_asked_for():
    network = build("vgg11", 10, width=1 / 64, hidden=2, dropout=0.35)
    assert {layer.p for layer in network if isinstance(layer, nn.Dropout)} == {0.35}
