"""A network with state as a function of images, a rule in the place of a surrogate, and spikes by step and image."""

import pytest
import torch
from torch import nn

from hiresnn.errors import UsageError
from hiresnn.foreign import Slot, Unrolled, in_steps, once, record, ruled_spike, whole_sequence
from hiresnn.neurons import gradient_rule
from hiresnn.neurons.rules import Linear


def own(x):
    return (x >= 0).float()


def test_the_spike_is_that_of_the_library_and_the_gradient_that_of_the_rule():
    x = torch.tensor([-0.5, 0.0, 0.5], dtype=torch.float64, requires_grad=True)
    spikes = ruled_spike(own, Linear(), lambda: 2.0)(x)
    assert spikes.tolist() == [0, 1, 1]
    (gradient,) = torch.autograd.grad(spikes.sum(), x)
    # z = x / 2 = -.25, 0, .25; 0.3 (1 - |z|) / 2
    assert gradient.tolist() == pytest.approx([0.1125, 0.15, 0.1125], abs=1e-12)
    assert gradient.dtype == torch.float64


def test_a_trained_threshold_gets_its_gradient_through_the_membrane():
    threshold = torch.tensor(2.0, requires_grad=True)
    spikes = ruled_spike(own, Linear(), lambda: threshold)(torch.tensor([2.5]) - threshold)
    # d spike / d threshold = - d spike / d x = -0.3 (1 - .25) / 2
    assert torch.autograd.grad(spikes.sum(), threshold)[0].item() == pytest.approx(-0.1125)


def test_the_threshold_is_read_at_the_time_of_the_call():
    neuron = nn.Module()
    neuron.threshold = 1.0
    spike = ruled_spike(own, Linear(), lambda: neuron.threshold)
    neuron.threshold = 2.0
    x = torch.tensor([1.0], requires_grad=True)
    assert torch.autograd.grad(spike(x).sum(), x)[0].item() == pytest.approx(0.075)  # 0.3 (1 - .5) / 2


@pytest.mark.parametrize("function", [own, nn.Threshold(0, 0)])
def test_the_surrogate_is_restored_also_after_an_error(function):
    neuron = nn.Module()
    neuron.spike, neuron.after = function, nn.Identity()
    slot = Slot(neuron, "spike", lambda neuron, own, rule: lambda x: own(x) + 1)
    with slot.holding(Linear()):
        assert neuron.spike(torch.tensor(3.0)) == function(torch.tensor(3.0)) + 1
    assert neuron.spike is function
    with pytest.raises(KeyError), slot.holding(Linear()):
        raise KeyError
    assert neuron.spike is function
    names = [name for name, _ in neuron.named_children()]
    assert names == (["spike", "after"] if isinstance(function, nn.Module) else ["after"])


class Counter(nn.Module):
    """Output at step t: t times the image, counted from 1; only a reset sets t back."""

    def __init__(self):
        super().__init__()
        self.t = 0

    def forward(self, images):
        self.t += 1
        return self.t * images.flatten(1)


def reset(network):
    network.t = 0


class Neuron(nn.Module):
    """Spikes where a pixel reaches 1/2."""

    def __init__(self):
        super().__init__()
        self.spike_function = lambda x: (x >= 0).float()

    def forward(self, images):
        return self.spike_function(images.flatten(1) - 0.5)


def spiking(**options):
    neuron = Neuron()
    slot = Slot(neuron, "spike_function", lambda neuron, own, rule: ruled_spike(own, rule, lambda: 0.5))
    return Unrolled(neuron, 2, library="toy", slots=[slot], **options)


class Nested(nn.Module):
    """Returns a state first, as no network should."""

    def forward(self, images):
        return (images, images), images


IMAGES = torch.tensor([0.1, 0.2, 0.3, 0.4]).view(2, 2, 1, 1)


