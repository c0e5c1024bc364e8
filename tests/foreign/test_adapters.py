"""Adapters of SpikingJelly, snnTorch and sinabs: the same questions to a stand-in and to the real neuron."""

import copy

import pytest
import torch
from torch import nn

from hiresnn.attacks import parse, pgd, seeded
from hiresnn.attacks.catalog import ATTACKS
from hiresnn.errors import UsageError
from hiresnn.foreign import norse, sinabs, snntorch, spikingjelly
from hiresnn.neurons import gradient_rule
from hiresnn.neurons.rules import BPTR, Arctan, Linear

from .neurons import IAF, SNN, Count, IAFSqueeze, IFNode, Leaky, real

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours
IMAGES = torch.linspace(0, 1, 5 * 16).view(5, 1, 4, 4)
LABELS = torch.zeros(5, dtype=torch.int64)
ADAPTERS = {"spikingjelly": spikingjelly, "snntorch": snntorch, "sinabs": sinabs}
FAKES = {"spikingjelly": IFNode, "snntorch": Leaky, "sinabs": IAFSqueeze}
THRESHOLD = {"snntorch": "threshold", "sinabs": "spike_threshold"}
SURROGATE = {"spikingjelly": "surrogate_function", "snntorch": "spike_grad", "sinabs": "surrogate_grad_fn"}


@pytest.fixture(params=["fake", "real"])
def source(request):
    return request.param


@pytest.fixture(params=ADAPTERS)
def library(request):
    return request.param


def neuron_of(library, source):
    return FAKES[library] if source == "fake" else real(library)


def one_neuron(library, source, *, flatten=1, **options):
    neuron = neuron_of(library, source)(**options)
    return ADAPTERS[library](nn.Sequential(nn.Flatten(flatten), neuron), 2, readout="sum").eval()


def network(library, source, **options):
    """A neuron with a small threshold between a convolution and a linear layer."""
    torch.manual_seed(0)
    threshold = {"v_threshold" if library == "spikingjelly" else "threshold": 0.3}
    neuron = neuron_of(library, source)(**threshold)
    layers = nn.Conv2d(1, 4, 3), neuron, nn.Flatten(), nn.Linear(16, 3)
    return ADAPTERS[library](nn.Sequential(*layers), 4, **options).eval()


def pixel(value, dtype=torch.float64):
    return torch.tensor([[[[value]]]], dtype=dtype, requires_grad=True)


SPIKES = {
    # No leak, threshold 2, and a membrane at the threshold spikes: u = x, then 2 x or 2 x - 2.
    "spikingjelly": [(0.5, 0), (1.0, 1), (1.5, 1), (2.0, 2), (2.5, 2)],
    # beta .5, threshold 2, reset one step late, strict: 2.0 gives u = 2.0 (none), then 3.0 (one); 2.5 gives 2.5 (one),
    # then 1.25 + 2.5 - 2 = 1.75 (none); 4 gives 4, then 2 + 4 - 2 = 4.
    "snntorch": [(1.5, 1), (2.0, 1), (2.5, 1), (0.5, 0), (4.0, 2)],
    "sinabs": [(0.9, 0), (1.0, 1), (2.0, 2), (2.5, 2)],
}


def test_spikes_are_worked_out_by_hand(library, source):
    model = one_neuron(library, source)
    dtype = torch.float32 if library == "sinabs" else torch.float64
    assert [(value, model(pixel(value, dtype)).item()) for value, _ in SPIKES[library]] == SPIKES[library]


