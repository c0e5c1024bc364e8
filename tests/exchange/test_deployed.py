"""A network as a device computes it: every number is on the grid that the device has."""

import pytest
import torch
from torch import nn

from hiresnn.errors import UsageError
from hiresnn.exchange import deployed
from hiresnn.exchange.deployed import read_view
from hiresnn.network import spiking_graph

from .small import counter, network


def layer():
    """Weights 1.27, -0.5 and 0.004, bias 0.999, threshold 0.333; a readout with other weights."""
    ann = nn.Sequential(nn.Flatten(), nn.Linear(3, 1), nn.ReLU(), nn.Linear(1, 2, bias=False))
    with torch.no_grad():
        ann[1].weight.copy_(torch.tensor([[1.27, -0.5, 0.004]]))
        ann[1].bias.fill_(0.999)
        ann[3].weight.copy_(torch.tensor([[2.54], [0.011]]))
    found = spiking_graph(ann, 2)
    found.neurons["2"].threshold.data.fill_(0.333)
    return found


def values(subject):
    """Weights, bias, threshold, and weights of the readout."""
    first, _, last = (subject.layers.get_submodule(name) for name in ("1", "2", "3"))
    tensors = (first.weight, first.bias, subject.neurons["2"].threshold, last.weight)
    return [tensor.detach().flatten().tolist() for tensor in tensors]


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        # The scale is 1.27 / 127 = 0.01; bias and threshold are 100 and 33 of it. That of the readout is 0.02.
        ("int8", [[1.27, -0.5, 0.0], [1.0], [0.33], [2.54, 0.02]]),
        # 1.27 / 7 = 0.1814: -0.5 is -3 of it, the bias 6, the threshold 2. 2.54 / 7 = 0.3629.
        ("int4", [[1.27, -3 * 1.27 / 7, 0.0], [6 * 1.27 / 7], [2 * 1.27 / 7], [2.54, 0.0]]),
        # One channel, so the same weights; the threshold stays. Each class of the readout has a scale of its own.
        ("int8-channel", [[1.27, -0.5, 0.0], [1.0], [0.333], [2.54, 0.011]]),
        ("shared-scale", [[1.27, -0.5, 0.0], [1.0], [0.33], [2.54, 0.02]]),
    ],
)
def test_numbers_are_rounded_as_worked_out_by_hand(view, expected):
    for found, numbers in zip(values(deployed(layer(), view)), expected, strict=True):
        assert found == pytest.approx(numbers, abs=1e-6)


def test_a_shared_scale_has_to_reach_the_threshold():
    subject = layer()
    subject.neurons["2"].threshold.data.fill_(12.7)  # 127 * 0.1, so weights are multiples of 0.1
    assert values(deployed(subject, "shared-scale"))[0] == pytest.approx([1.3, -0.5, 0.0])
    assert values(deployed(subject, "int8"))[0] == pytest.approx([1.27, -0.5, 0.0])


def test_layers_that_enter_the_same_neurons_share_a_scale():
    subject = deployed(network("resnet12"), "int4")
    main, shortcut = (subject.layers.get_submodule(f"block2.{name}").weight.detach() for name in ("conv2", "shortcut"))
    scale = max(float(main.abs().max()), float(shortcut.abs().max())) / 7
    for weight in (main, shortcut):
        torch.testing.assert_close(weight / scale, (weight / scale).round())


def test_a_max_pool_leaves_a_layer_and_its_neurons_one_scale():
    ann = nn.Sequential(nn.Conv2d(1, 1, 1), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(1, 2))
    with torch.no_grad():
        ann[0].weight.fill_(1.27)
        ann[0].bias.fill_(0.004)
    subject = spiking_graph(ann, 2)
    subject.neurons["2"].threshold.data.fill_(0.333)
    found = deployed(subject, "int8")  # the scale is 0.01
    assert found.layers.get_submodule("0").bias.item() == 0.0
    assert found.neurons["2"].threshold.item() == pytest.approx(0.33)


