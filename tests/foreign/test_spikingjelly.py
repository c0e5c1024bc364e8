import copy

import pytest
import torch
from torch import nn

from hiresnn.attacks import parse
from hiresnn.errors import UsageError
from hiresnn.foreign import spikingjelly
from hiresnn.neurons import gradient_rule
from hiresnn.neurons.layer_rules import BPTR
from hiresnn.neurons.surrogate import Arctan, Linear

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours


class Surrogate(nn.Module):
    """Spikes at the threshold and above; its own slope is 1."""

    def forward(self, x):
        return (x >= 0).to(x) + x - x.detach()


class IFNode(nn.Module):
    """The interface of SpikingJelly's neuron: soft reset, a surrogate module, and no gradient in eval mode."""

    def __init__(self, v_threshold=2.0, detach_reset=True, step_mode="s"):
        super().__init__()
        self.v_threshold, self.detach_reset, self.step_mode = v_threshold, detach_reset, step_mode
        self.surrogate_function = Surrogate()
        self.v = 0.0

    def reset(self):
        self.v = 0.0

    def forward(self, current):
        return torch.stack([self.step(now) for now in current]) if self.step_mode == "m" else self.step(current)

    def step(self, current):
        u = self.v + current
        spikes = self.surrogate_function(u - self.v_threshold) if self.training else (u >= self.v_threshold).to(u)
        self.v = u - (spikes.detach() if self.detach_reset else spikes) * self.v_threshold
        return spikes


def fake(**options):
    return IFNode(**options)


def real(v_threshold=2.0, detach_reset=True, step_mode="s"):
    base = pytest.importorskip("spikingjelly.activation_based.neuron", exc_type=ImportError)
    return base.IFNode(v_threshold, None, detach_reset=detach_reset, step_mode=step_mode)


both = pytest.mark.parametrize("neuron", [fake, real])


def pixel(value):
    return torch.tensor([[[[value]]]], dtype=torch.float64, requires_grad=True)


def one_neuron(neuron, **options):
    step_mode = options.get("step_mode", "s")
    flatten = nn.Flatten(2 if step_mode == "m" else 1)
    return spikingjelly(nn.Sequential(flatten, neuron(**options)), 2, readout="sum").eval()


@both
@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize(("value", "spikes"), [(0.5, 0), (1.0, 1), (1.5, 1), (2.0, 2), (2.5, 2)])
def test_spikes_are_worked_out_by_hand(neuron, step_mode, value, spikes):
    # no leak, threshold 2, and a membrane at the threshold spikes: u = x, then 2 x or 2 x - 2
    assert one_neuron(neuron, step_mode=step_mode)(pixel(value)).item() == spikes


@both
@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize(
    ("value", "detach_reset", "expected"),
    [
        # u = 1.5, 3: z = -.25, .5: .3 (.75 * 1 + .5 * 2) / 2
        (1.5, True, 0.2625),
        # u = 2.5, 3 (after a reset): z = .25, .5: the same slopes
        (2.5, True, 0.2625),
        # the same through the reset: ds1 = .1125; du2 = 2 - 2 ds1 = 1.775; ds2 = .075 * 1.775
        (2.5, False, 0.1125 + 0.133125),
    ],
)
def test_the_gradient_under_a_rule_is_worked_out_by_hand(neuron, step_mode, value, detach_reset, expected):
    model, image = one_neuron(neuron, step_mode=step_mode, detach_reset=detach_reset), pixel(value)
    with gradient_rule(model, Linear()):
        (gradient,) = torch.autograd.grad(model(image).sum(), image)
    assert gradient.item() == pytest.approx(expected, abs=1e-9)


@both
def test_a_network_in_eval_mode_has_the_gradient_of_its_own_surrogate(neuron):
    model, image = one_neuron(neuron), pixel(1.5)
    (gradient,) = torch.autograd.grad(model(image).sum(), image)
    assert gradient.item() > 0.1
    assert not any(module.training for module in model.modules())


@both
def test_logits_do_not_depend_on_earlier_calls(neuron):
    model = one_neuron(neuron)
    model.network[1].v = torch.tensor([[1.9]])  # from an earlier use
    assert model(pixel(0.5)).item() == 0
    assert model(torch.rand(3, 1, 1, 1)).shape == (3, 1)
    assert model(pixel(0.5)).item() == 0
    assert model.network[1].v == 0.0


def network(neuron, step_mode="s"):
    torch.manual_seed(0)
    flatten, first, last = nn.Flatten(2 if step_mode == "m" else 1), nn.Linear(16, 12), nn.Linear(12, 3)
    spikes = neuron(v_threshold=0.3, step_mode=step_mode)
    return spikingjelly(nn.Sequential(flatten, first, spikes, last), 4).eval()


IMAGES = torch.linspace(0, 1, 5 * 16).view(5, 1, 4, 4)


