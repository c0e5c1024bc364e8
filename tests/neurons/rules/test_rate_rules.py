import pytest
import torch

from hiresnn.neurons import LIF, Window
from hiresnn.neurons.rules import BPTR, RGA, Conversion

GRAD = torch.tensor([[1.0], [-2.0]])  # of one neuron's spikes at two steps


def gradient(rule, currents, threshold=1.0, leak=1.0):
    leaf = torch.tensor(currents)[:, None].requires_grad_()
    LIF(threshold, leak, surrogate=rule)(leaf, Window(2, 1)).backward(GRAD)
    return leaf.grad[:, 0].tolist()


def test_bptr_passes_the_gradient_of_every_step_where_a_neuron_spiked_at_any():
    assert gradient(BPTR(), [0.4, 0.7]) == [1, -2]  # u = 0.4, 1.1: it spikes at the second step
    assert gradient(BPTR(), [0.4, 0.5]) == [0, 0]
    assert gradient(BPTR(), [0.8, 1.4], threshold=2) == [0.5, -1]  # in units of the threshold


def test_bptr_counts_a_spike_at_the_threshold_where_the_neuron_does():
    for condition, expected in ((">", [0, 0]), (">=", [1, -2])):
        leaf = torch.tensor([[0.5], [0.5]]).requires_grad_()  # u = 0.5, 1.0
        LIF(condition=condition, surrogate=BPTR())(leaf, Window(2, 1)).backward(GRAD)
        assert leaf.grad[:, 0].tolist() == expected


def test_rga_is_the_slope_of_a_leaky_neurons_rate_over_its_mean_current():
    # leak 0.75: below x = 0.25 the slope is g = 0.2, up to x = 2 it is (1 - 0.2 + 0.15) / 1.75 = 0.5428571
    assert gradient(RGA(), [0.1, 0.3], leak=0.75) == pytest.approx([0.2, -0.4])
    assert gradient(RGA(), [0.3, 0.9], leak=0.75) == pytest.approx([0.5428571, -1.0857143])
    assert gradient(RGA(), [1.0, 3.2], leak=0.75) == [0, 0]  # x = 2.1
    assert gradient(RGA(), [-0.5, 0.3], leak=0.75) == [0, 0]
    assert gradient(RGA(), [1.2, 3.6], threshold=4, leak=0.75) == pytest.approx([0.5428571 / 4, -1.0857143 / 4])


def test_conversion_is_a_relu_clipped_at_one_spike_per_step():
    assert gradient(Conversion(), [0.3, 0.1]) == [1, -2]
    assert gradient(Conversion(), [-0.3, 0.2]) == [0, 0]
    assert gradient(Conversion(), [0.9, 1.2]) == [0, 0]
    assert gradient(Conversion(torch.inf), [0.9, 1.2]) == [1, -2]
    assert gradient(Conversion(), [1.8, 1.4], threshold=2) == [0.5, -1]


@pytest.mark.parametrize("rule", [RGA(), Conversion()])
def test_charge_left_by_an_earlier_window_counts_as_current(rule):
    def with_charge(left):
        lif = LIF(surrogate=rule)
        leaf = torch.zeros(2, 1).requires_grad_()
        window = Window(2, 1, membranes={lif: torch.tensor([left])})
        lif(leaf, window).sum().backward()
        return leaf.grad

    assert with_charge(0.5).all()
    assert not with_charge(-0.5).any()
