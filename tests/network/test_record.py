import pytest
import torch
from torch import nn

from hiresnn.models import build
from hiresnn.network import calibrate, compiling_pays, convert, record, spiking_graph


def one_pixel_network():
    """Two IF layers of one neuron: threshold 1 on the pixel, threshold 2 on three times its spikes."""
    ann = nn.Sequential(
        nn.Flatten(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2)
    )
    network = spiking_graph(ann, 4)
    with torch.no_grad():
        network.layers.get_submodule("1").weight.fill_(1)
        network.layers.get_submodule("3").weight.fill_(3)
        network.neurons["4"].threshold.fill_(2)
    return network


def test_recorded_spikes_are_those_counted_by_hand():
    # First layer, threshold 1:             pixel 0.75: u = 0.75, 1.5, 1.25, 1.0 (not above 1)  -> 0 1 1 0
    #                                       pixel 0.25: u = 0.25, 0.5, 0.75, 1.0                -> 0 0 0 0
    # Second, I = 3 a spike, threshold 2:   u = 0, 3, 1 + 3, 2 + 0 (not above 2)                -> 0 1 1 0
    network = one_pixel_network()
    with record(network) as spikes:
        network(torch.tensor([0.75, 0.25]).view(2, 1, 1, 1))
    assert list(spikes) == ["2", "4"]
    for layer in spikes.values():
        assert layer.shape == (4, 2, 1)
        assert layer[:, 0].flatten().tolist() == [0, 1, 1, 0]
        assert layer[:, 1].flatten().tolist() == [0, 0, 0, 0]


def test_every_layer_is_recorded_by_step_and_sample_without_gradient():
    ann = build("vgg5", 10, width=1 / 16, hidden=8, image_size=8)
    network = convert(ann, torch.rand(4, 3, 8, 8), timesteps=3).eval()
    with record(network) as spikes:
        network(torch.rand(2, 3, 8, 8).requires_grad_())
    assert {name: tuple(layer.shape) for name, layer in spikes.items()} == {
        "relu1": (3, 2, 4, 8, 8),
        "relu2": (3, 2, 8, 4, 4),
        "relu3": (3, 2, 8, 4, 4),
        "relu4": (3, 2, 8),
        "relu5": (3, 2, 8),
    }
    for layer in spikes.values():
        assert set(layer.unique().tolist()) <= {0.0, 1.0}
        assert not layer.requires_grad


def test_the_latest_forward_is_kept_and_nothing_is_recorded_outside():
    network, bright = one_pixel_network(), torch.ones(1, 1, 1, 1)
    with record(network) as spikes:
        network(bright)
        network(bright * 0, timesteps=2)
    assert spikes["2"].flatten().tolist() == [0, 0]
    network(bright)
    assert spikes["2"].flatten().tolist() == [0, 0]


@pytest.mark.parametrize(
    "look", [lambda network, images: compiling_pays(network, images[:1], 1), calibrate], ids=["count", "calibrate"]
)
def test_a_layer_in_eval_mode_inside_a_network_in_training_mode_stays_so(look):
    network, images = one_pixel_network().train(), torch.rand(4, 1, 1, 1)
    network.neurons["2"].eval()
    look(network, images)
    assert [name for name, module in network.named_modules() if not module.training] == ["layers.2"]