@both
@pytest.mark.parametrize("step_mode", ["s", "m"])
@pytest.mark.parametrize("rule", [Linear(), Arctan(4.0), torch.zeros_like])
def test_logits_are_bit_equal_under_any_rule_and_the_surrogate_is_restored(neuron, step_mode, rule):
    model = network(neuron, step_mode)
    before, logits = model.network[2].surrogate_function, model(IMAGES)
    assert len(logits.unique()) > 3
    with gradient_rule(model, rule):
        assert torch.equal(model(IMAGES), logits)
        assert model.network[2].surrogate_function is not before
    assert model.network[2].surrogate_function is before


@both
def test_both_step_modes_give_the_same_logits(neuron):
    assert torch.allclose(network(neuron, "s")(IMAGES), network(neuron, "m")(IMAGES), atol=1e-6)


@both
def test_a_network_with_its_own_loop_is_called_once(neuron):
    class Repeats(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = network(neuron, "m").network

        def forward(self, images):
            return self.layers(images.expand(4, *images.shape)).mean(0)

    assert torch.equal(spikingjelly(Repeats(), 4, own_loop=True)(IMAGES), network(neuron, "m")(IMAGES))


@both
def test_pgd_with_a_rule_moves_pixels_by_eps(neuron):
    model, labels = network(neuron), torch.zeros(5, dtype=torch.int64)
    adversarial = parse("pgd:rule=arctan")(model, IMAGES, labels)
    assert (adversarial - IMAGES).abs().max().item() == pytest.approx(8 / 255, abs=1e-6)


@both
def test_a_rule_of_a_whole_layer_is_refused(neuron):
    with pytest.raises(UsageError, match=r"BPTR .* whole layer.* SpikingJelly neuron"):
        gradient_rule(network(neuron), BPTR()).__enter__()


@both
def test_a_rule_in_a_deep_copy_uses_the_thresholds_of_the_copy(neuron):
    model, image = one_neuron(neuron), pixel(1.5)
    twin = copy.deepcopy(model).eval()
    model.network[1].v_threshold = 100.0
    with gradient_rule(twin, Linear()):
        (gradient,) = torch.autograd.grad(twin(image).sum(), image)
    assert gradient.item() == pytest.approx(0.2625, abs=1e-6)  # as above


@both
def test_the_attributes_for_reports_are_set(neuron):
    model = network(neuron)
    assert (model.library, model.timesteps, model.neurons) == ("SpikingJelly", 4, 1)


def test_a_network_without_spikingjelly_neurons_is_refused():
    with pytest.raises(UsageError, match="Sequential has no SpikingJelly neuron"):
        spikingjelly(nn.Sequential(nn.ReLU()), 4)


def test_neurons_in_both_step_modes_are_refused():
    with pytest.raises(UsageError, match="both step modes"):
        spikingjelly(nn.Sequential(fake(step_mode="s"), fake(step_mode="m")), 4)


def test_a_neuron_with_only_one_step_mode_need_not_state_it():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron", exc_type=ImportError)
    if not hasattr(neuron, "PSN"):
        pytest.skip("this SpikingJelly has no PSN")
    torch.manual_seed(0)
    layers = nn.Flatten(2), nn.Linear(16, 12), neuron.PSN(4), nn.Linear(12, 3), neuron.IFNode(step_mode="m")
    model = spikingjelly(nn.Sequential(*layers), 4).eval()
    logits = model(IMAGES)
    with gradient_rule(model, Arctan()):
        assert torch.equal(model(IMAGES), logits)
    assert model.neurons == 2


def test_a_neuron_on_a_cuda_kernel_is_refused():
    neuron = fake(step_mode="m")
    neuron.backend = "cupy"
    with pytest.raises(UsageError, match=r"neuron '0' .* backend 'cupy'"):
        spikingjelly(nn.Sequential(neuron), 4)


def test_a_neuron_without_one_threshold_refuses_a_rule_and_leaves_the_other_neurons_unchanged():
    first, second = fake(), fake()
    second.v_threshold = torch.ones(3)
    before = first.surrogate_function
    model = spikingjelly(nn.Sequential(nn.Flatten(), first, second), 4)
    with pytest.raises(UsageError, match="IFNode does not spike at one threshold"):
        gradient_rule(model, Linear()).__enter__()
    assert first.surrogate_function is before


def test_only_neurons_without_a_gradient_in_eval_mode_run_in_training_mode():
    seen = {}

    class OTTTLIFNode(IFNode):
        """A subclass whose training branch is another neuron."""

    class Watch(nn.Dropout):
        def forward(self, current):
            seen["dropout"] = self.training
            return current

    other = OTTTLIFNode()
    other.surrogate_function.register_forward_hook(lambda *_: seen.setdefault("other", True))
    spikingjelly(nn.Sequential(nn.Flatten(), Watch(), fake(), other), 2).eval()(IMAGES)
    assert seen == {"dropout": False}
