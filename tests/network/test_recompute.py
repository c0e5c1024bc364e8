"""Recomputed activations: the same gradients to the bit, in less memory, whatever state a window carries."""

import copy

import pytest
import torch
from torch import Tensor

from hiresnn.network import SpikingNetwork
from hiresnn.training import Method, train_batch
from hiresnn.training.noise import CraftedNoise

from .small import batch, network


def trained(subject: SpikingNetwork, method: Method) -> dict[str, Tensor]:
    """Its weights after a batch, dropout and all."""
    torch.manual_seed(2)
    optimizer = torch.optim.SGD(subject.parameters(), lr=0.1)
    train_batch(subject, optimizer, *batch(), method, timesteps=4)
    return subject.state_dict()


def kept(subject: SpikingNetwork) -> int:
    """Bytes that autograd keeps for the backward pass of a batch."""
    parameters = {parameter.data_ptr() for parameter in subject.parameters()}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
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
def test_a_batch_trains_to_the_same_weights(model: str, method: Method) -> None:
    plain, frugal = network(model, 4), network(model, 4).recompute()
    expected, found = trained(plain, copy.deepcopy(method)), trained(frugal, copy.deepcopy(method))
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_less_is_kept() -> None:
    assert kept(network(timesteps=4).recompute()) < 0.6 * kept(network(timesteps=4))


def test_a_backward_pass_can_be_repeated() -> None:
    frugal = network(timesteps=4).recompute()
    images = batch()[0].requires_grad_()
    total = frugal(images).sum()
    first, again = (torch.autograd.grad(total, images, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, again)
