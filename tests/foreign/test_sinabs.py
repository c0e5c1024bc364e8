import pytest
import torch
from torch import nn

from hiresnn.attacks import parse
from hiresnn.errors import UsageError
from hiresnn.foreign import sinabs
from hiresnn.neurons import gradient_rule
from hiresnn.neurons.layer_rules import BPTR
from hiresnn.neurons.surrogate import Arctan, Linear

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours


class SingleSpike(torch.autograd.Function):
    """The interface of a sinabs spike function: at most one, at the threshold and above."""

    @staticmethod
    def forward(ctx, u, threshold, surrogate):
        ctx.save_for_backward(u)
        ctx.threshold, ctx.surrogate = threshold, surrogate
        return (u >= threshold).to(u)

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.surrogate(ctx.saved_tensors[0], ctx.threshold), None, None


class IAF(nn.Module):
    """The interface of a sinabs layer on [B, T, ...]: soft reset, state in a buffer."""

    def __init__(self, threshold=2.0):
        super().__init__()
        self.spike_threshold = torch.tensor(threshold)
        self.spike_fn, self.surrogate_grad_fn = SingleSpike, lambda u, threshold: torch.ones_like(u)
        self.register_buffer("v_mem", torch.zeros(0))

    def reset_states(self):
        self.v_mem.zero_().detach_()  # as the library does: in place

    def forward(self, current):
        u, spikes = self.v_mem if self.v_mem.numel() else torch.zeros_like(current[:, 0]), []
        for now in current.unbind(1):
            u = u + now
            spikes.append(self.spike_fn.apply(u, self.spike_threshold, self.surrogate_grad_fn))
            u = u - spikes[-1] * self.spike_threshold
        self.v_mem = u
        return torch.stack(spikes, 1)


class IAFSqueeze(IAF):
    """The same on [B*T, ...]."""

    def __init__(self, threshold=2.0, batch_size=1):
        super().__init__(threshold)
        self.batch_size, self.num_timesteps = batch_size, -1

    def squeeze_forward(self, current, forward):
        return forward(current.reshape(self.batch_size, self.num_timesteps, *current.shape[1:])).flatten(0, 1)

    def forward(self, current):
        return self.squeeze_forward(current, super().forward)


def fake(threshold=2.0, squeeze=True):
    return IAFSqueeze(threshold) if squeeze else IAF(threshold)


def real(threshold=2.0, squeeze=True, spike_fn="SingleSpike"):
    layers = pytest.importorskip("sinabs.layers", exc_type=ImportError)
    activation = pytest.importorskip("sinabs.activation", exc_type=ImportError)
    options = {"spike_threshold": torch.tensor(threshold), "spike_fn": getattr(activation, spike_fn)}
    return layers.IAFSqueeze(batch_size=1, **options) if squeeze else layers.IAF(**options)


both = pytest.mark.parametrize("neuron", [fake, real])


def pixel(value):
    return torch.tensor([[[[value]]]], requires_grad=True)


def one_neuron(neuron, squeeze, **options):
    return sinabs(nn.Sequential(nn.Flatten(1 if squeeze else 2), neuron(squeeze=squeeze, **options)), 2, readout="sum")


@both
@pytest.mark.parametrize("squeeze", [True, False])
def test_spikes_and_the_gradient_under_a_rule_are_worked_out_by_hand(neuron, squeeze):
    model, image = one_neuron(neuron, squeeze), pixel(2.5)
    with gradient_rule(model, Linear()):
        spikes = model(image)
        (gradient,) = torch.autograd.grad(spikes.sum(), image)
    # u = 2.5, 3 (after a reset of 2): z = .25, .5. ds1 = .3 * .75 / 2 = .1125, through the reset
    # du2 = 2 - 2 ds1 = 1.775, ds2 = .3 * .5 / 2 * 1.775
    assert spikes.item() == 2
    assert gradient.item() == pytest.approx(0.1125 + 0.133125, abs=1e-6)


def test_z_of_a_multi_spike_neuron_is_counted_from_the_nearest_multiple_of_the_threshold():
    model, image = one_neuron(real, True, spike_fn="MultiSpike"), pixel(4.5)
    with gradient_rule(model, Linear()):
        spikes = model(image)
        (gradient,) = torch.autograd.grad(spikes.sum(), image)
    # u = 4.5: two spikes; u / 2 = 2.25 is .25 past a multiple, ds1 = .3 * .75 / 2 = .1125.
    # Then .5 + 4.5 = 5: two spikes; 2.5 is halfway (counted from 2): .3 * .5 / 2 * (2 - 2 ds1)
    assert spikes.item() == 4
    assert gradient.item() == pytest.approx(0.1125 + 0.133125, abs=1e-6)


@both
@pytest.mark.parametrize("squeeze", [True, False])
def test_logits_do_not_depend_on_earlier_calls_of_any_batch_size(neuron, squeeze):
    model = one_neuron(neuron, squeeze)
    random = torch.random.get_rng_state()
    for _ in range(2):
        assert model(pixel(0.9)).item() == 0
        assert model(torch.tensor([0.9, 1.0, 2.0]).view(3, 1, 1, 1)).flatten().tolist() == [0, 1, 2]
    assert torch.equal(torch.random.get_rng_state(), random)  # a batch of another size draws nothing
    assert model.network[1].v_mem.numel() == 0
    if squeeze:
        assert (model.network[1].batch_size, model.network[1].num_timesteps) == (1, -1)


def network(neuron):
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 4, 3), neuron(threshold=0.3), nn.Flatten(), nn.Linear(16, 3)
    return sinabs(nn.Sequential(*layers), 4).eval()


IMAGES = torch.linspace(0, 1, 5 * 16).view(5, 1, 4, 4)


@both
@pytest.mark.parametrize("rule", [Linear(), Arctan(4.0), torch.zeros_like])
def test_logits_are_bit_equal_under_any_rule_and_the_surrogate_is_restored(neuron, rule):
    model = network(neuron)
    before, logits = model.network[1].surrogate_grad_fn, model(IMAGES)
    assert len(logits.unique()) > 3
    with gradient_rule(model, rule):
        assert torch.equal(model(IMAGES), logits)
    assert model.network[1].surrogate_grad_fn is before


@both
def test_pgd_with_a_rule_moves_pixels_by_eps(neuron):
    adversarial = parse("pgd:rule=arctan")(network(neuron), IMAGES, torch.zeros(5, dtype=torch.int64))
    assert (adversarial - IMAGES).abs().max().item() == pytest.approx(8 / 255, abs=1e-6)


def test_a_converted_network_gives_the_same_logits_image_by_image():
    library = pytest.importorskip("sinabs.from_torch", exc_type=ImportError)
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    converted = library.from_model(ann, batch_size=1, input_shape=(1, 4, 4))
    model = sinabs(converted.spiking_model, 4)
    one = []
    for image in IMAGES:
        converted.reset_states()
        one.append(converted.spiking_model(image.expand(4, 1, 4, 4)).mean(0))
    assert torch.allclose(model(IMAGES), torch.stack(one), atol=1e-6)


def test_networks_without_sinabs_neurons_and_rules_of_a_layer_are_refused():
    with pytest.raises(UsageError, match="Sequential has no sinabs neuron"):
        sinabs(nn.Sequential(nn.ReLU()), 4)
    with pytest.raises(UsageError, match="Sequential mixes Squeeze layers with others"):
        sinabs(nn.Sequential(fake(squeeze=True), fake(squeeze=False)), 4)
    with pytest.raises(UsageError, match=r"BPTR .* whole layer.* sinabs neuron"):
        gradient_rule(network(fake), BPTR()).__enter__()