@pytest.mark.parametrize(
    ("library", "options", "value", "expected"),
    [
        # SpikingJelly, u = 1.5, 3: z = -.25, .5: .3 (.75 * 1 + .5 * 2) / 2
        ("spikingjelly", {}, 1.5, 0.2625),
        # u = 2.5, 3 (after a reset): z = .25, .5: the same slopes
        ("spikingjelly", {}, 2.5, 0.2625),
        # the same through the reset: ds1 = .1125; du2 = 2 - 2 ds1 = 1.775; ds2 = .075 * 1.775
        ("spikingjelly", {"detach_reset": False}, 2.5, 0.1125 + 0.133125),
        ("spikingjelly", {"detach_reset": False, "step_mode": "m", "flatten": 2}, 2.5, 0.1125 + 0.133125),
        # snnTorch, u = 1.5, 2.25: z = -.25, .125: .3 (.75 * 1 + .875 * 1.5) / 2
        ("snntorch", {}, 1.5, 0.309375),
        # u = 2.5, 1.75 (the reset is detached): z = .25, -.125: the same slopes
        ("snntorch", {}, 2.5, 0.309375),
        # u = 2, 3: z = 0, .5: .3 (1 * 1 + .5 * 1.5) / 2
        ("snntorch", {}, 2.0, 0.2625),
        # sinabs, u = 2.5, 3: z = .25, .5, and through the reset as above
        ("sinabs", {}, 2.5, 0.1125 + 0.133125),
    ],
)
def test_the_gradient_under_a_rule_is_worked_out_by_hand(library, source, options, value, expected):
    model = one_neuron(library, source, **options)
    image = pixel(value, torch.float32 if library == "sinabs" else torch.float64)
    with gradient_rule(model, Linear()):
        (gradient,) = torch.autograd.grad(model(image).sum(), image)
    assert gradient.item() == pytest.approx(expected, abs=1e-6)


def test_a_sinabs_layer_that_is_not_squeezed_and_one_of_several_spikes(source):
    neuron = IAF if source == "fake" else lambda: real("sinabs")(kind="IAF")
    model, image = sinabs(nn.Sequential(nn.Flatten(2), neuron()), 2, readout="sum"), pixel(2.5, torch.float32)
    with gradient_rule(model, Linear()):
        (gradient,) = torch.autograd.grad(model(image).sum(), image)
    assert gradient.item() == pytest.approx(0.1125 + 0.133125, abs=1e-6)
    model, image = one_neuron("sinabs", "real", spike_fn="MultiSpike"), pixel(4.5, torch.float32)
    with gradient_rule(model, Linear()):
        spikes = model(image)
        (gradient,) = torch.autograd.grad(spikes.sum(), image)
    # u = 4.5: two spikes; u / 2 = 2.25 is .25 past a multiple, ds1 = .3 * .75 / 2 = .1125.
    # Then .5 + 4.5 = 5: two spikes; 2.5 is halfway (counted from 2): .3 * .5 / 2 * (2 - 2 ds1)
    assert spikes.item() == 4
    assert gradient.item() == pytest.approx(0.1125 + 0.133125, abs=1e-6)


def test_logits_do_not_depend_on_earlier_calls_of_any_batch_size(library, source):
    model, random = network(library, source), torch.random.get_rng_state()
    logits = model(IMAGES)
    for size in (1, 3):
        model(2 * IMAGES[:size])
        assert torch.equal(model(IMAGES), logits)
    assert torch.equal(torch.random.get_rng_state(), random)  # a batch of another size draws nothing
    neuron = model.network[1]
    if library == "sinabs":
        assert (neuron.v_mem.numel(), neuron.batch_size, neuron.num_timesteps) == (0, 1, -1)
    state = getattr(neuron, {"spikingjelly": "v", "snntorch": "mem", "sinabs": "v_mem"}[library])
    assert not torch.as_tensor(state).any()


@pytest.mark.parametrize("rule", [Linear(), Arctan(4.0), torch.zeros_like])
def test_logits_are_bit_equal_under_any_rule_and_the_surrogate_is_restored(library, source, rule):
    model = network(library, source)
    assert (model.library.lower(), model.timesteps, model.neurons) == (library, 4, 1)
    neuron, logits = model.network[1], model(IMAGES)
    surrogate = getattr(neuron, SURROGATE[library])
    assert len(logits.unique()) > 3
    with gradient_rule(model, rule):
        assert torch.equal(model(IMAGES), logits)
        assert getattr(neuron, SURROGATE[library]) is not surrogate
    assert getattr(neuron, SURROGATE[library]) is surrogate


def test_pgd_with_a_rule_is_pgd_inside_the_rule_and_moves_pixels_by_eps(library, source):
    model = network(library, source)
    ruled = parse("pgd(rule=arctan)")(model, IMAGES, LABELS)
    assert (ruled - IMAGES).abs().max().item() == pytest.approx(8 / 255, abs=1e-6)
    with gradient_rule(model, Arctan()):
        assert torch.equal(pgd(model, IMAGES, LABELS), ruled)


