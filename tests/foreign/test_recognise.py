"""Networks as papers publish them are recognised by what they do, and attacked like the same network of hiresnn."""

import copy

import pytest
import torch
from torch import nn

from hiresnn.errors import UsageError
from hiresnn.foreign import Unrolled, recognise, record
from hiresnn.foreign.equation import Equation
from hiresnn.neurons import gradient_rule

from . import paper_networks
from .paper_networks import LEAK, THRESHOLDS, T
from .test_layer_rules import ELEMENTWISE, LAYER_RULES, gradients, library, ours
from .test_require import module_of

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours
IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def spikingjelly_network():
    """Repeats the images and reads out by itself; neurons in multi-step mode."""
    neuron = library("spikingjelly.activation_based.neuron")
    shared = {"tau": 4.0, "decay_input": False, "v_reset": None, "detach_reset": True, "step_mode": "m"}
    return paper_networks.Sequence(lambda threshold: neuron.LIFNode(v_threshold=threshold, **shared))


def snntorch_network():
    snn = library("snntorch")

    class Cells(paper_networks.Network):
        def forward(self, images):
            first, second, total = self.first.reset_mem(), self.second.reset_mem(), 0
            for _ in range(T):
                spikes, first = self.first(self.conv(images), first)
                spikes, second = self.second(self.fc(spikes.flatten(1)), second)
                total = total + self.head(spikes)
            return total / T

    return Cells(lambda threshold: snn.Leaky(LEAK, threshold=threshold))


