"""The same weights in a network of hiresnn and through the adapters give the same gradient under every rule."""

import math

import pytest
import torch
from torch import nn

import hiresnn
from hiresnn.attacks import AttackSpec
from hiresnn.foreign import norse, sinabs, snntorch, spikingjelly
from hiresnn.neurons import LIF, Neuron, gradient_rule

from .neurons import IAF, IAFSqueeze, IFNode, Leaky

pytestmark = pytest.mark.filterwarnings("default")  # warnings of the libraries are not ours
T, THRESHOLDS = 5, (0.375, 0.25)  # exact in float32, as ASSG magnifies rounding
LAYER_RULES = (
    "assg", "assg(start=1)", "assg(reset=True)", "assg(cut=True)", "pdsg", "pdsg(reset=True)", "bptr", "rga",
    "conversion", "hart(width=1)", "unrolled", "arctan(reset=True)", "arctan(cut=True)", "sigmoid(reset=True)",
)  # fmt: skip
ELEMENTWISE = ("linear", "triangular", "arctan", "sigmoid", "exponential", "rectangular", "erfc", "straight-through")


class Double(nn.Linear):
    """Takes the spikes of snnTorch and sinabs, which are float32 for any membrane."""

    def forward(self, rows):
        return super().forward(rows.double())


def layers():
    generator = torch.Generator().manual_seed(1)
    modules = [nn.Conv2d(1, 4, 3), Double(16, 8), Double(8, 3)]
    for module in modules:
        for parameter in module.parameters():
            parameter.data = (torch.rand(parameter.shape, generator=generator) - 0.35) / parameter[0].numel() ** 0.5
    return modules


def ours(leak, reset, condition=">"):
    convolution, hidden, last = layers()
    ann = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), hidden, nn.ReLU(), last).double()
    neuron = Neuron(leak=leak, reset=reset, fires_at_threshold=condition == ">=")
    network = hiresnn.convert(ann, torch.rand(4, 1, 4, 4, dtype=torch.float64), timesteps=T, neuron=neuron).eval()
    lifs = [module for module in network.modules() if isinstance(module, LIF)]
    for lif, threshold in zip(lifs, THRESHOLDS, strict=True):
        lif.threshold.data.fill_(threshold)
    return network.double()


def stacked(neuron, container=nn.Sequential, flatten=1):
    """The same layers with neurons of a library between them; `neuron` makes one with a threshold."""
    convolution, hidden, last = layers()
    return container(convolution, neuron(THRESHOLDS[0]), nn.Flatten(flatten), hidden, neuron(THRESHOLDS[1]), last)


class OverTime(nn.Module):
    """A layer on [T, B, ...] or [B, T, ...] that knows nothing of time."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, rows):
        return self.layer(rows.flatten(0, 1)).unflatten(0, rows.shape[:2])


def over_time(neuron, container=nn.Sequential):
    convolution, hidden, last = layers()
    first, second = (neuron(threshold) for threshold in THRESHOLDS)
    return container(OverTime(convolution), first, nn.Flatten(2), hidden, second, last)


class OwnLoop(nn.Module):
    """snnTorch's loop in `forward`: it passes the membranes on by itself, and reads the spikes out itself."""

    def __init__(self, neuron):
        super().__init__()
        self.convolution, self.hidden, self.last = layers()
        self.first, self.second = (neuron(threshold) for threshold in THRESHOLDS)

    def forward(self, images):
        first, second, outputs = self.first.init_leaky(), self.second.init_leaky(), []
        for _ in range(T):
            spikes, first = self.first(self.convolution(images), first)
            spikes, second = self.second(self.hidden(spikes.flatten(1)), second)
            outputs.append(self.last(spikes))
        return torch.stack(outputs)


class Repeated(nn.Sequential):
    """A network that presents its images T times by itself."""

    def forward(self, images):
        return torch.stack([super(Repeated, self).forward(images) for _ in range(T)])


def library(name):
    return pytest.importorskip(name, exc_type=ImportError)


