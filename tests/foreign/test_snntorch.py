import copy

import pytest
import torch
from torch import nn

from hiresnn.attacks import parse, pgd
from hiresnn.errors import UsageError
from hiresnn.foreign import snntorch
from hiresnn.neurons import gradient_rule
from hiresnn.neurons.layer_rules import BPTR
from hiresnn.neurons.surrogate import Arctan, Linear

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours


class Leaky(nn.Module):
    """The interface of snnTorch's neuron: state in the module, strict comparison, the reset one step later."""

    def __init__(self, beta=0.5, threshold=2.0, output=False):
        super().__init__()
        self.beta, self.output = beta, output
        self.spike_grad = lambda x: (x > 0).float()
        self.register_buffer("threshold", torch.tensor(threshold))
        self.register_buffer("mem", torch.zeros(0), persistent=False)

    def reset_mem(self):
        self.mem = torch.zeros_like(self.mem)
        return self.mem

    def forward(self, current):
        if self.mem.shape != current.shape:
            self.mem = torch.zeros_like(current)
        reset = self.spike_grad(self.mem - self.threshold).detach()
        self.mem = self.beta * self.mem + current - reset * self.threshold
        spikes = self.spike_grad(self.mem - self.threshold)
        return (spikes, self.mem) if self.output else spikes


def fake(**options):
    return Leaky(**options)


def real(beta=0.5, threshold=2.0, output=False):
    snn = pytest.importorskip("snntorch", exc_type=ImportError)
    return snn.Leaky(beta=beta, threshold=threshold, init_hidden=True, output=output)


both = pytest.mark.parametrize("neuron", [fake, real])


def one_neuron(neuron, **options):
    return snntorch(nn.Sequential(nn.Flatten(), neuron()), 2, **options)


def pixel(value):
    return torch.tensor([[[[value]]]], dtype=torch.float64, requires_grad=True)


@both
@pytest.mark.parametrize(("value", "spikes"), [(1.5, 1), (2.0, 1), (2.5, 1), (0.5, 0), (4.0, 2)])
def test_spikes_are_worked_out_by_hand(neuron, value, spikes):
    # beta .5, threshold 2, reset one step late, strict: 2.0 gives u = 2.0 (none), then 3.0 (one);
    # 2.5 gives 2.5 (one), then 1.25 + 2.5 - 2 = 1.75 (none); 4 gives 4, then 2 + 4 - 2 = 4
    assert one_neuron(neuron, readout="sum")(pixel(value)).item() == spikes


@both
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        # u = 1.5, 2.25: z = -.25, .125: .3 (.75 * 1 + .875 * 1.5) / 2
        (1.5, 0.309375),
        # u = 2.5, 1.75 (the reset is detached): z = .25, -.125: the same slopes
        (2.5, 0.309375),
        # u = 2, 3: z = 0, .5: .3 (1 * 1 + .5 * 1.5) / 2
        (2.0, 0.2625),
    ],
)
def test_the_gradient_under_a_rule_is_worked_out_by_hand(neuron, value, expected):
    model, image = one_neuron(neuron, readout="sum"), pixel(value)
    with gradient_rule(model, Linear()):
        (gradient,) = torch.autograd.grad(model(image).sum(), image)
    assert gradient.item() == pytest.approx(expected, abs=1e-7)


@both
def test_logits_do_not_depend_on_earlier_calls(neuron):
    model = one_neuron(neuron, readout="sum")
    # 1.5 alone never spikes at its first step; the membrane 2.25 of an earlier call would make it.
    first = model(pixel(1.5))
    assert torch.equal(model(pixel(1.5)), first)
    assert model(torch.rand(3, 1, 1, 1)).shape == (3, 1)  # another batch size
    assert torch.equal(model(pixel(1.5)), first)
    assert not model.network[1].mem.any()
    assert not model.network[1].mem.requires_grad


def network(neuron, **options):
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3), neuron(threshold=0.3), nn.Flatten(), nn.Linear(16, 3), neuron(threshold=0.2, output=True)
    )
    return snntorch(layers, 4, **options).eval()


IMAGES = torch.linspace(0, 1, 5 * 16).view(5, 1, 4, 4)


