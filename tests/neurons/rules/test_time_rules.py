"""Rules of time against autograd through an explicit loop over steps, in float64."""

import pytest
import torch

from hiresnn.neurons import LIF, RESETS, Linear, Window
from hiresnn.neurons.rules import HART, Arctan, Unrolled

from ...reference import Spike

T, B, N = 5, 3, 40
THRESHOLD, LEAK = 0.8, 0.75


def looped(current, weight, reset, *, through_reset, cut_time):
    """Gradient of sum(weight * spikes) in the current [T, B, N]."""
    leaf = current.clone().requires_grad_()
    kept, loss = torch.zeros(B, N, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for t in range(T):
        u = (kept.detach() if cut_time else kept) + leaf[t]
        spike = Spike.apply(u / THRESHOLD - 1, 3.0)
        loss = loss + (weight[t] * spike).sum()
        fired = spike if through_reset else spike.detach()
        if reset == "zero":
            kept = LEAK * u * (1 - fired)
        else:
            kept = LEAK * (u - THRESHOLD * fired) if reset == "subtract" else LEAK * u - THRESHOLD * fired
    return torch.autograd.grad(loss, leaf)[0]


def of_rule(rule, current, weight, reset="subtract"):
    lif = LIF(THRESHOLD, LEAK, reset=reset, surrogate=rule).double()
    lif.threshold.data.fill_(THRESHOLD)  # 0.8 and 0.75 to the last digit of float64
    lif.leak.data.fill_(LEAK)
    leaf = current.flatten(0, 1).clone().requires_grad_()
    (lif(leaf, Window(T, B)).view(T, B, N) * weight).sum().backward()
    return leaf.grad.view(T, B, N)


@pytest.fixture
def current():
    return torch.rand(T, B, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 1.2


@pytest.fixture
def weight():
    return torch.randn(T, B, N, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("through_reset", [False, True])
@pytest.mark.parametrize("cut_time", [False, True])
def test_backpropagation_through_time_equals_a_loop(current, weight, reset, through_reset, cut_time):
    found = of_rule(Unrolled(Arctan(3), through_reset=through_reset, cut_time=cut_time), current, weight, reset)
    expected = looped(current, weight, reset, through_reset=through_reset, cut_time=cut_time)
    torch.testing.assert_close(found, expected)


def test_an_unrolled_rule_without_options_is_the_elementwise_rule(current, weight):
    unrolled = of_rule(Unrolled(Linear()), current, weight)
    elementwise = of_rule(Linear(), current, weight)
    torch.testing.assert_close(unrolled, elementwise)


def test_hart_averages_the_gradient_over_time():
    # threshold 1, no leak, width 2, so the slope is max(0, 1 - |z| / 2) / 2. One neuron, currents 0.5, 1.5, 0.5:
    # u = 0.5, 2.0, 1.5 (the spike at 2.0 leaves 1.0); z = -0.5, 1, 0.5; slopes 0.375, 0.25, 0.375.
    # Gradients of the spikes 1, 2, 4: (0.375 + 0.5 + 1.5) / 3 = 0.7916667 at every step.
    lif, current = LIF(surrogate=HART(2.0)), torch.tensor([[0.5], [1.5], [0.5]]).requires_grad_()
    lif(current, Window(3, 1)).backward(torch.tensor([[1.0], [2.0], [4.0]]))
    torch.testing.assert_close(current.grad, torch.full((3, 1), 0.7916667))
