"""Networks that make their spikes in `forward`, by an autograd function: found, and attacked under gradient rules."""

import math

import pytest
import torch
from torch import nn

from hiresnn.errors import UsageError
from hiresnn.foreign import Unrolled, recognise
from hiresnn.neurons import gradient_rule
from hiresnn.neurons.rules import rule_from_text

T, LEAK = 4, 0.75
IMAGES = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


class Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, steepness):
        ctx.save_for_backward(x)
        ctx.steepness = steepness
        return (x > 0).to(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / (1 + ctx.steepness * x.abs()) ** 2, None


class SpikeWithSetup(torch.autograd.Function):
    """The form of newer code, in which `forward` gets no ctx."""

    @staticmethod
    def forward(x):
        return (x > 0).to(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad / (1 + 10 * x.abs()) ** 2


class Reaches(torch.autograd.Function):
    """Compares the membrane potential itself with its threshold, 1."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return (u > 1).to(u)

    @staticmethod
    def backward(ctx, grad):
        (u,) = ctx.saved_tensors
        return grad * ((u - 1).abs() < 0.01)


class Net(nn.Module):
    """Two layers of neurons in a loop over time."""

    def __init__(self, spike, subtracted=1.0):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Linear(16, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.spike, self.subtracted = spike, subtracted
        with torch.no_grad():
            self.first.weight.mul_(4)
            self.second.weight.mul_(4)

    def forward(self, images):
        first = second = total = 0
        for _ in range(T):
            first = LEAK * first + self.first(images.flatten(1))
            spikes = self.spike(first - self.subtracted)
            first = first - spikes
            second = LEAK * second + self.second(spikes)
            spikes = self.spike(second - self.subtracted)
            second = second - spikes
            total = total + self.head(spikes)
        return total / T


apply = Spike.apply  # bound before anyone looks for it, as in published code
FORMS = {
    "with ctx": (lambda x: apply(x, 10.0), 1.0),
    "with setup_context": (SpikeWithSetup.apply, 1.0),
    "threshold in the function": (Reaches.apply, 0.0),
}


def gradient(network, images=IMAGES):
    images = images.clone().requires_grad_()
    return torch.autograd.grad((network(images) * torch.tensor([1.0, -2.0, 3.0])).square().sum(), images)[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rule", ["linear", "arctan", "straight-through", "rectangular"])
def test_a_rule_gives_the_gradient_of_the_same_code_with_that_surrogate(form, rule):
    spike, subtracted = FORMS[form]
    bare = Net(spike, subtracted).double().eval()
    model = recognise(bare, IMAGES)
    assert isinstance(model, Unrolled)
    assert (model.timesteps, model.neurons) == (T, 2)
    torch.testing.assert_close(model(IMAGES), bare(IMAGES), rtol=0, atol=0)
    slots, calls, surrogate = model._slots, [], rule_from_text(rule)

    class Replaced(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            slot = slots[len(calls) % 2]
            calls.append(0)
            ctx.slope = surrogate((x - slot.jump) / slot.unit) / slot.unit
            return (x > (0.0 if subtracted else 1.0)).to(x)

        @staticmethod
        def backward(ctx, grad):
            return grad * ctx.slope

    expected = gradient(Net(Replaced.apply, subtracted).double())
    with gradient_rule(model, rule):
        found = gradient(model)
    assert expected.abs().sum() > 0
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradient(model), gradient(bare))  # afterwards the network has its own surrogate


def test_the_unit_is_the_threshold_where_it_can_be_told_and_else_the_spread_of_the_input():
    told = recognise(Net(Reaches.apply, 0.0).double().eval(), IMAGES)
    assert [slot.jump for slot in told._slots] == pytest.approx([1, 1], abs=0.1)
    assert [slot.unit for slot in told._slots] == [slot.jump for slot in told._slots]
    hidden = recognise(Net(SpikeWithSetup.apply).double().eval(), IMAGES)
    assert all(slot.jump == 0 and 0.1 < slot.unit < 10 for slot in hidden._slots)


def test_assg_and_pdsg_keep_apart_the_layers_that_share_a_function():
    model = recognise(Net(lambda x: apply(x, 10.0)).double().eval(), IMAGES)
    for rule in ("assg", "assg(start=1)", "pdsg"):
        with gradient_rule(model, rule):
            first, again = gradient(model), gradient(model)
        assert first.isfinite().all()
        assert first.abs().sum() > 0
        if rule == "pdsg":
            torch.testing.assert_close(first, again)
    with pytest.raises(UsageError, match=r"the spikes of Net are made in forward, and not by a module\. Choose an el"):
        gradient_rule(model, "bptr").__enter__()


class OneStep(nn.Module):
    """Keeps its membranes in an attribute; the training script has the loop."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.head, self.membrane = nn.Linear(16, 8), nn.Linear(8, 3), None

    def forward(self, images):
        current = self.layer(images.flatten(1))
        self.membrane = current if self.membrane is None else LEAK * self.membrane + current
        spikes = apply(self.membrane - 0.25, 10.0)
        self.membrane = self.membrane - spikes
        return self.head(spikes)


def test_a_network_of_one_step_per_call_needs_the_number_of_timesteps_and_keeps_no_state():
    bare = OneStep().double().eval()
    with pytest.raises(UsageError, match="OneStep keeps its state from call to call and takes one timestep per call"):
        recognise(bare, IMAGES)
    model = recognise(OneStep().double().eval(), IMAGES, timesteps=T)
    assert (model.timesteps, model.neurons) == (T, 1)
    torch.testing.assert_close(model(IMAGES), model(IMAGES), rtol=0, atol=0)
    torch.testing.assert_close(model(IMAGES), torch.stack([bare(IMAGES) for _ in range(T)]).mean(0))
    with gradient_rule(model, "assg"):
        assert gradient(model).abs().sum() > 0


class Round(torch.autograd.Function):
    """Rounds with a straight-through gradient: it makes no spikes."""

    @staticmethod
    def forward(ctx, x):
        return (8 * x).round() / 8

    @staticmethod
    def backward(ctx, grad):
        return grad


class Fails(nn.Module):
    def forward(self, images):
        raise RuntimeError("no images, please")


@pytest.mark.parametrize("network", [Net(Round.apply).double(), Fails(), nn.Sequential(nn.Flatten(), nn.Linear(16, 3))])
def test_other_networks_are_left_as_they_are(network):
    images = IMAGES if isinstance(network, Net) else IMAGES.float()
    assert recognise(network, images) is network


def test_a_steep_surrogate_does_not_hide_the_network():
    bare = Net(lambda x: apply(x, 1e6)).double().eval()
    assert gradient(bare).abs().max() < 1e-6
    model = recognise(bare, IMAGES)
    with gradient_rule(model, "arctan"):
        found = gradient(model)
    assert found.abs().max() > 1e-3
    assert math.isfinite(float(found.sum()))