def test_a_rule_in_a_deep_copy_uses_the_thresholds_of_the_copy(library, source):
    model, image = one_neuron(library, source), pixel(1.5, torch.float32)
    twin = copy.deepcopy(model).eval()
    neuron = model.network[1]
    if library == "spikingjelly":
        neuron.v_threshold = 100.0
    else:
        getattr(neuron, THRESHOLD[library]).data.fill_(100.0)
    with gradient_rule(twin, Linear()):
        (gradient,) = torch.autograd.grad(twin(image).sum(), image)
    assert gradient.abs().item() > 0.1


class Loop(nn.Module):
    def __init__(self, layers, read_out):
        super().__init__()
        self.layers, self.read_out = layers, read_out

    def forward(self, images):
        outputs = torch.stack([self.layers(images) for _ in range(4)])
        return outputs.mean(0) if self.read_out else outputs


@pytest.mark.parametrize("read_out", [False, True])
@pytest.mark.parametrize("library", ["spikingjelly", "snntorch"])
def test_a_network_with_its_own_loop_is_called_once(library, read_out, source):
    loop = Loop(network(library, source).network, read_out)
    assert torch.equal(ADAPTERS[library](loop, 4, own_loop=True)(IMAGES), network(library, source)(IMAGES))
    forgotten = ADAPTERS[library](loop, 4)
    for _ in range(2):  # not only at the first call
        with pytest.raises(UsageError, match=r"forward of Loop loops over time by itself.*own_loop=True"):
            forgotten(IMAGES)


def test_a_network_in_step_mode_m_that_repeats_its_images_is_to_have_own_loop(source):
    class Repeats(nn.Module):
        def __init__(self):
            super().__init__()
            self.neuron, self.linear = neuron_of("spikingjelly", source)(step_mode="m"), nn.Linear(4, 3)

        def forward(self, images):
            batch, _, _, _ = images.shape  # fails on a sequence of images
            return self.linear(self.neuron(images.flatten(1).expand(4, batch, -1)))

    images = torch.rand(2, 1, 2, 2)
    with pytest.raises(UsageError, match="own_loop=True"):
        spikingjelly(Repeats(), 4)(images)
    assert spikingjelly(Repeats(), 4, own_loop=True)(images).shape == (2, 3)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "pgd-restarts", "apgd", "sa-pgd"])
def test_no_attack_depends_on_whether_an_adapter_sums_or_averages_over_time(name, source):
    layers = network("snntorch", source).network
    mean, total = (snntorch(layers, 4, readout=readout) for readout in ("mean", "sum"))
    assert torch.equal(4 * mean(IMAGES), total(IMAGES))
    images = torch.rand(8, *IMAGES.shape[1:], generator=torch.Generator().manual_seed(1))
    labels, found = mean(images).argmax(1), []
    for model in (mean, total):
        with gradient_rule(model, Linear()), seeded(0):
            found.append(ATTACKS[name].run(model, images, labels, eps=0.2))
    assert not torch.equal(found[0], images)
    assert torch.equal(*found)


def test_a_membrane_can_be_read_out_instead_of_the_spikes(source):
    layers = nn.Sequential(nn.Flatten(), neuron_of("snntorch", source)(threshold=0.2, output=True))
    spikes, membranes = snntorch(layers, 4)(IMAGES), snntorch(layers, 4, output=1)(IMAGES)
    assert ((spikes * 4) == (spikes * 4).round()).all()
    assert (membranes * 4 != (membranes * 4).round()).any()


def test_spikingjelly_has_its_own_gradient_in_eval_mode_and_equal_step_modes(source):
    model, image = one_neuron("spikingjelly", source), pixel(1.5)
    (gradient,) = torch.autograd.grad(model(image).sum(), image)
    assert gradient.item() > 0.1
    assert not any(module.training for module in model.modules())
    whole = one_neuron("spikingjelly", source, flatten=2, step_mode="m")
    assert torch.allclose(whole(IMAGES[:, :, :1, :1]), model(IMAGES[:, :, :1, :1]), atol=1e-6)


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
    spikingjelly(nn.Sequential(nn.Flatten(), Watch(), IFNode(), other), 2).eval()(IMAGES)
    assert seen == {"dropout": False}


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


def test_a_disabled_surrogate_of_snntorch_gets_a_gradient_from_the_rule():
    snn = pytest.importorskip("snntorch", exc_type=ImportError)
    model = snntorch(nn.Sequential(nn.Flatten(), snn.Leaky(0.5, surrogate_disable=True, init_hidden=True)), 2)
    assert not model(pixel(1.5)).requires_grad
    with gradient_rule(model, Linear()):
        assert model(pixel(1.5)).requires_grad


