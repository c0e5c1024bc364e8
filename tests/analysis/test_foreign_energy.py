"""Operations of networks of other libraries, counted by hand; tests/exchange/test_carried.py compares networks."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hiresnn.analysis import count_operations
from hiresnn.errors import UsageError
from hiresnn.foreign import Unrolled

T = 3


class IFNode(nn.Module):
    """SpikingJelly's IF neuron with threshold 1 and reset to 0, as far as its adapter looks."""

    def __init__(self):
        super().__init__()
        self.v: Any = 0.0

    def reset(self):
        self.v = 0.0

    def forward(self, x):
        self.v = self.v + x
        spikes = (self.v >= 1).float()
        self.v = self.v * (1 - spikes)
        return spikes


IFNode.__module__ = "spikingjelly.neuron"
LIFNode = type("LIFNode", (IFNode,), {"__module__": "spikingjelly.neuron"})
Other = type("Other", (LIFNode,), {"__module__": "spikingjelly.neuron"})


def ones(inputs, outputs):
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.ones_(layer.weight)
    return layer


def counted(network, images, **options):
    neurons = [module for module in network.modules() if isinstance(module, IFNode)]

    def reset(_):
        for neuron in neurons:
            neuron.reset()

    model = Unrolled(network, T, library="SpikingJelly", reset=reset, spiking=neurons, **options)
    return {layer.name: layer for layer in count_operations(model, images).layers}


# Two pixels, 0.5 and 0: the sum 0.5 reaches the threshold at every second step, so once in three.
PIXELS = torch.tensor([0.5, 0.0]).reshape(1, 1, 1, 2)


def test_the_image_counts_once_and_spikes_count_at_each_step():
    layers = counted(nn.Sequential(nn.Flatten(), ones(2, 4), IFNode(), ones(4, 3)), PIXELS)
    image, neurons, spikes = layers["1"], layers["2"], layers["3"]
    assert (image.inputs, image.macs, image.acs, image.events) == ("image", 4, 0, 1)
    assert (neurons.events, neurons.acs, neurons.multiplications) == (4, 4 * T + 4, 0)
    assert (spikes.inputs, spikes.macs, spikes.acs, spikes.activity) == ("spikes", 0, 4 * 3, 1)
    assert layers["readout"].acs == 3 * T


class Once(nn.Module):
    """Computes the image's side once, before its loop over time."""

    def __init__(self):
        super().__init__()
        self.first, self.neuron, self.last = ones(2, 4), IFNode(), ones(4, 3)

    def forward(self, images):
        current = self.first(images.flatten(1))
        return torch.stack([self.last(self.neuron(current)) for _ in range(T)])


def test_a_current_that_is_computed_once_counts_the_same():
    whole = counted(nn.Sequential(nn.Flatten(), ones(2, 4), IFNode(), ones(4, 3)), PIXELS)
    once = counted(Once(), PIXELS, own_loop=True)
    for name, other in (("first", "1"), ("neuron", "2"), ("last", "3")):
        assert {**vars(once[name]), "name": other} == vars(whole[other])


def test_an_encoded_image_counts_at_every_step():
    network = nn.Sequential(nn.Flatten(), ones(2, 4), IFNode(), ones(4, 3))
    pulses = torch.tensor([1.0, 0.0, 1.0]).reshape(T, 1, 1, 1, 1).expand(T, 1, 1, 1, 2)
    first = counted(network, PIXELS, encode=lambda images: pulses)["1"]
    # two pixels, two pulses each, four connections
    assert (first.inputs, first.macs, first.acs, first.activity) == ("spikes", 0, 16, 2)
    graded = counted(network, PIXELS, encode=lambda images: pulses / 2)["1"]
    assert (graded.inputs, graded.macs, graded.acs) == ("fractional", 16, 0)


class Encoding(nn.Module):
    """Its own loop shows the image at even steps only."""

    def __init__(self):
        super().__init__()
        self.first, self.neuron = ones(2, 4), IFNode()

    def forward(self, images):
        return torch.stack([self.neuron(self.first(images.flatten(1) * (step % 2 == 0))) for step in range(T)])


def test_an_image_that_changes_from_step_to_step_counts_at_every_step():
    first = counted(Encoding(), PIXELS, own_loop=True)["first"]
    assert (first.inputs, first.macs, first.events) == ("fractional", 8, 2)


def test_currents_between_two_weighted_layers_are_multiplied_at_every_step():
    layers = counted(nn.Sequential(nn.Flatten(), IFNode(), ones(2, 4), ones(4, 3)), torch.ones(1, 1, 1, 2))
    # two spikes at each step; the second layer gets four values of 2
    assert (layers["2"].inputs, layers["2"].acs) == ("spikes", 2 * 4 * T)
    assert (layers["3"].inputs, layers["3"].macs) == ("current", 4 * 3 * T)


def test_a_subclass_of_the_user_decays_as_its_base():
    class Mine(LIFNode):
        pass

    assert counted(nn.Sequential(nn.Flatten(), Mine()), PIXELS)["1"].multiplications == 2 * T


class Functional(nn.Module):
    def __init__(self, product):
        super().__init__()
        self.neuron, self.product = IFNode(), product

    def forward(self, images):
        return self.product(self.neuron(images.flatten(1)), torch.ones(2, 2))


class Hiding(nn.Module):
    def __init__(self):
        super().__init__()
        self.neuron, self.last = IFNode(), ones(2, 2)

    def forward(self, images):
        return self.last(torch.from_numpy(self.neuron(images.flatten(1)).numpy()))


class Recurrent(IFNode):
    def __init__(self):
        super().__init__()
        self.recurrent = ones(2, 2)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: Functional(F.linear), "linear is called as a function"),
        (lambda: Functional(torch.matmul), "matmul is called as a function"),
        (lambda: Functional(lambda x, w: x @ w), "matmul is called as a function"),
        (lambda: Functional(torch.linalg.matmul), "linalg_matmul is called as a function"),
        (lambda: Functional(lambda x, w: torch.linalg.multi_dot([x, w])), "linalg_multi_dot is called as a function"),
        (lambda: Functional(torch.inner), "inner is called as a function"),
        (Hiding, "the input of layer 'last'"),
        (lambda: nn.Sequential(nn.Flatten(), Recurrent()), r"layer '1.recurrent' is part of the neurons '1'"),
        (lambda: nn.Sequential(nn.Flatten(), IFNode(), nn.LayerNorm(2)), "layer '2' is a LayerNorm"),
        (lambda: nn.Sequential(nn.Flatten(), Other()), "layer '1' is a Other"),
    ],
)
def test_what_cannot_be_counted_is_refused_by_name(network, message):
    with pytest.raises(UsageError, match=message):
        counted(network(), PIXELS)
