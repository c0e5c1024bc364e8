import json

import pytest
import torch
from torch import nn

from hiresnn.errors import UsageError
from hiresnn.models import MODELS, build
from hiresnn.network import convert

ALL = ("vgg5", "vgg11", "vgg16", "vgg16-4pools", "resnet12")


def tiny(name, num_classes=10, **arguments):
    return build(name, num_classes, **{"width": 1 / 16, "hidden": 8, **arguments})


def test_the_four_networks_are_known_with_their_smallest_image():
    assert MODELS == {"vgg5": 4, "vgg11": 8, "vgg16": 32, "vgg16-4pools": 16, "resnet12": 2}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("batch", "channels", "classes"), [(3, 3, 10), (1, 1, 100)])
def test_images_become_one_logit_a_class(name, batch, channels, classes):
    network = tiny(name, classes, in_channels=channels)
    assert network(torch.rand(batch, channels, 32, 32)).shape == (batch, classes)


@pytest.mark.parametrize("name", ["vgg5", "vgg11", "resnet12"])
@pytest.mark.parametrize("size", [8, 9, 28])
def test_small_and_odd_images_of_one_channel_are_taken(name, size):
    network = tiny(name, 100, in_channels=1, image_size=size)
    assert network(torch.rand(1, 1, size, size)).shape == (1, 100)


@pytest.mark.parametrize("name", ALL)
def test_the_smallest_image_works_and_one_pixel_less_is_refused(name):
    smallest = MODELS[name]
    assert tiny(name, image_size=smallest)(torch.rand(1, 3, smallest, smallest)).shape == (1, 10)
    message = f"images of {smallest - 1}x{smallest - 1} are too small .* {name}, .* {smallest}x{smallest}"
    with pytest.raises(UsageError, match=message):
        tiny(name, image_size=smallest - 1)


@pytest.mark.parametrize("name", ALL)
def test_no_layer_has_a_bias_or_batch_norm(name):
    network = tiny(name)
    assert {parameter.split(".")[-1] for parameter, _ in network.named_parameters()} == {"weight"}
    assert {type(module) for module in network.modules()} & {nn.BatchNorm2d, nn.BatchNorm1d} == set()


@pytest.mark.parametrize(("name", "activations"), [("vgg5", 5), ("vgg11", 10), ("vgg16", 15), ("resnet12", 11)])
def test_every_activation_is_a_module_of_its_own_in_the_traced_graph(name, activations):
    network = tiny(name, mean=[0.5] * 3, std=[0.2] * 3).eval()
    traced = torch.fx.symbolic_trace(network)
    called = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    relus = [target for target in called if isinstance(network.get_submodule(target), nn.ReLU)]
    assert len(relus) == len(set(relus)) == activations
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(traced(images), network(images))


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


def test_the_same_seed_gives_the_same_weights():
    networks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        networks.append(tiny("resnet12"))
    first, second, other = (network.conv1.weight for network in networks)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "vgg7"}, "no model 'vgg7'.* choose one of vgg5, vgg11, vgg16, vgg16-4pools, resnet12"),
        ({"num_classes": 0}, "num_classes is 0; give a whole number of at least 1"),
        ({"in_channels": 0}, "in_channels is 0"),
        ({"hidden": -4}, "hidden is -4"),
        ({"width": 0.0}, "width is 0.0; give a number above 0"),
        ({"width": float("nan")}, "width is nan"),
        ({"dropout": 1.0}, "dropout is 1.0; give a number from 0"),
        ({"dropout": -0.1}, "dropout is -0.1"),
        ({"mean": [0.5] * 3}, "mean is given without std"),
        ({"std": [0.5] * 3}, "std is given without mean"),
        ({"mean": [0.5], "std": [0.5]}, r"mean has 1 and std has 1 numbers, but images have 3 channel"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        build(**{"name": "vgg5", "num_classes": 10, **arguments})


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
