import pytest
import torch

from hiresnn.neurons import LIF, RULES, LayerRule, Window, can_fuse, gradient_rule

T, B = 4, 3


class Watching(LayerRule):
    """Records its input, and returns the gradient of every spike times its step, counted from 1."""

    def backward(self, layer):
        self.seen = layer
        return layer.grad * torch.arange(1.0, len(layer.grad) + 1).view(-1, *(1,) * (layer.grad.dim() - 1))


def random(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_layer_rule_gets_steps_samples_and_channels_in_any_memory_layout(layout):
    rule, current, grad = Watching(), random(T * B, 2, 5, 6), random(T * B, 2, 5, 6) - 0.5
    leaf = current.contiguous(memory_format=layout).requires_grad_()
    LIF(surrogate=rule, reset="subtract-unleaked")(leaf, Window(T, B)).backward(grad)
    assert torch.equal(rule.seen.current, current.view(T, B, 2, 5, 6))
    assert torch.equal(rule.seen.grad, grad.view(T, B, 2, 5, 6))
    assert rule.seen.m is None
    assert rule.seen.reset == "subtract-unleaked"
    expected = torch.cat([t * step for t, step in zip((1, 2, 3, 4), grad.chunk(T), strict=True)])
    assert torch.equal(leaf.grad, expected)


def test_a_constant_current_gets_the_sum_of_the_gradients_over_steps():
    rule, current = Watching(), random(B, 7).requires_grad_()
    LIF(surrogate=rule)(current, Window(T, B), False).sum().backward()
    assert rule.seen.current.shape == (T, B, 7)
    assert torch.equal(rule.seen.current[2], current.detach())
    assert torch.equal(current.grad, torch.full((B, 7), 1.0 + 2 + 3 + 4))


def test_a_layer_rule_gets_the_membrane_left_by_an_earlier_window():
    rule = Watching()
    lif, window = LIF(2.0, surrogate=rule), Window(1, B, carried=True)
    first = torch.tensor([[0.5, 1.5], [2.5, 3.5], [0.0, 1.0]])  # the reset takes 2 from 2.5 and 3.5
    lif(first, window)
    lif(random(B, 2).requires_grad_(), window.following()).sum().backward()
    assert torch.equal(rule.seen.m, torch.tensor([[0.5, 1.5], [0.5, 1.5], [0.0, 1.0]]))


def test_a_layer_rule_gets_the_membrane_at_which_the_neurons_start():
    rule = Watching()
    LIF(2.0, surrogate=rule, start=0.5)(random(T * B, 7).requires_grad_(), Window(T, B)).sum().backward()
    assert torch.equal(rule.seen.m, torch.ones(B, 7))


def test_gradients_of_bfloat16_currents_are_computed_in_float32():
    rule, current = Watching(), random(T * B, 7).bfloat16().requires_grad_()
    LIF(surrogate=rule)(current, Window(T, B)).sum().backward()
    assert rule.seen.current.dtype == rule.seen.grad.dtype == torch.float32
    assert current.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("name", RULES)
def test_every_named_rule_leaves_spikes_unchanged_and_gives_a_gradient(name, reset):
    lif, current = LIF(0.7, 0.9, reset=reset), random(T * B, 2, 5, 6) * 1.5
    own = lif(current, Window(T, B))
    leaf = current.clone().requires_grad_()
    with gradient_rule(lif, RULES[name].make()):
        spikes = lif(leaf, Window(T, B))
        spikes.sum().backward()
    assert torch.equal(spikes, own)
    assert leaf.grad.isfinite().all()
    assert leaf.grad.any()


@pytest.mark.skipif(not can_fuse(), reason="needs a C++ compiler")
@pytest.mark.parametrize(("name", "reset"), [("bptr", "subtract"), ("assg", "zero")])
def test_a_fused_neuron_gets_equal_gradients_during_an_attack(name, reset):
    neuron, gradients = LIF(0.8, 0.9, reset=reset), {}
    current, weight = 2 * random(2 * B, 3, 4), random(2 * B, 3, 4) - 0.5  # two timesteps compile in half the time of T
    for fused in (False, True):
        with gradient_rule(neuron, RULES[name].make()):
            for iteration in range(3):  # statistics go on from one to the next
                leaf = (current + iteration / 10).requires_grad_()
                neuron(leaf, Window(2, B, fused=fused)).backward(weight)
                gradients[fused, iteration] = leaf.grad
    for iteration in range(3):
        torch.testing.assert_close(gradients[True, iteration], gradients[False, iteration], rtol=1e-5, atol=1e-6)
    if name == "assg":
        assert not torch.equal(gradients[True, 0], gradients[True, 2])
