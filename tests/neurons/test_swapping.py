import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import pytest
import torch
from torch import nn

from hiresnn.errors import UsageError
from hiresnn.network import convert
from hiresnn.neurons import Linear, gradient_rule
from hiresnn.neurons.rules import Arctan


def network(seed=0):
    torch.manual_seed(seed)
    ann = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 3))
    return convert(ann, torch.rand(8, 1, 4, 4), timesteps=3)


def logits_and_gradient(model):
    images = torch.linspace(0, 1, 64).view(4, 1, 4, 4).requires_grad_()
    logits = model(images)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), images)
    return logits.detach(), gradient


def rules(model):
    return [neuron.surrogate for neuron in model.neurons.values()]


def test_a_rule_changes_the_gradient_and_not_the_logits():
    model = network()
    logits, gradient = logits_and_gradient(model)
    with gradient_rule(model, Linear(width=4.0)):
        other_logits, other_gradient = logits_and_gradient(model)
    assert torch.equal(other_logits, logits)
    assert not torch.allclose(other_gradient, gradient)


def test_each_neuron_has_its_own_rule_again_afterwards():
    model = network()
    first, second = model.neurons.values()
    first.surrogate, second.surrogate = before = [Linear(0.1), Linear(0.2)]
    with gradient_rule(model, Linear(0.9)):
        assert rules(model) == [Linear(0.9)] * 2
        with gradient_rule(model, Linear(0.8)):
            assert rules(model) == [Linear(0.8)] * 2
        assert rules(model) == [Linear(0.9)] * 2
    assert rules(model) == before


def test_a_rule_is_that_of_its_thread():
    model, barrier = network(), Barrier(2, timeout=10)

    def gradients(rule):
        results = []
        for _ in range(15):
            barrier.wait()
            with gradient_rule(model, rule):
                barrier.wait()
                results.append(logits_and_gradient(model)[1])
                barrier.wait()
        return results

    rules_of_threads = [Linear(width=4.0), Arctan()]
    expected = []
    for rule in rules_of_threads:
        with gradient_rule(model, rule):
            expected.append(logits_and_gradient(model)[1])
    assert not torch.equal(*expected)
    with ThreadPoolExecutor(2) as threads:
        for gradient, results in zip(expected, threads.map(gradients, rules_of_threads), strict=True):
            assert all(torch.equal(result, gradient) for result in results)
    assert rules(model) == [Linear()] * 2


def test_a_rule_set_by_hand_holds_and_is_copied():
    model = network()
    for index, rule in enumerate([Arctan(), Linear(0.9)]):
        model.neurons[list(model.neurons)[index]].surrogate = rule
    assert rules(copy.deepcopy(model)) == rules(pickle.loads(pickle.dumps(model))) == [Arctan(), Linear(0.9)]
    with gradient_rule(model, Linear(0.1)):
        next(iter(model.neurons.values())).surrogate = Linear(0.2)
        assert rules(model) == [Linear(0.2), Linear(0.1)]
    assert rules(model) == [Arctan(), Linear(0.9)]


def test_a_model_without_neurons_is_refused():
    with pytest.raises(UsageError, match="Sequential has no LIF neuron: a gradient rule would change nothing"):
        gradient_rule(nn.Sequential(nn.ReLU()), Linear()).__enter__()


@pytest.mark.parametrize(
    ("rule", "message"),
    [("arctn", "'arctn' is not known"), (Arctan, "is no rule; give a name"), (0.3, "0.3 is no rule; give a name")],
)
def test_what_is_no_rule_is_refused_before_the_network_is_touched(rule, message):
    model = network()
    before = rules(model)
    with pytest.raises(UsageError, match=message):
        gradient_rule(model, rule).__enter__()
    assert rules(model) == before


class Foreign(nn.Module):
    """Swaps rules itself, and records the calls."""

    def __init__(self):
        super().__init__()
        self.calls = []

    @contextmanager
    def gradient_rule(self, rule):
        self.calls.append(rule)
        try:
            yield
        finally:
            self.calls.append("put back")


@pytest.mark.parametrize(
    "wrap", [lambda model: model, nn.Sequential, lambda model: nn.Sequential(nn.Sequential(model))]
)
def test_a_module_with_its_own_gradient_rule_method_swaps_the_rule_itself(wrap):
    foreign = Foreign()
    with gradient_rule(wrap(foreign), Linear(0.9)):
        assert foreign.calls == [Linear(0.9)]
    assert foreign.calls == [Linear(0.9), "put back"]


def test_such_a_module_is_called_once_for_everything_inside_it():
    outer, inner = Foreign(), Foreign()
    outer.inner = inner
    with pytest.raises(KeyError), gradient_rule(nn.ModuleList([outer, nn.Sequential(outer)]), Linear()):
        raise KeyError
    assert outer.calls == [Linear(), "put back"]
    assert inner.calls == []


def test_if_one_module_refuses_the_rule_no_neuron_gets_it():
    class Refuses(nn.Module):
        def gradient_rule(self, rule):
            raise UsageError("not this one")

    model, foreign = network(), Foreign()
    before = rules(model)
    with pytest.raises(UsageError, match="not this one"):
        gradient_rule(nn.ModuleList([model, foreign, Refuses()]), Linear(0.9)).__enter__()
    assert rules(model) == before
    assert foreign.calls == [Linear(0.9), "put back"]
