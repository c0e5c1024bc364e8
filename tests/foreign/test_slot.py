import pytest
import torch
from torch import nn

from hiresnn.foreign.unrolled import Slot, ruled_spike
from hiresnn.neurons.surrogate import Linear


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