def test_a_converted_network_of_sinabs_gives_the_same_logits_image_by_image():
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


class LeakyParallel(nn.Module):
    """The interface of a neuron that takes [T, B, ...] and keeps no state, so that there is nothing to reset."""

    def __init__(self):
        super().__init__()
        self.spike_grad, self.threshold = (lambda x: (x > 0).float()), 0.5


def vector_threshold():
    second = IFNode()
    second.v_threshold = torch.ones(3)
    return gradient_rule(spikingjelly(nn.Sequential(nn.Flatten(), IFNode(), second), 4), Linear()).__enter__()


def with_its_own_reset():
    class Refractory(Leaky):
        """Its input arrives only at a neuron that did not spike."""

        def forward(self, current):
            silent = torch.zeros_like(current) if self.mem.shape != current.shape else (self.mem > self.threshold)
            return super().forward(current * (1 - silent.to(current.dtype)))

    return snntorch(nn.Sequential(nn.Flatten(), Refractory()), 4)


def on_cuda_kernel():
    neuron = IFNode(step_mode="m")
    neuron.backend = "cupy"
    return spikingjelly(nn.Sequential(neuron), 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spikingjelly(nn.Sequential(nn.ReLU()), 4), "Sequential has no SpikingJelly neuron"),
        (lambda: snntorch(nn.Sequential(nn.ReLU()), 4), "Sequential has no snnTorch neuron"),
        (lambda: sinabs(nn.Sequential(nn.ReLU()), 4), "Sequential has no sinabs neuron"),
        (lambda: norse(nn.Sequential(nn.ReLU()), 4), "Sequential has no norse neuron"),
        (lambda: spikingjelly(nn.Sequential(IFNode(), IFNode(step_mode="m")), 4), "both step modes"),
        (lambda: sinabs(nn.Sequential(IAF(), IAFSqueeze()), 4), "mixes Squeeze layers with others"),
        (lambda: norse(nn.Sequential(Count(), SNN()), 3), "mixes cells and modules"),
        (lambda: snntorch(nn.Sequential(LeakyParallel()), 2), r"LeakyParallel takes all steps.* own_loop=True"),
        (on_cuda_kernel, r"neuron '0' .* backend 'cupy'"),
        (vector_threshold, "IFNode does not spike at one threshold"),
        (lambda: gradient_rule(with_its_own_reset(), BPTR()).__enter__(), "BPTR .* whole layer.* snnTorch"),
        (lambda: gradient_rule(norse(Count(), 3), Linear()).__enter__(), "Count.* norse network has no equation"),
    ],
)
def test_what_an_adapter_cannot_take_is_refused(call, message):
    with pytest.raises(UsageError, match=message):
        call()


def test_norse_gets_its_state_from_step_to_step_and_sequences_at_once():
    for network in (Count(), SNN()):
        model = norse(network, 3)
        assert (model.library, model.neurons) == ("norse", 0)
        for _ in range(2):
            assert torch.allclose(model(IMAGES), 2 * IMAGES.flatten(1))  # (1 + 2 + 3) / 3


def of_cells(library):
    torch.manual_seed(0)
    fast = library.LIFParameters(tau_mem_inv=torch.tensor(500.0), v_th=torch.tensor(0.2))
    return library.SequentialState(nn.Flatten(), nn.Linear(16, 12), library.LIFCell(fast), nn.Linear(12, 3))


def test_a_real_network_of_norse_gives_the_mean_of_its_steps_and_pgd_follows_its_surrogate():
    library = pytest.importorskip("norse.torch", exc_type=ImportError)
    cells, state, outputs = of_cells(library), None, []
    for _ in range(4):
        output, state = cells(IMAGES, state)
        outputs.append(output)
    assert len({tuple(output[4].tolist()) for output in outputs}) > 1  # spikes at some steps, not at all
    model = norse(cells, 4)
    assert torch.allclose(model(IMAGES), torch.stack(outputs).mean(0))
    assert torch.equal(model(IMAGES), model(IMAGES))
    sequence = library.SequentialState(nn.Flatten(2), cells[1], library.LIF(cells[2].p), cells[3])
    assert torch.allclose(norse(sequence, 4)(IMAGES), model(IMAGES), atol=1e-6)
    assert (pgd(model, IMAGES, LABELS) - IMAGES).abs().max().item() == pytest.approx(8 / 255, abs=1e-6)