@pytest.mark.parametrize(("readout", "factor"), [("mean", 2), ("sum", 6)])
def test_logits_are_the_mean_or_sum_of_the_outputs_over_time(readout, factor):
    model = Unrolled(Counter(), 3, library="toy", reset=reset, readout=readout)
    # steps 1, 2, 3 times the image: mean 2, sum 6
    assert torch.allclose(model(IMAGES), factor * IMAGES.flatten(1))


def test_logits_do_not_depend_on_earlier_calls():
    network = Counter()
    network.t = 7  # from an earlier use
    model = Unrolled(network, 3, library="toy", reset=reset)
    assert torch.equal(model(IMAGES), model(IMAGES))
    assert network.t == 0


def test_one_output_of_a_tuple_can_be_chosen():
    class Two(nn.Module):
        def forward(self, images):
            return images.flatten(1), images.flatten(1) + 1

    assert torch.allclose(Unrolled(Two(), 2, library="toy")(IMAGES), IMAGES.flatten(1))
    assert torch.allclose(Unrolled(Two(), 2, library="toy", output=1)(IMAGES), IMAGES.flatten(1) + 1)


def test_an_encoder_gives_the_input_of_each_step():
    def ramp(images):
        return torch.stack([images, 3 * images])

    model = Unrolled(nn.Flatten(), 2, library="toy", encode=ramp)
    assert torch.allclose(model(IMAGES), 2 * IMAGES.flatten(1))


@pytest.mark.parametrize("read_out", [True, False])
def test_a_network_with_a_loop_of_its_own_is_called_once_with_the_images(read_out):
    class Loop(nn.Module):
        def forward(self, images):
            outputs = torch.stack([images.flatten(1), 3 * images.flatten(1)])
            return outputs.mean(0) if read_out else outputs

    model = Unrolled(Loop(), 2, library="toy", show=once, own_loop=True)
    assert torch.allclose(model(IMAGES), 2 * IMAGES.flatten(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timesteps": 0}, "timesteps is 0; a spiking network needs at least 1"),
        ({"readout": "max"}, "readout is 'max'; choose one of mean, sum"),
        ({"own_loop": True, "encode": torch.clone}, "encode has no effect"),
    ],
)
def test_a_wrong_option_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Unrolled(nn.Flatten(), **{"timesteps": 2, "library": "toy", **options})


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (nn.Identity(), {}, r"Identity returned outputs of shape \[3, 2, 2, 1, 1\]"),
        (nn.Flatten(0), {}, r"shape \[3, 4\]; it should be \[3 steps, 2 images, classes\]"),
        (nn.Flatten(2), {"show": whole_sequence, "encode": lambda x: x[None].repeat(2, 1, 1, 1, 1)}, "encode returned"),
        (Nested(), {}, "the network returned tuple, not a tensor"),
    ],
)
def test_a_wrong_shape_is_refused(network, options, message):
    with pytest.raises(UsageError, match=message):
        Unrolled(network, 3, library="toy", **options)(IMAGES)


def test_a_rule_changes_the_gradient_and_not_the_logits():
    model, images = spiking(), IMAGES.clone().requires_grad_()
    plain = model(images)
    assert not plain.requires_grad  # a comparison has no gradient of its own
    with gradient_rule(model, Linear()):
        ruled = model(images)
        (gradient,) = torch.autograd.grad(ruled.sum(), images)
    assert torch.equal(ruled, plain)
    # z = u / .5 - 1 = -.8, -.6, -.4, -.2; 0.3 (1 - |z|) / .5, the mean over two equal steps
    assert gradient.flatten().tolist() == pytest.approx([0.12, 0.24, 0.36, 0.48])
    assert not model(images).requires_grad


def test_a_network_that_overwrites_its_input_gets_the_images_at_every_step():
    class Centres(nn.Module):
        def forward(self, images):
            return images.sub_(0.5).flatten(1)

    images = IMAGES.clone().requires_grad_()
    logits = Unrolled(Centres(), 3, library="toy")(images)
    torch.testing.assert_close(logits, (IMAGES - 0.5).flatten(1))
    logits.sum().backward()
    assert torch.equal(images.detach(), IMAGES)