@both
@pytest.mark.parametrize("rule", [Linear(), Arctan(4.0), torch.zeros_like])
def test_logits_are_bit_equal_under_any_rule_and_the_surrogate_is_restored(neuron, rule):
    model = network(neuron)
    before, logits = [layer.spike_grad for layer in (model.network[1], model.network[4])], model(IMAGES)
    assert logits.sum() > 0
    with gradient_rule(model, rule):
        assert torch.equal(model(IMAGES), logits)
        assert model.network[1].spike_grad is not before[0]
    assert [layer.spike_grad for layer in (model.network[1], model.network[4])] == before


@both
def test_the_membrane_can_be_read_out_instead_of_the_spikes(neuron):
    spikes, membranes = network(neuron)(IMAGES), network(neuron, output=1)(IMAGES)
    assert ((spikes * 4) == (spikes * 4).round()).all()
    assert (membranes * 4 != (membranes * 4).round()).any()


@both
def test_a_network_with_its_own_loop_is_called_once(neuron):
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = network(neuron).network

        def forward(self, images):
            return torch.stack([self.layers(images)[0] for _ in range(4)])

    assert torch.equal(snntorch(Loop(), 4, own_loop=True)(IMAGES), network(neuron)(IMAGES))


@both
def test_pgd_with_a_rule_moves_pixels_by_eps(neuron):
    model, labels = network(neuron, output=1), torch.zeros(5, dtype=torch.int64)
    ruled = parse("pgd:rule=arctan")(model, IMAGES, labels)
    assert (ruled - IMAGES).abs().max().item() == pytest.approx(8 / 255, abs=1e-6)
    with gradient_rule(model, Arctan()):
        assert torch.equal(pgd(model, IMAGES, labels), ruled)


@both
def test_a_rule_of_a_whole_layer_is_refused(neuron):
    with pytest.raises(UsageError, match=r"BPTR .* whole layer.* snnTorch neuron"):
        gradient_rule(network(neuron), BPTR()).__enter__()


@both
def test_a_rule_in_a_deep_copy_uses_the_thresholds_of_the_copy(neuron):
    model, image = one_neuron(neuron, readout="sum"), pixel(1.5)
    twin = copy.deepcopy(model).eval()
    model.network[1].threshold = torch.tensor(100.0)
    with gradient_rule(twin, Linear()):
        (gradient,) = torch.autograd.grad(twin(image).sum(), image)
    assert gradient.item() == pytest.approx(0.309375, abs=1e-6)  # as above


@both
def test_the_attributes_for_reports_are_set(neuron):
    model = network(neuron)
    assert (model.library, model.timesteps, model.neurons) == ("snnTorch", 4, 2)


def test_a_network_without_snntorch_neurons_is_refused():
    with pytest.raises(UsageError, match="Sequential has no snnTorch neuron"):
        snntorch(nn.Sequential(nn.ReLU()), 4)


class LeakyParallel(nn.Module):
    """The interface of a neuron that takes [T, B, ...] and keeps no state, so that there is nothing to reset."""

    def __init__(self):
        super().__init__()
        self.spike_grad, self.threshold = (lambda x: (x > 0).float()), 0.5

    def forward(self, currents):
        return self.spike_grad(currents.cumsum(0) - self.threshold)


def real_parallel():
    snn = pytest.importorskip("snntorch", exc_type=ImportError)
    return snn.LeakyParallel(1, 1, threshold=0.5)


@pytest.mark.parametrize("neuron", [LeakyParallel, real_parallel])
def test_a_neuron_that_takes_a_sequence_is_refused_without_own_loop(neuron):
    layers = nn.Sequential(nn.Flatten(), neuron())
    with pytest.raises(UsageError, match=r"LeakyParallel takes all steps.* own_loop=True"):
        snntorch(layers, 2)
    assert snntorch(layers, 2, own_loop=True).neurons == 1


def test_a_disabled_surrogate_gets_a_gradient_from_the_rule():
    snn = pytest.importorskip("snntorch", exc_type=ImportError)
    model = snntorch(nn.Sequential(nn.Flatten(), snn.Leaky(0.5, surrogate_disable=True, init_hidden=True)), 2)
    assert not model(pixel(1.5)).requires_grad
    with gradient_rule(model, Linear()):
        assert model(pixel(1.5)).requires_grad