def spikingjelly_node(kind, mode="s", **options):
    neuron = library("spikingjelly.activation_based.neuron")

    def make(threshold):
        scale = 1 - 1 / options["tau"] if options.get("decay_input") else 1.0
        shared = {
            "v_threshold": threshold * (1 - scale if options.get("decay_input") else 1.0),
            "detach_reset": True,
            "step_mode": mode,
        }
        return getattr(neuron, kind)(**{"v_reset": None} | options | shared)

    return spikingjelly(stacked(make) if mode == "s" else over_time(make), T, readout="sum")


def snntorch_leaky(own_loop=False, **options):
    snn = library("snntorch")
    hidden = not own_loop
    make = lambda threshold: snn.Leaky(0.8, threshold=threshold, init_hidden=hidden, **options)  # noqa: E731
    return snntorch(OwnLoop(make) if own_loop else stacked(make), T, readout="sum", own_loop=own_loop)


def norse_cell(reset="reset_subtract"):
    torch_of, resets = library("norse.torch"), library("norse.torch.functional.reset")

    def make(threshold, leak=0.8):
        decay = {"tau_mem_inv": torch.tensor((1 - leak) * 1000), "v_th": torch.tensor((1 - leak) * threshold)}
        return torch_of.LIFBoxCell(torch_of.LIFBoxParameters(**decay, reset_method=getattr(resets, reset)))

    return norse(stacked(make, torch_of.SequentialState), T, readout="sum")


def sinabs_layer(kind, **options):
    activation, sinabs_layers = library("sinabs.activation"), library("sinabs.layers")

    def make(threshold):
        leaky = {} if kind.startswith("IAF") else {"tau_mem": -1 / math.log(0.8)}
        scale = 0.2 if options.get("norm_input") else 1.0
        squeeze = {"batch_size": 1} if kind.endswith("Squeeze") else {}
        spike = {"spike_threshold": torch.tensor(threshold * scale), "spike_fn": activation.SingleSpike}
        return getattr(sinabs_layers, kind)(**leaky, **squeeze, **spike, **options)

    return sinabs(stacked(make) if kind.endswith("Squeeze") else over_time(make), T, readout="sum")


CASES = {
    # leak, reset, whether a membrane at the threshold spikes, and the same network through its adapter
    "stand-in of SpikingJelly": (1.0, "subtract", ">=", lambda: spikingjelly(stacked(IFNode), T, readout="sum")),
    "stand-in of snnTorch": (
        0.8, "subtract-unleaked", ">",
        lambda: snntorch(stacked(lambda threshold: Leaky(0.8, threshold)), T, readout="sum"),
    ),
    "stand-in of snnTorch, own loop": (
        0.8, "subtract-unleaked", ">",
        lambda: snntorch(
            stacked(lambda threshold: Leaky(0.8, threshold), Repeated), T, readout="sum", own_loop=True
        ),
    ),
    "stand-in of SpikingJelly, own loop": (
        1.0, "subtract", ">=", lambda: spikingjelly(stacked(IFNode, Repeated), T, readout="sum", own_loop=True),
    ),
    "stand-in of sinabs": (1.0, "subtract", ">=", lambda: sinabs(over_time(IAF), T, readout="sum")),
    "stand-in of sinabs, squeezed": (1.0, "subtract", ">=", lambda: sinabs(stacked(IAFSqueeze), T, readout="sum")),
    "spikingjelly IF": (1.0, "subtract", ">=", lambda: spikingjelly_node("IFNode")),
    "spikingjelly IF, all steps": (1.0, "subtract", ">=", lambda: spikingjelly_node("IFNode", "m")),
    "spikingjelly IF to zero": (1.0, "zero", ">=", lambda: spikingjelly_node("IFNode", v_reset=0.0)),
    "spikingjelly LIF": (0.8, "subtract", ">=", lambda: spikingjelly_node("LIFNode", tau=5.0, decay_input=False)),
    "spikingjelly LIF, all steps, to zero": (
        0.8, "zero", ">=", lambda: spikingjelly_node("LIFNode", "m", tau=5.0, decay_input=False, v_reset=0.0),
    ),
    "spikingjelly LIF, input decays": (
        0.8, "subtract", ">=", lambda: spikingjelly_node("LIFNode", tau=5.0, decay_input=True),
    ),
    "spikingjelly PLIF": (
        0.5, "subtract", ">=", lambda: spikingjelly_node("ParametricLIFNode", init_tau=2.0, decay_input=False),
    ),
    "snntorch": (0.8, "subtract-unleaked", ">", snntorch_leaky),
    "snntorch to zero": (0.8, "zero", ">", lambda: snntorch_leaky(reset_mechanism="zero")),
    "snntorch, own loop": (0.8, "subtract-unleaked", ">", lambda: snntorch_leaky(own_loop=True)),
    "norse cell": (0.8, "subtract", ">", norse_cell),
    "norse cell to zero": (0.8, "zero", ">", lambda: norse_cell("reset_value")),
    "sinabs IAF": (1.0, "subtract", ">=", lambda: sinabs_layer("IAFSqueeze")),
    "sinabs LIF": (0.8, "subtract", ">=", lambda: sinabs_layer("LIFSqueeze", norm_input=False)),
    "sinabs LIF, input decays": (0.8, "subtract", ">=", lambda: sinabs_layer("LIF", norm_input=True)),
}  # fmt: skip