T, B = 3, 2
STEPS = torch.arange(T * B * 4.0).reshape(T, B, 4)


@pytest.mark.parametrize(
    ("layout", "rows", "expected"),
    [
        ("steps", STEPS[0], STEPS[:1]),
        ("any", STEPS[0], STEPS[:1]),
        ("sequence", STEPS, STEPS),
        ("any", STEPS, STEPS),
        ("sequence", STEPS.flatten(0, 1), STEPS),
        ("any", STEPS.flatten(0, 1), STEPS),
        ("batch first", STEPS.transpose(0, 1), STEPS),
        ("batch first", STEPS.transpose(0, 1).flatten(0, 1), STEPS),
        ("sequence", STEPS[0], STEPS[:1]),  # computed once, before the images are repeated
    ],
)
def test_rows_are_sorted_by_step_and_image(layout, rows, expected):
    assert torch.equal(in_steps("layer", rows, T, B, layout), expected)


def test_a_sequence_of_one_step_is_a_sequence():
    assert torch.equal(in_steps("layer", STEPS[:1], 1, B, "sequence"), STEPS[:1])
    assert torch.equal(in_steps("layer", STEPS[0], 1, B, "sequence"), STEPS[:1])


@pytest.mark.parametrize(
    ("layout", "rows"), [("steps", torch.ones(5, 4)), ("any", torch.ones(5, 4)), ("any", torch.ones(2, 2))]
)
def test_rows_that_do_not_tell_images_from_steps_are_refused(layout, rows):
    with pytest.raises(UsageError, match=r"layer 'conv' has rows of shape"):
        in_steps("conv", rows, 2 if rows.shape == (2, 2) else T, B, layout)


class Alternating(nn.Module):
    """Spikes at every second step: stores how often it was called."""

    def __init__(self, amplitude=1.0):
        super().__init__()
        self.calls, self.amplitude = 0, amplitude

    def reset(self):
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return torch.full_like(x, self.calls % 2 * self.amplitude)


def adapted(network, neuron, timesteps=T, **options):
    return Unrolled(network, timesteps, library="mine", reset=lambda _: neuron.reset(), spiking=[neuron], **options)


def test_each_forward_pass_fills_the_dictionary():
    neuron = Alternating()
    model = adapted(nn.Sequential(nn.Flatten(), neuron), neuron)
    with record(model) as spikes:
        for size in (2, 5):
            model(torch.rand(size, 1, 2, 2))
            assert spikes["1"].shape == (T, size, 4)
            assert spikes["1"][:, 0, 0].tolist() == [1, 0, 1]
        found = spikes["1"]
    model(torch.rand(3, 1, 2, 2))
    assert spikes["1"] is found


class Repeating(nn.Module):
    def __init__(self, steps, neuron):
        super().__init__()
        self.steps, self.neuron = steps, neuron

    def forward(self, images):
        return torch.stack([self.neuron(images.flatten(1)) for _ in range(self.steps)]).mean(0)


def test_what_cannot_be_recorded_is_refused():
    neuron = Alternating()
    model = adapted(Repeating(4, neuron), neuron, own_loop=True)
    with record(model), pytest.raises(UsageError, match=r"'neuron' is called for 4 timesteps.*timesteps=3"):
        model(torch.rand(2, 1, 2, 2))
    neuron = Alternating(0.5)
    model = adapted(nn.Sequential(nn.Flatten(), neuron), neuron)
    with record(model), pytest.raises(UsageError, match="'1' returns numbers that are not whole"):
        model(torch.rand(2, 1, 2, 2))
    with pytest.raises(UsageError, match=r"mine network names no layers of neurons.*spiking="):
        record(Unrolled(nn.Flatten(), T, library="mine")).__enter__()
