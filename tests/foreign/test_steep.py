"""A surrogate so steep that PGD finds no gradient protects nothing: under ASSG every image falls, in every adapter."""

from contextlib import suppress

import pytest
import torch

from hiresnn.attacks import parse, pgd
from hiresnn.errors import UsageError
from hiresnn.foreign import recognise, sinabs, snntorch, spikingjelly

from . import paper_networks
from .neurons import IAF, IFNode, Leaky
from .test_layer_rules import CASES, T, library, over_time, stacked

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours
IMAGES = torch.rand(40, 1, 4, 4, generator=torch.Generator().manual_seed(3))
EPS = 0.25


class Narrow(torch.nn.Module):
    """The surrogate of a stand-in: a gradient only within 1e-4 of the threshold."""

    def forward(self, x):
        return (x >= 0).to(x) + (x - x.detach()) * (x.abs() < 1e-4)


def narrow(neuron, name):
    """Give a neuron a surrogate without a gradient, in the attribute where its library keeps it."""

    def make(threshold):
        made = neuron(threshold)
        slope = {
            "spike_grad": lambda x: (x > 0).float() + (x - x.detach()) * (x.abs() < 1e-4),
            "surrogate_function": Narrow(),
            "surrogate_grad_fn": lambda u, threshold: ((u - threshold).abs() < 1e-4).to(u),
        }[name]
        setattr(made, name, slope)
        return made

    return make


def real_sinabs(threshold):
    activation, layers = library("sinabs.activation"), library("sinabs.layers")
    return layers.IAF(spike_threshold=torch.tensor(threshold), spike_fn=activation.SingleSpike)


def real_norse():
    """Its surrogates have fixed widths; a straight gradient of 0 is what it calls heaviside."""
    model = CASES["norse cell"][3]()
    model.readout = "mean"
    for module in model.network.modules():
        if hasattr(module, "p"):
            module.p = module.p._replace(method="heaviside")
    return model


STEEP = {
    "stand-in of SpikingJelly": lambda: spikingjelly(stacked(narrow(IFNode, "surrogate_function")), T),
    "stand-in of snnTorch": lambda: snntorch(stacked(narrow(lambda v: Leaky(0.8, v), "spike_grad")), T),
    "stand-in of sinabs": lambda: sinabs(over_time(narrow(IAF, "surrogate_grad_fn")), T),
    "spikingjelly": lambda: spikingjelly(
        stacked(
            narrow(
                lambda v: library("spikingjelly.activation_based.neuron").IFNode(v, v_reset=None), "surrogate_function"
            )
        ),
        T,
    ),
    "snntorch": lambda: snntorch(
        stacked(narrow(lambda v: library("snntorch").Leaky(0.8, threshold=v, init_hidden=True), "spike_grad")), T
    ),
    "norse": real_norse,
    "sinabs": lambda: sinabs(over_time(narrow(real_sinabs, "surrogate_grad_fn")), T),
    "layers of papers": lambda: recognise(
        paper_networks.Network(lambda v: paper_networks.LIFSpike(v, gama=1e-4)).eval(), IMAGES
    ),
    "state in attributes": lambda: recognise(
        paper_networks.Loop(lambda v: paper_networks.Stateful(v, gama=1e-4)).eval(), IMAGES
    ),
}


@pytest.mark.parametrize("name", STEEP)
def test_a_network_that_pgd_leaves_standing_falls_to_zero(name):
    model = STEEP[name]().double().eval()
    images = IMAGES.double()
    last = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.bias -= model(images).mean(0)  # so that every class has images
        labels = model(images).argmax(1)
    assert len(labels.unique()) == 3
    plain = images  # where there is no gradient at all, PGD refuses to start
    with suppress(UsageError):
        plain = pgd(model, images, labels, eps=EPS, step=EPS / 4, iterations=20)
    ruled = parse(f"sa-pgd(rule=assg, eps={EPS}, iterations=100)")(model, images, labels)
    standing = [int((model(attacked).argmax(1) == labels).sum()) for attacked in (plain, ruled)]
    assert standing[0] >= 20
    assert standing[1] == 0
