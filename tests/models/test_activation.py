"""Quantised clipped activations against their definition, and the spiking networks that compute the same."""

import pytest
import torch
from torch import Tensor, nn

from hiresnn.errors import UsageError
from hiresnn.models import QCFS, build
from hiresnn.network import convert, record
from hiresnn.neurons import can_fuse

IMAGES = torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
ON = {"threshold_scale": 1.0, "start": 0.5, "rescale": True}


def trained(name, levels=4, batch_norm=True):
    """An ANN whose thresholds differ and whose batch norms have statistics; nothing of it is trained further."""
    torch.manual_seed(0)
    ann = build(
        name, 10, width=1 / 16, hidden=16, image_size=16, batch_norm=batch_norm, activation="qcfs", levels=levels
    )
    for number, layer in enumerate(each for each in ann.modules() if isinstance(each, QCFS)):
        layer.threshold.data.fill_(1 + 0.25 * (number % 3))
    with torch.no_grad():
        for _ in range(20):
            ann(IMAGES)
    return ann.eval()


def test_values_and_gradients_are_those_of_the_definition():
    layer = QCFS(4, threshold=2.0)  # one step is 0.5, and it begins a half before: at 0.25, 0.75, ...
    current = torch.tensor([-1.0, 0.2, 0.3, 0.74, 0.76, 1.9, 2.5], requires_grad=True)
    values = layer(current)
    assert values.tolist() == pytest.approx([0, 0, 0.5, 0.5, 1.0, 2.0, 2.0])
    values.sum().backward()
    assert current.grad.tolist() == [0, 1, 1, 1, 1, 1, 0]
    inside = [(y - x) / 2 for x, y in ((0.2, 0), (0.3, 0.5), (0.74, 0.5), (0.76, 1.0), (1.9, 2.0))]
    assert layer.threshold.grad.item() == pytest.approx(sum(inside) + 1)


def test_the_spec_of_a_network_with_relu_is_that_of_earlier_versions():
    assert not {"activation", "levels"} & build("vgg5", 10).spec.keys()
    ann = trained("vgg5")
    again = build(**ann.spec)
    assert [type(layer) for layer in again.modules()] == [type(layer) for layer in ann.modules()]
    again.load_state_dict(ann.state_dict())


def same_as_ann(network, ann, images):
    """Share of images whose logits are those of the ANN; float32 may round a membrane to the other side."""
    with torch.no_grad():
        found, expected = network(images) / network.timesteps, ann(images)
    return float(torch.isclose(found, expected, rtol=1e-3, atol=1e-4).all(1).float().mean())


@pytest.mark.parametrize("name", ["vgg5", "resnet12"])
def test_a_network_that_waits_computes_what_its_ann_computes(name):
    ann = trained(name)
    network = convert(ann, IMAGES, timesteps=4, wait=True, **ON).eval()
    assert same_as_ann(network, ann, IMAGES) >= 0.9
    together = convert(ann, IMAGES, timesteps=4, **ON).eval()
    assert same_as_ann(together, ann, IMAGES) < 0.5  # spikes that come early cannot be taken back


def test_the_first_layer_sends_the_spikes_of_its_activation_without_waiting():
    ann = trained("vgg5", batch_norm=False)
    activations: list[Tensor] = []
    ann.get_submodule("relu1").register_forward_hook(lambda _, __, output: activations.append(output))
    network = convert(ann, IMAGES, timesteps=4, **ON).eval()
    activations.clear()
    with torch.no_grad(), record(network) as spikes:
        ann(IMAGES)
        network(IMAGES)
    found = spikes["relu1"].mean(0) * network.neurons["relu1"].threshold
    assert torch.isclose(found, activations[0], atol=1e-5).float().mean() > 0.999


def test_a_threshold_is_the_learned_one_times_the_scale():
    ann = trained("vgg5")
    learned = [layer.threshold.item() for layer in ann.modules() if isinstance(layer, QCFS)]
    for scale in (1.0, 0.5):
        network = convert(ann, IMAGES, timesteps=4, **{**ON, "threshold_scale": scale})
        assert [lif.threshold.item() for lif in network.neurons.values()] == pytest.approx([scale * x for x in learned])
    assert [change.became for change in network.report.changes if change.was == "QCFS"] == ["LIF"] * 5


def test_learned_thresholds_need_rescaled_weights():
    with pytest.raises(UsageError, match="layer 'relu1' has a threshold that the ANN learned"):
        convert(trained("vgg5"), IMAGES, timesteps=4, threshold_scale=1.0)


@pytest.mark.skipif(not can_fuse(), reason="no C++ compiler")
def test_a_compiled_network_that_waits_has_the_same_spikes():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3, padding=1), QCFS(2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(256, 8), QCFS(2)
    network = convert(nn.Sequential(*layers, nn.Linear(8, 10)), IMAGES, timesteps=2, wait=True, **ON).train()
    with torch.no_grad():
        found = []
        for fused in (False, True):
            torch.manual_seed(1)
            found.append(network.fuse(fused)(IMAGES))
    assert torch.equal(*found)