def test_the_scale_and_shift_of_a_batch_norm_are_rounded():
    ann = nn.Sequential(nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(2, 2))
    with torch.no_grad():
        ann[0].weight.copy_(torch.tensor([1.0, 0.26]))
        ann[0].running_var.fill_(1 - ann[0].eps)
    subject = spiking_graph(ann.eval(), 2)
    norm = deployed(subject, "int3").layers.get_submodule("0")  # multiples of a third
    assert norm.weight.tolist() == pytest.approx([1.0, 1 / 3])
    assert deployed(subject, "int3-channel").layers.get_submodule("0").weight.tolist() == pytest.approx([1.0, 0.26])


def test_weights_that_cannot_be_rounded_are_refused_by_name():
    ann = nn.Sequential(nn.Conv2d(1, 2, 1), nn.GroupNorm(1, 2), nn.ReLU(), nn.Flatten(), nn.Linear(2, 2))
    subject = spiking_graph(ann, 2)
    with pytest.raises(UsageError, match=r"'1\.weight' cannot be rounded"):
        deployed(subject, "int8")
    assert deployed(subject, "leak=0.5").neurons["2"].leak.item() == 0.5


def test_neurons_change_as_the_view_says_and_the_network_itself_does_not():
    subject = network(leak=0.9, reset="subtract")
    before = {name: value.clone() for name, value in subject.state_dict().items()}
    copy = deployed(subject, "int4+leak=1+reset=zero+condition=>=")
    kinds = {(lif.leak.item(), lif.reset, lif.neuron.condition) for lif in copy.neurons.values()}
    assert kinds == {(1.0, "zero", ">=")}
    assert {(lif.reset, lif.neuron.condition) for lif in subject.neurons.values()} == {("subtract", ">")}
    assert all(torch.equal(value, before[name]) for name, value in subject.state_dict().items())


@pytest.mark.parametrize(
    ("view", "message"),
    [
        ("int1", "'int1' is unknown; choose intN with 2 to 16 bits"),
        ("float8", "'float8' is unknown"),
        ("float", "changes nothing"),
        ("leak=2", "leak is 2; it must lie in"),
        ("float(leak=high)", "leak is 'high'; give a number"),
        ("reset=half", "reset is 'half'; choose one of subtract"),
        ("condition=", "in quotes for the shell"),
        ("shared-scale+int8-channel", "exclude each other"),
        ("int8(channel=1)", "channel and shared are True or False"),
        ("float(shared=True)", "float has no option 'shared'"),
        ("int8+int4", "int4 has no name"),
        ("leak=1+leak=0.5", "leak is given twice"),
    ],
)
def test_an_unknown_view_is_refused(view, message):
    with pytest.raises(UsageError, match=message):
        deployed(counter(), view)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("int8-channel", "int8(channel=True)"), ("shared-scale", "int8(shared=True)"),
        ("int4+shared-scale", "int4(shared=True)"), ("leak=1", "float(leak=1)"),
        ("int4+leak=0.5+reset=zero+condition=>=", "int4(leak=1/2, reset=zero, condition='>=')"),
    ],
)  # fmt: skip
def test_a_view_of_version_0_2_is_read(old, new):
    assert read_view(old) == read_view(new)


def test_a_channel_of_zeros_keeps_its_bias():
    subject = layer()
    subject.layers.get_submodule("1").weight.data.zero_()
    assert values(deployed(subject, "int8-channel"))[:2] == [[0.0, 0.0, 0.0], [pytest.approx(0.999)]]
    assert values(deployed(subject, "int8"))[1] == [pytest.approx(0.999)]


def test_a_layer_that_enters_two_layers_of_neurons_shares_its_scale_with_both():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.last = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(3, 2)

        def forward(self, images):
            shown = images.flatten(1)
            first = self.a(shown)
            return self.last(first.relu() + (first + self.b(shown)).relu())

    torch.manual_seed(0)
    subject = spiking_graph(Two(), 2)
    for number, neuron in enumerate(subject.neurons.values()):
        neuron.threshold.data.fill_(0.31 + number)
    once = deployed(subject, "int4")
    scale = max(once.layers.get_submodule(name).weight.abs().max() for name in ("a", "b")) / 7
    for number in (once.layers.get_submodule("a").weight, *(each.threshold for each in once.neurons.values())):
        torch.testing.assert_close(number / scale, (number / scale).round())
    again = deployed(once, "int4")
    assert all(torch.equal(one, two) for one, two in zip(once.parameters(), again.parameters(), strict=True))
