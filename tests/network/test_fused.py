"""Neurons, dropout and pooling in one pass, and recomputed activations: the same numbers, with fewer large tensors."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hiresnn.network import convert, record
from hiresnn.network import fused as module
from hiresnn.neurons import Window, can_fuse, gradient_rule
from hiresnn.neurons.lif import Scan, scan_forward
from hiresnn.neurons.rules import BPTR
from hiresnn.training import Method, train_batch
from hiresnn.training.losses import CraftedNoise

from .small import batch, network, one_block

compiled = pytest.mark.skipif(not can_fuse(), reason="no C++ compiler")


def one_by_one(subject, images):
    window = Window(subject.timesteps, len(images), fused=subject.fused)
    with record(subject):  # its hooks split the blocks
        return window.by_step(subject.layers(images, window)).sum(0)


def found(subject, *, merged):
    """Logits and all gradients of a batch, those of the images among them."""
    images, labels = batch()
    images.requires_grad_()
    subject.zero_grad()
    torch.manual_seed(2)
    logits = subject(images) if merged else one_by_one(subject, images)
    F.cross_entropy(logits, labels).backward()
    gradients = {name: tensor.grad.clone() for name, tensor in subject.named_parameters() if tensor.grad is not None}
    return {"logits": logits.detach(), "images": images.grad, **gradients}


@pytest.fixture
def passes(monkeypatch):
    """For every call of merged layers: whether it was one pass."""
    seen: list[bool] = []
    fits = module._fits

    def watched(*arguments):
        result = fits(*arguments)
        if arguments[-1].fused:
            seen.append(result)
        return result

    monkeypatch.setattr(module, "_fits", watched)
    return seen


@compiled
@pytest.mark.parametrize("model", ["vgg5", "vgg11", "resnet12"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "eval"])
def test_logits_and_gradients_are_those_of_the_layers_one_by_one_and_of_eager_ones(model, training, passes):
    subject = network(model).train(training)
    eager = found(subject.fuse(False), merged=True)
    one = found(subject.fuse(), merged=True)
    assert passes
    assert all(passes)
    # Eager sums have another order, and the terms of a threshold's or a leak's gradient nearly cancel.
    for other, rtol in ((found(subject, merged=False), 1e-5), (eager, 1e-3)):
        assert torch.equal(one["logits"], other["logits"])
        for name, expected in other.items():
            torch.testing.assert_close(one[name], expected, rtol=rtol, atol=1e-5 * float(expected.abs().max()))


@compiled
def test_membranes_that_start_at_half_the_threshold_do_so_in_a_block(passes):
    subject = one_block(start=0.5).fuse()
    one, other = found(subject, merged=True), found(subject, merged=False)
    assert any(passes)
    assert torch.equal(one["logits"], other["logits"])
    assert not torch.equal(one["logits"], found(one_block(), merged=True)["logits"])
    for name, expected in other.items():
        torch.testing.assert_close(one[name], expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@compiled
def test_recomputed_layers_are_merged_as_well(passes):
    expected = found(network().fuse(), merged=True)
    once = len(passes)
    again = found(network().fuse().recompute(), merged=True)
    assert len(passes) == 3 * once  # forward, and forward again in the backward pass
    assert all(passes)
    assert all(torch.equal(again[name], tensor) for name, tensor in expected.items())


@compiled
def test_layers_recomputed_outside_its_context_follow_a_rule():
    gradients = []
    for subject in (network().fuse(), network().fuse().recompute()):
        images = batch()[0].requires_grad_()
        torch.manual_seed(2)
        with gradient_rule(subject, BPTR()):
            loss = subject(images).sum()
        loss.backward()  # as on a GPU, where another thread does this
        gradients.append(images.grad)
    assert torch.equal(*gradients)


@compiled
def test_what_listens_hears_every_spike(passes):
    subject = network().eval().fuse()
    with record(subject) as spikes, torch.no_grad():
        logits = subject(batch()[0])
    assert not any(passes)
    assert list(spikes) == list(subject.neurons)
    passes.clear()
    with torch.no_grad():
        assert torch.equal(subject(batch()[0]), logits)
    assert all(passes)


@compiled
def test_state_that_goes_on_and_rules_of_whole_layers_take_the_layers_one_by_one(passes):
    subject = network().fuse()
    subject.present(batch()[0], Window(2, 4, carried=True))
    with gradient_rule(subject, BPTR()):
        subject(batch()[0])
    assert passes
    assert not any(passes)


@compiled
def test_odd_pixels_take_the_stock_pooling(passes):
    ann = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4 * 7 * 7, 2))
    subject = convert(ann, torch.rand(2, 3, 17, 17), timesteps=2).fuse()
    assert subject(torch.rand(2, 3, 17, 17)).shape == (2, 2)
    assert passes == [False]


@pytest.mark.parametrize("pooled", [True, False], ids=["pooled", "dropout alone"])
@pytest.mark.parametrize("timed", [True, False], ids=["timed", "constant"])
def test_one_pass_is_scan_then_mask_then_mean(pooled, timed):
    generator = torch.Generator().manual_seed(0)
    shape = (3, 2, 4, 2, 5) if pooled else (40,)
    current = torch.rand((4, *shape) if timed else shape, generator=generator)
    mask = (torch.rand(shape, generator=generator) < 0.7).float() / 0.7
    threshold, leak, scan = torch.tensor(0.6), torch.tensor(0.8), Scan(4, timed)
    spikes = scan_forward(current, None, threshold, leak, scan)[0] * mask
    expected = spikes.mean((2, 4)) if pooled else spikes
    torch.testing.assert_close(scan_forward(current, None, threshold, leak, scan, mask, pooled)[0], expected)


@compiled
@torch.no_grad()
def test_a_layer_that_is_replaced_is_replaced_in_the_compiled_network_too():
    subject, (images, _) = one_block().eval().fuse(), batch()
    before, names = subject(images), list(subject.state_dict())
    setattr(subject.layers, "5", nn.Linear(4 * 16 * 16, 10))
    after = subject(images)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after, subject.fuse(False)(images))
    assert list(subject.state_dict()) == names


def trained(subject, method):
    """Its weights after a batch, dropout and all."""
    torch.manual_seed(2)
    optimizer = torch.optim.SGD(subject.parameters(), lr=0.1)
    train_batch(subject, optimizer, *batch(), method, timesteps=4)
    return subject.state_dict()


def kept(subject):
    """Bytes that autograd keeps for the backward pass of a batch."""
    parameters = {parameter.data_ptr() for parameter in subject.parameters()}
    found: dict[int, int] = {}

    def pack(tensor):
        if tensor.data_ptr() not in parameters:
            found[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        alive = subject(batch()[0])
    assert alive.requires_grad
    return sum(found.values())


@pytest.mark.parametrize("model", ["vgg5", "resnet12"])
@pytest.mark.parametrize(
    "method",
    [Method(), Method(2, CraftedNoise(0.02, 0.02)), Method(2, CraftedNoise(0.02, 0.02), "carry")],
    ids=["traditional", "hire", "hire carried"],
)
def test_a_batch_trains_to_the_same_weights(model, method):
    plain, frugal = network(model, 4), network(model, 4).recompute()
    expected, found = trained(plain, copy.deepcopy(method)), trained(frugal, copy.deepcopy(method))
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_less_is_kept():
    assert kept(network(timesteps=4).recompute()) < 0.6 * kept(network(timesteps=4))


def test_a_backward_pass_can_be_repeated():
    frugal = network(timesteps=4).recompute()
    images = batch()[0].requires_grad_()
    total = frugal(images).sum()
    first, again = (torch.autograd.grad(total, images, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, again)
