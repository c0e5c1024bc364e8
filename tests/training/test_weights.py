import pytest
import torch
from torch import nn

from hiresnn.network import convert
from hiresnn.training import Average, Method, Schedule, Training


def test_the_average_follows_its_equation_and_trusts_the_first_weights_little() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = Average(model, torch.optim.SGD(model.parameters(), lr=1.0), 0.2)
    expected = 0.0
    for decay, weight in ((0.1, 1.0), (2 / 11, 2.0), (0.2, 4.0)):  # (1 + n) / (10 + n), at most 0.2
        nn.init.constant_(model.weight, weight)
        average.update(model)
        expected = decay * expected + (1 - decay) * weight
        assert average.model.weight.item() == pytest.approx(expected)  # type: ignore[union-attr,operator]


def test_each_step_of_the_optimiser_updates_the_average_and_the_statistics_of_batch_norm() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    average = Average(model, optimizer, 0.5)
    before = average.model[1].running_mean.clone()  # type: ignore[index]
    model(torch.rand(8, 2)).square().sum().backward()
    optimizer.step()
    assert average.updates == 1
    statistics = average.model[1]  # type: ignore[index]
    torch.testing.assert_close(statistics.running_mean, 0.1 * before + 0.9 * model[1].running_mean)
    assert statistics.num_batches_tracked == 1
    assert not any(parameter.requires_grad for parameter in average.model.parameters())


def test_averaged_leaks_and_thresholds_are_in_their_range() -> None:
    """The step of the optimiser is averaged before it is clamped."""
    torch.manual_seed(0)
    images, labels = torch.rand(6, 1, 2, 2), torch.arange(6) % 2
    ann = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    network = convert(ann, images, timesteps=4, start=0.5, rescale=True)
    (lif,) = network.neurons.values()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    optimizer.register_step_pre_hook(lambda *_: lif.leak.data.add_(0.25) and None)
    average = Average(network, optimizer, 0.5)
    training = Training(network, optimizer, [(images, labels)], Method(), Schedule(3, 0.1), average=average)
    training.run()
    (averaged,) = average.model.neurons.values()  # type: ignore[union-attr,operator]
    assert averaged.leak.item() > 1
    assert lif.leak.item() == 1


def test_a_weight_with_two_names_is_averaged_once() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    model[1].weight = model[0].weight
    model[0].weight.data.fill_(0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    average = Average(model, optimizer, 0.1)
    model[0].weight.grad = torch.ones(1, 1)
    optimizer.step()
    for layer in average.model.children():
        assert layer.weight.item() == pytest.approx(-0.9)
