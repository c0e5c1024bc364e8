import pytest
import torch
from torch import nn

from hiresnn.training import Average


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


def test_the_average_continues_from_its_state() -> None:
    model = nn.Linear(2, 2)
    first = Average(model, torch.optim.SGD(model.parameters(), lr=1.0), 0.9)
    first.update(model)
    second = Average(nn.Linear(2, 2), torch.optim.SGD(model.parameters(), lr=1.0), 0.9)
    second.load_state_dict(first.state_dict())
    nn.init.zeros_(model.weight)
    for average in (first, second):
        average.update(model)
    assert torch.equal(first.model.weight, second.model.weight)  # type: ignore[arg-type]