def gradients(model, rule, passes=2):
    """Gradients of a mixture of the logits for two batches in turn, as ASSG remembers the earlier one."""
    found = []
    with gradient_rule(model, rule):
        for shift in range(passes):
            generator = torch.Generator().manual_seed(shift)
            images = torch.rand(6, 1, 4, 4, generator=generator, dtype=torch.float64).requires_grad_()
            logits = model(images)
            weights = torch.linspace(-1, 1, logits.numel(), dtype=torch.float64).view_as(logits)
            found.append(torch.autograd.grad((logits * weights).sum(), images)[0])
    return torch.stack(found)


@pytest.fixture(params=CASES)
def pair(request):
    leak, reset, condition, adapted = CASES[request.param]
    return adapted().double().eval(), ours(leak, reset, condition), request.param


def test_the_gradient_is_that_of_the_same_network_of_hiresnn(pair):
    model, twin, name = pair
    images = torch.rand(6, 1, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(model(images), twin(images), rtol=0, atol=1e-5)
    assert twin(images).std(0).min() > 0  # it spikes, and not always
    for rule in LAYER_RULES:
        expected = gradients(twin, rule)
        if rule != "conversion":  # which may be cut off everywhere
            assert expected.abs().amax() > 1e-3, rule
        torch.testing.assert_close(gradients(model, rule), expected, rtol=1e-5, atol=1e-5, msg=f"{name}: {rule}")


class Centred(nn.Module):
    """A network with its mean logits subtracted, as random weights prefer one class on every image."""

    def __init__(self, network, mean):
        super().__init__()
        self.network, self.mean = network, mean

    def forward(self, images):
        return self.network(images) - self.mean


def test_the_worst_case_on_100_images_is_that_of_the_same_network_of_hiresnn(pair):
    # In float64: in float32 a gradient of 1e-10 of the largest has another sign by rounding, and the attacks part.
    model, twin, name = pair
    images = torch.rand(100, 1, 4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    mean = twin(images).detach().mean(0)
    model, twin = Centred(model, mean), Centred(twin, mean)
    labels = twin(images).argmax(1)
    standing, together = {}, {}
    for rule in ("bptr", "assg", "unrolled"):
        attack = AttackSpec.parse(f"momentum(iterations=20, loss=margin, rule={rule})").at(0.05)
        for network in (model, twin):
            with torch.no_grad():
                right = network(attack(network, images, labels)).argmax(1) == labels
            standing[rule, network is twin] = right
            together[network is twin] = together.get(network is twin, right) & right
        assert int((standing[rule, False] != standing[rule, True]).sum()) <= 1, f"{name}: {rule}"
    left = int(together[True].sum())
    assert 5 <= left <= 95, f"{name}: {left} images stand, too few or too many to tell attacks apart"
    assert abs(int(together[False].sum()) - left) <= 1


@pytest.mark.parametrize("make", ["snntorch", "spikingjelly"])
def test_as_many_images_as_timesteps_and_classes_are_told_apart(make):
    torch.manual_seed(0)
    neuron = Leaky(0.8, 0.25) if make == "snntorch" else IFNode(0.25)
    network = Repeated(nn.Flatten(), Double(4, T), neuron).double()
    model = {"snntorch": snntorch, "spikingjelly": spikingjelly}[make](network, T, own_loop=True).eval()
    images = torch.rand(T, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    with gradient_rule(model, "unrolled"):
        (together,) = torch.autograd.grad(model(images).square().sum(), images)
        apart = [torch.autograd.grad(model(image).square().sum(), image)[0] for image in images[:, None]]
    assert together.abs().max() > 0
    torch.testing.assert_close(together, torch.cat(apart))


def test_an_elementwise_rule_leaves_the_reset_to_the_library(pair):
    model, twin, name = pair
    passes_through_reset = "sinabs" in name
    for rule in ELEMENTWISE:
        expected = gradients(twin, f"{rule}(reset=True)" if passes_through_reset else rule)
        torch.testing.assert_close(gradients(model, rule), expected, rtol=1e-5, atol=1e-5, msg=f"{name}: {rule}")


def with_synapse(name):
    """A neuron with a synaptic current, its leak, the decay of the current, its reset and its gain."""
    if name == "snntorch":
        make = library("snntorch").Synaptic
        return (
            snntorch(nn.Sequential(nn.Flatten(), make(0.5, 0.75, init_hidden=True)), T, readout="sum"),
            0.75,
            0.5,
            "late",
        )
    if name == "norse":
        cells = library("norse.torch")
        p = cells.LIFParameters(
            tau_mem_inv=torch.tensor(250.0), tau_syn_inv=torch.tensor(500.0), v_th=torch.tensor(0.25)
        )
        return norse(cells.SequentialState(nn.Flatten(), cells.LIFCell(p)), T, readout="sum"), 0.75, 0.5, "zero"
    activation, sinabs_layers = library("sinabs.activation"), library("sinabs.layers")
    lif = sinabs_layers.LIF(
        tau_mem=-1 / math.log(0.75), tau_syn=-1 / math.log(0.5), spike_fn=activation.SingleSpike, norm_input=False,
        spike_threshold=torch.tensor(0.5),
    )  # fmt: skip
    return sinabs(nn.Sequential(nn.Flatten(2), lif), T, readout="sum"), 0.75, 0.5, "subtract"


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return (z > 0).to(z)

    @staticmethod
    def backward(ctx, grad):
        return grad * 0.3 * (1 - ctx.saved_tensors[0].abs()).clamp(min=0)  # Eq. 5


@pytest.mark.parametrize("name", ["snntorch", "norse", "sinabs"])
def test_a_synaptic_current_is_part_of_the_equation(name):
    model, leak, decay, reset = with_synapse(name)
    images = (
        3 * torch.rand(50, 1, 1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ).requires_grad_()
    m = j = total = torch.zeros(50, 4, dtype=torch.float64)
    for _ in range(T):
        j = decay * j + images.flatten(1)
        u = m + j
        spike = Spike.apply(u - 1)  # the input is in units of the threshold
        kept = spike.detach()
        m = leak * u - kept if reset == "late" else leak * u * (1 - kept) if reset == "zero" else leak * (u - kept)
        total = total + spike
    (expected,) = torch.autograd.grad(total.sum(), images)
    assert len(total.unique()) > 3
    with gradient_rule(model, "unrolled"):
        spikes = model(images)
        (gradient,) = torch.autograd.grad(spikes.sum(), images)
    assert torch.equal(spikes.double(), total)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-5)
