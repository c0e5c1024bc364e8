import json
import math

import pytest
import torch
from torch import nn

from hiresnn.errors import UsageError
from hiresnn.models import MODELS, QCFS, BasicBlock, Normalise, build
from hiresnn.network import convert

ALL = ("vgg5", "vgg11", "vgg16", "vgg16-4pools", "resnet12")


def tiny(name, num_classes=10, **arguments):
    return build(name, num_classes, **{"width": 1 / 16, "hidden": 8, **arguments})


def test_the_networks_are_known_with_their_smallest_image():
    assert MODELS == {"vgg5": 4, "vgg11": 8, "vgg16": 32, "vgg16-4pools": 16, "resnet12": 2, "resnet9": 8}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("batch", "channels", "classes"), [(3, 3, 10), (1, 1, 100)])
def test_images_become_one_logit_a_class(name, batch, channels, classes):
    network = tiny(name, classes, in_channels=channels)
    assert network(torch.rand(batch, channels, 32, 32)).shape == (batch, classes)


@pytest.mark.parametrize("name", ALL)
def test_the_smallest_image_works_and_one_pixel_less_is_refused(name):
    smallest = MODELS[name]
    assert tiny(name, image_size=smallest)(torch.rand(1, 3, smallest, smallest)).shape == (1, 10)
    message = f"images of {smallest - 1}x{smallest - 1} are too small .* {name}; .* {smallest}x{smallest} or more"
    with pytest.raises(UsageError, match=message):
        tiny(name, image_size=smallest - 1)


def test_width_scales_channels_and_keeps_at_least_one():
    assert build("vgg5", 10, width=0.5, hidden=8).conv2.out_channels == 64
    assert build("resnet12", 10, width=0.25).block3.conv1.out_channels == 64
    assert build("vgg5", 10, width=1e-6, hidden=8).conv1.out_channels == 1


def test_weights_are_kaiming_normal_over_the_fan_in():
    torch.manual_seed(0)
    network = build("vgg5", 10, hidden=512, image_size=8)
    # fan in: 128 * 3 * 3 = 1152 and 128 * 2 * 2 = 512
    assert network.conv3.weight.std().item() == pytest.approx((2 / 1152) ** 0.5, rel=0.02)
    assert network.linear1.weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)


def test_normalisation_is_the_first_layer_and_absent_without_a_mean():
    network = tiny("vgg5", mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)).eval()
    plain = tiny("vgg5").eval()
    assert next(iter(dict(network.named_children()))) == "normalise"
    assert next(iter(dict(plain.named_children()))) == "conv1"
    plain.load_state_dict({key: value for key, value in network.state_dict().items() if "norm" not in key})
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(network(images), plain((images - 0.5) / 0.25))


@pytest.mark.parametrize("mean", [None, [0.1, 0.2, 0.3]])
def test_the_spec_survives_json_and_rebuilds_the_network(mean):
    network = tiny("resnet12", 7, dropout=0.1, mean=mean, std=mean)
    spec = json.loads(json.dumps(network.spec))
    assert spec == {
        "name": "resnet12",
        "num_classes": 7,
        "in_channels": 3,
        "image_size": 32,
        "width": 1 / 16,
        "hidden": 8,
        "dropout": 0.1,
        "batch_norm": False,
        "mean": mean,
        "std": mean,
    }
    rebuilt = build(**spec)
    rebuilt.load_state_dict(network.state_dict())
    assert rebuilt.spec == spec


def vgg5(**arguments):
    return lambda: build(**{"name": "vgg5", "num_classes": 10, **arguments})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (vgg5(name="vgg7"), "no model 'vgg7'.* choose one of vgg5, vgg11, vgg16, vgg16-4pools, resnet12"),
        (vgg5(num_classes=0), "num_classes is 0"),
        (vgg5(in_channels=0), "in_channels is 0"),
        (vgg5(hidden=-4), "hidden is -4"),
        (vgg5(width=0.0), "width is 0.0"),
        (vgg5(width=math.nan), "width is nan"),
        (vgg5(dropout=1.0), "dropout is 1.0"),
        (vgg5(activation="gelu"), "activation is 'gelu'"),
        (vgg5(mean=[0.5] * 3), "one of mean and std is missing"),
        (vgg5(mean=[0.5], std=[0.5]), "mean has 1 and std has 1 numbers; give one per channel, of which images have 3"),
        (lambda: QCFS(0), "levels is 0"),
        (lambda: QCFS(4, math.nan), "threshold is nan"),
        (lambda: Normalise((0.5, 0.5), (0.2,)), "mean has 2 and std has 1 numbers"),
        (lambda: Normalise((0.5,), (0.0,)), "above 0"),
    ],
)
def test_arguments_out_of_range_are_named(make, message):
    with pytest.raises(UsageError, match=message):
        make()


