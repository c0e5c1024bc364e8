"""ASSG and PDSG against slow loops over single numbers."""

import math
import statistics

import pytest
import torch

from hiresnn.neurons import LIF, Window, gradient_rule
from hiresnn.neurons.rules import ASSG, PDSG

T, B = 3, 2
THRESHOLD, LEAK = 0.8, 0.9


def traced(currents):
    """z of one neuron at each step."""
    kept, trace = 0.0, []
    for current in currents:
        u = kept + current
        trace.append(u / THRESHOLD - 1)
        kept = LEAK * (u - THRESHOLD * (trace[-1] > 0))
    return trace


def unrolled(slopes, grads):
    """Gradient of one neuron's current at each step, last step first summed in."""
    found = [0.0] * len(slopes)
    later = 0.0
    for t in reversed(range(len(slopes))):
        later = grads[t] * slopes[t] / THRESHOLD + LEAK * later
        found[t] = later
    return found


def gradient(lif, current, grad):
    leaf = current.flatten(0, 1).clone().requires_grad_()
    lif(leaf, Window(T, B)).backward(grad.flatten(0, 1))
    return leaf.grad.view_as(current)


def layer(rule):
    lif = LIF(surrogate=rule).double()
    lif.threshold.data.fill_(THRESHOLD)  # to the last digit of float64
    lif.leak.data.fill_(LEAK)
    return lif


def random(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 1.3


@pytest.mark.parametrize("start", [1.0, 0.0])
def test_assg_statistics_follow_each_membrane_during_an_attack(start):
    lif, grad = layer(ASSG(start=start)), random(9, T, B, 4) - 0.6
    places = [(t, b, n) for t in range(T) for b in range(B) for n in range(4)]
    level, spread = dict.fromkeys(places, start), dict.fromkeys(places, 0.0)
    sharpest = 2 * math.tan(0.425 * math.pi) / math.pi
    for iteration in range(4):
        current = random(iteration, T, B, 4)
        found = gradient(lif, current, grad)
        for b in range(B):
            for n in range(4):
                slopes = []
                for t, z in enumerate(traced(current[:, b, n].tolist())):
                    at = (t, b, n)
                    before = abs(z) if iteration == 0 and not start else level[at]
                    level[at] = 0.9 * before + 0.1 * abs(z)
                    spread[at] = 0.9 * spread[at] + 0.1 * abs(abs(z) - level[at])
                    alpha = sharpest / (level[at] + 1.5 * spread[at] + 1e-4)
                    slopes.append(alpha / 2 / (1 + (math.pi * alpha * z / 2) ** 2))
                assert found[:, b, n].tolist() == pytest.approx(unrolled(slopes, grad[:, b, n].tolist()), rel=1e-5)


def test_every_layer_gets_a_fresh_assg_each_time_the_rule_is_entered():
    network, rule = torch.nn.ModuleList([LIF(), LIF()]), ASSG(relax=2.0)
    with gradient_rule(network, rule):
        first, second = (lif.surrogate for lif in network)
        assert first is not second
        assert first.relax == 2
        network[0](torch.rand(T * B, 4, requires_grad=True), Window(T, B)).sum().backward()
        assert first.statistics
    assert not rule.statistics
    with gradient_rule(network, rule):
        again = network[0].surrogate
        assert not again.statistics


def test_assg_statistics_restart_when_the_batch_shape_changes():
    rule = ASSG(start=1.0)
    rule.sharpness(torch.rand(T, B, 4))
    z = torch.full((T, 1, 4), 2.0)
    # M = 0.9 + 0.2 = 1.1, D = 0.1 * 0.9 = 0.09, a = 2.651: alpha = a / (1.1 + 0.135 + 1e-4)
    expected = 2 * math.tan(0.425 * math.pi) / math.pi / 1.2351
    torch.testing.assert_close(rule.sharpness(z), torch.full((T, 1, 4), expected))


def test_the_width_of_pdsg_is_the_deviation_of_the_channel_up_to_the_step():
    current, grad = random(5, T, B, 3, 2, 2), random(6, T, B, 3, 2, 2) - 0.6
    found = gradient(layer(PDSG()), current, grad)
    for c in range(3):
        places = [(b, i, j) for b in range(B) for i in range(2) for j in range(2)]
        z = {at: traced(current[:, at[0], c, at[1], at[2]].tolist()) for at in places}
        sigmas = [statistics.stdev([z[at][s] for at in places for s in range(t + 1)]) for t in range(T)]
        for at in places:
            normal = [statistics.NormalDist(sigma / 2, sigma) for sigma in sigmas]
            slopes = [normal[t].pdf(z[at][t]) for t in range(T)]
            place = (slice(None), at[0], c, at[1], at[2])
            assert found[place].tolist() == pytest.approx(unrolled(slopes, grad[place].tolist()), rel=1e-5)


def test_the_width_of_pdsg_is_1_where_nothing_varies():
    leaf = torch.tensor([[0.5]], requires_grad=True)
    LIF(surrogate=PDSG())(leaf, Window(1, 1)).sum().backward()
    assert leaf.grad.item() == pytest.approx(statistics.NormalDist(0.5, 1).pdf(-0.5))


def test_the_width_of_pdsg_is_1_where_only_rounding_varies():
    # Equal images may differ in the last bit, as sums over a batch are taken in an order that depends on the processor.
    z = torch.tensor([[[0.25], [0.25 + 2**-52], [0.25 - 2**-53]]], dtype=torch.float64)
    torch.testing.assert_close(PDSG().slope(z), PDSG().slope(torch.full_like(z, 0.25)), rtol=1e-12, atol=0)


@pytest.mark.parametrize("shape", [(1, 4), (1, 4, 1, 1), (1, 1), (1, 3, 2, 2)])
def test_pdsg_of_one_image(shape):
    lif = layer(PDSG())
    current = random(3, *shape).requires_grad_()
    lif(current, Window(T, 1), False).sum().backward()
    assert current.grad.isfinite().all()
    assert current.grad.shape == shape