FORMS = {
    "layers on [T*B, ...]": (paper_networks.Network, "zero", ">="),
    "layers on [T*B, ...], mean inside": (paper_networks.Mean, "zero", ">="),
    "layers on [T, B, ...]": (paper_networks.Sequence, "subtract", ">="),
    "layers on [B, T, ...]": (paper_networks.BatchFirstNetwork, "zero", ">="),
    "state in attributes, loop in forward": (paper_networks.Loop, "subtract", ">="),
    "state passed on, loop in forward": (paper_networks.LoopOfCells, "zero", ">="),
    "SpikingJelly, all steps": (spikingjelly_network, "subtract", ">="),
    "snnTorch, loop in forward": (snntorch_network, "subtract-unleaked", ">"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_network_is_recognised_and_has_the_gradients_of_the_same_one_of_hiresnn(form):
    make, reset, condition = FORMS[form]
    bare = make().double().eval()
    model, twin = recognise(bare, IMAGES), ours(LEAK, reset, condition)
    assert isinstance(model, Unrolled)
    assert (model.timesteps, list(model.spiking)) == (T, ["first", "second"])
    assert f"{T} timesteps in its own loop, 2 layers of neurons (first, second); class scores are" in model.summary
    for (name, equation), threshold in zip(model.equations().items(), THRESHOLDS, strict=True):
        assert isinstance(equation, Equation), f"{name}: {equation}"
        assert (equation.threshold, equation.leak) == pytest.approx((threshold, LEAK), abs=1e-9)
        assert equation.reset == reset
    for _ in range(2):  # no state remains
        torch.testing.assert_close(model(IMAGES) * T, twin(IMAGES), rtol=0, atol=1e-5)
    for rule in (*LAYER_RULES, *ELEMENTWISE):
        torch.testing.assert_close(T * gradients(model, rule), gradients(twin, rule), rtol=1e-5, atol=1e-5, msg=rule)


@pytest.mark.parametrize("make", [paper_networks.Network, paper_networks.LoopOfCells, paper_networks.Sequence])
def test_without_a_rule_the_gradient_is_that_of_the_networks_own_code(make):
    bare, images = make().double().eval(), IMAGES.clone().requires_grad_()
    outputs = bare(images)
    weights = torch.linspace(-1, 1, 3, dtype=torch.float64)
    (expected,) = torch.autograd.grad(((outputs.mean(0) if outputs.dim() == 3 else outputs) * weights).sum(), images)
    (gradient,) = torch.autograd.grad((recognise(bare, IMAGES)(images) * weights).sum(), images)
    assert gradient.abs().sum() > 0
    torch.testing.assert_close(gradient, expected)


class Mixed(nn.Module):
    """T neurons that take a step per call, and T neurons that take all steps, [T, B, ...], with T classes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.two = paper_networks.Linear(16, T), paper_networks.Linear(T, T)
        self.first, self.second = paper_networks.Cell(THRESHOLDS[0]), paper_networks.MultiStepNode(THRESHOLDS[1])
        self.over_time = paper_networks.OverTime(self.two)
        with torch.no_grad():
            self.two.weight.abs_()

    def forward(self, images):
        current = self.one(images.flatten(1))
        spikes, u, steps = None, torch.zeros_like(current), []
        for _ in range(T):
            spikes, u = self.first(current, u)
            steps.append(spikes)
        return self.second(self.over_time(torch.stack(steps)))


@pytest.mark.parametrize("seen", [1, 2 * T])
def test_layers_of_several_layouts_are_told_apart_also_with_as_many_images_as_timesteps(seen):
    images = torch.rand(T, 1, 4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    model = recognise(Mixed().double().eval(), images)
    assert model.layout == "any"

    def gradient(rows):
        rows = rows.clone().requires_grad_()
        with gradient_rule(model, "unrolled"):
            return torch.autograd.grad(model(rows).square().sum(), rows)[0]

    with pytest.raises(UsageError, match=r"do not tell 5 images and 5 timesteps apart; call the network once with ano"):
        gradient(images)
    model(torch.rand(seen, 1, 4, 4, dtype=torch.float64))  # as an audit does, which first tries the network out
    assert [model.layout_of(name) for name in ("first", "second")] == ["steps", "sequence"]
    together, apart = gradient(images), [gradient(image) for image in images[:, None]]
    assert together.abs().max() > 0
    torch.testing.assert_close(together, torch.cat(apart))
    with record(model) as spikes:
        model(images)
        together = {name: steps.clone() for name, steps in spikes.items()}
        for number, image in enumerate(images):
            model(image[None])
            assert all(torch.equal(together[name][:, number], spikes[name][:, 0]) for name in ("first", "second"))


def test_a_network_of_one_step_per_call_needs_the_number_of_timesteps():
    bare = paper_networks.OneStep().double().eval()
    with pytest.raises(UsageError, match=r"OneStep keeps its state.*--timesteps"):
        recognise(bare, IMAGES)
    model = recognise(bare, IMAGES, T)
    torch.testing.assert_close(model(IMAGES), recognise(paper_networks.Loop().double().eval(), IMAGES)(IMAGES))
    with pytest.raises(UsageError, match="runs for 5 timesteps by itself"):
        recognise(paper_networks.Network().double(), IMAGES, 4)


def test_state_is_put_back_also_in_a_copy_and_the_weights_are_left_alone():
    model = recognise(paper_networks.Loop().double().eval(), IMAGES)
    logits, weights = model(IMAGES), copy.deepcopy(model.state_dict())
    twin = copy.deepcopy(model)
    twin.network.head.weight.data.zero_()
    twin(IMAGES[:2])
    assert twin.network.first.membrane is None
    assert model.network.first.membrane is None
    assert torch.equal(model(IMAGES), logits)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_a_network_that_fails_on_images_is_named_with_its_own_error():
    network = nn.Sequential(nn.Linear(16, 3), module_of("snntorch", "reset_mem"))  # takes rows
    with pytest.raises(UsageError, match=r"fails on images \[B, 1, 4, 4\]: RuntimeError: .*reshape them inside"):
        recognise(network.double(), IMAGES)


class Sign(nn.Module):
    def forward(self, rows):
        return (rows > 0).to(rows)


class Memory(nn.Module):
    """No spikes: an average over calls."""

    def __init__(self):
        super().__init__()
        self.mean = 0.0

    def forward(self, rows):
        self.mean = 0.9 * self.mean + rows
        return self.mean


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)),
        nn.Sequential(nn.Conv2d(1, 2, 3), Sign(), nn.Flatten(), nn.Linear(8, 3)),  # binary, but one call and no state
        nn.Sequential(nn.Flatten(), Memory(), nn.Linear(16, 3)),
        nn.Linear(7, 3),  # takes no images
        ours(1.0, "subtract"),
    ],
)
def test_other_networks_are_left_as_they_are(network):
    state = copy.deepcopy(network.state_dict())
    assert recognise(network.double(), IMAGES) is network
    assert network.state_dict().keys() == state.keys()
    assert all(getattr(module, "mean", 0.0) == 0.0 for module in network.modules() if isinstance(module, Memory))


def test_a_neuron_of_another_equation_is_refused_by_a_rule_and_named():
    class Noisy(paper_networks.Stateful):
        def forward(self, current):
            return super().forward(current + torch.rand_like(current))

    model = recognise(paper_networks.Loop(Noisy).double().eval(), IMAGES)
    with pytest.raises(UsageError, match=r"'first' \(Noisy\) of this own code network has no equation"):
        gradient_rule(model, "bptr").__enter__()