@pytest.mark.parametrize(("name", "norms"), [("vgg5", 3), ("vgg11", 8), ("resnet12", 3 + 8 + 3)])
def test_with_batch_norm_one_follows_each_convolution_and_conversion_folds_all(name, norms):
    torch.manual_seed(0)
    network = tiny(name, batch_norm=True)
    found = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(found) == norms == sum(isinstance(module, nn.Conv2d) for module in network.modules())
    for norm in found:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
    network(torch.rand(8, 3, 32, 32))  # statistics
    images = torch.rand(4, 3, 32, 32)
    spiking = convert(network.eval(), images, timesteps=2)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in spiking.modules())
    # Neurons that pass their input on make the converted network an ANN again, which sums equal outputs over T.
    for lif in spiking.neurons.values():
        lif.forward = lambda current, window, timed=True: (window.with_time(current) if not timed else current).relu()
    torch.testing.assert_close(spiking(images), 2 * network(images), rtol=1e-4, atol=1e-4)
    assert build(**network.spec).spec["batch_norm"] is True


def test_mean_is_subtracted_and_std_divides_channel_by_channel():
    normalise = Normalise((0.5, 0.25), (0.25, 0.5))
    images = torch.tensor([1.0, 0.75]).view(1, 2, 1, 1)
    # (1 - 0.5) / 0.25 = 2 and (0.75 - 0.25) / 0.5 = 1
    assert normalise(images).flatten().tolist() == [2.0, 1.0]


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


def only_centre(convolution, factor):
    nn.init.zeros_(convolution.weight)
    convolution.weight.data[:, :, 1, 1] = factor


def test_resnet12_has_twelve_layers_and_three_projections():
    with torch.device("meta"):
        network = build("resnet12", 10)
    stem = 1_728 + 2 * 36_864  # 3*64*9, 64*64*9 twice
    blocks = (
        2 * 36_864  # 64*64*9 twice, identity
        + (73_728 + 147_456 + 8_192)  # 64*128*9, 128*128*9, 64*128
        + (294_912 + 589_824 + 32_768)
        + (1_179_648 + 2_359_296 + 131_072)
    )
    linear = 2_048 * 10  # 32 pooled to 16, then 8, 4, 2: 2*2*512 features
    assert sum(parameter.numel() for parameter in network.parameters()) == stem + blocks + linear


def test_the_activation_comes_after_the_sum_with_the_shortcut():
    block = BasicBlock(1, 1, stride=1, dropout=0.2).eval()
    only_centre(block.conv1, 3.0)
    only_centre(block.conv2, 0.5)
    features = torch.tensor([2.0, -2.0]).view(2, 1, 1, 1)
    # relu(0.5 * relu(3 * 2) + 2) = 5 and relu(0.5 * relu(3 * -2) - 2) = 0
    assert block(features).flatten().tolist() == [5.0, 0.0]
    only_centre(block.conv2, -1.0)
    # relu(-relu(3 * 2) + 2) = relu(-4) = 0
    assert block(features).flatten().tolist() == [0.0, 0.0]


def test_the_shortcut_is_projected_only_where_the_shape_changes():
    assert isinstance(BasicBlock(4, 4, stride=1, dropout=0.0).shortcut, nn.Identity)
    for block in (BasicBlock(4, 8, stride=1, dropout=0.0), BasicBlock(4, 4, stride=2, dropout=0.0)):
        assert block.shortcut.kernel_size == (1, 1)
        assert block.shortcut.stride == block.conv1.stride


def test_a_projected_block_adds_the_projection():
    block = BasicBlock(1, 2, stride=2, dropout=0.0).eval()
    nn.init.zeros_(block.conv2.weight)
    block.shortcut.weight.data = torch.tensor([2.0, -1.0]).view(2, 1, 1, 1)
    features = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    # rows and columns 0 and 2: 1, 3, 7, 9, doubled in the first channel, negative (so 0) in the second
    assert block(features).flatten().tolist() == [2.0, 6.0, 14.0, 18.0, 0.0, 0.0, 0.0, 0.0]


def test_grey_images_do_not_pass_as_colour():
    with pytest.raises(UsageError, match="1 channels, not 3"):
        Normalise((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))(torch.rand(2, 1, 4, 4))
