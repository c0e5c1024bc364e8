"""The epochs of a training: what is reported, what ends it, and the average of its weights."""

import math

import pytest
import torch
from torch import Tensor, nn

from hiresnn.errors import NotFiniteError
from hiresnn.network import convert, spiking_graph
from hiresnn.progress import Progress
from hiresnn.training import Average, Method, Schedule, Training


class Constant(nn.Module):
    """Logits (0, ln 3) for every image: probabilities 1/4 and 3/4."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.0, math.log(3)]))

    def forward(self, images):
        return self.logits.expand(len(images), 2)


def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3))


def spiking():
    torch.manual_seed(0)
    ann = nn.Sequential(nn.Flatten(), nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 3))
    nn.init.constant_(ann[1].weight, 1.0)
    return spiking_graph(ann, 4)


def batches(*sizes):
    return [(torch.full((size, 1, 2, 2), 0.5), torch.ones(size, dtype=torch.int64)) for size in sizes]


def training(model, shown, *, epochs=1, lr=0.1):
    return Training(model, torch.optim.SGD(model.parameters(), lr=lr), shown, Method(), Schedule(epochs, lr))


class Noted(Progress):
    """Notes the lines that are printed, one after each batch."""

    def __init__(self):
        super().__init__(every=0.0)
        self.lines: list[str] = []

    def line(self, text, *, warning=False):
        self.lines.append(text)


@pytest.mark.parametrize(("images", "first", "last"), [(4, "3 of 4 images", "4 images"), (0, "1 of 2 b", "2 batches")])
def test_an_epoch_reports_means_over_images_not_over_batches(images, first, last):
    pixels = torch.zeros(3, 1, 2, 2)
    subject = training(Constant(), [(pixels, torch.tensor([0, 0, 1])), (pixels[:1], torch.tensor([1]))], lr=1e-30)
    subject.progress = progress = Noted()
    subject.images = images
    subject.run()
    (row,) = subject.rows
    # Labels 0, 0, 1, 1 have losses ln 4, ln 4, ln 4/3, ln 4/3; every answer is 1, so half are correct.
    assert row["loss"] == pytest.approx((math.log(4) + math.log(4 / 3)) / 2)
    assert row["train_accuracy"] == 50
    one, two = progress.lines
    assert one.startswith(f"Training: {first}")
    assert one.endswith("(epoch 1 of 1, loss 1.020)")
    assert two.startswith(f"Training: {last}")
    assert two.endswith("(epoch 1 of 1, loss 0.837)")


def test_an_epoch_switches_to_training_mode_and_every_row_is_handed_over():
    model, rows = linear().eval(), []
    subject = training(model, batches(2), epochs=2)
    subject.after = lambda row: rows.append((row["epoch"], model.training))
    subject.run()
    assert rows == [(1, True), (2, True)]


def test_a_loss_that_is_not_finite_names_the_batch_and_does_not_change_the_weights():
    weights = []

    class Shown(list[tuple[Tensor, Tensor]]):
        def __iter__(self):
            good, poisoned = batches(2, 2)
            yield good
            weights.append([parameter.detach().clone() for parameter in network.parameters()])
            yield poisoned[0] * math.nan, poisoned[1]

    network = linear()
    before = network[1].weight.detach().clone()
    subject = training(network, Shown(), epochs=2)
    subject.title = "SNN training"
    message = r"^SNN training, epoch 1 of 2: the loss is nan at batch 2\. Lower the learning rate, which is 0\.1 "
    with pytest.raises(NotFiniteError, match=message):
        subject.run()
    assert not torch.equal(before, weights[0][0])
    for parameter, earlier in zip(network.parameters(), weights[0], strict=True):
        assert torch.equal(parameter, earlier)


def test_weights_that_are_not_finite_are_found_even_if_spikes_hide_them_from_the_loss():
    (images, labels), *_ = batches(2)
    with pytest.raises(NotFiniteError, match=r"epoch 1 of 1: layers\.1\.weight is no longer finite\."):
        training(spiking(), [(images * math.nan, labels)]).run()


def rates(epochs, lr, decay, milestones):
    schedule = Schedule(epochs, lr, decay, milestones)
    return [schedule.rate(epoch) for epoch in range(epochs)]


def test_the_snn_rate_of_the_paper_is_divided_by_five_before_epochs_19_25_and_28_of_30():
    expected = [1e-4] * 18 + [2e-5] * 6 + [4e-6] * 3 + [8e-7] * 3
    assert rates(30, 1e-4, 0.2, (0.6, 0.8, 0.9)) == pytest.approx(expected)


def test_the_ann_rate_of_the_paper_is_divided_by_ten_before_epochs_151_181_and_211_of_240():
    expected = [1e-2] * 150 + [1e-3] * 30 + [1e-4] * 30 + [1e-5] * 30
    assert rates(240, 0.01, 0.1, (0.625, 0.75, 0.875)) == pytest.approx(expected)


def test_a_fraction_between_two_epochs_is_rounded_to_the_nearest():
    # 0.6 and 0.8 of 3 epochs are 1.8 and 2.4.
    assert rates(3, 1.0, 0.5, (0.6, 0.8)) == [1.0, 1.0, 0.25]


def test_a_cyclic_rate_rises_to_its_peak_at_two_fifths_and_falls_to_zero():
    schedule = Schedule(10, 1.0, cyclic=True)
    # In the middle of epoch e, (e + 1/2) / 10 of the training is done.
    expected = [0.125, 0.375, 0.625, 0.875, 0.55 / 0.6, 0.45 / 0.6, 0.35 / 0.6, 0.25 / 0.6, 0.15 / 0.6, 0.05 / 0.6]
    assert [schedule.rate(epoch) for epoch in range(10)] == pytest.approx(expected)


def test_the_average_follows_its_equation_and_trusts_the_first_weights_little():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    average = Average(model, torch.optim.SGD(model.parameters(), lr=1.0), 0.2)
    expected = 0.0
    for decay, weight in ((0.1, 1.0), (2 / 11, 2.0), (0.2, 4.0)):  # (1 + n) / (10 + n), at most 0.2
        nn.init.constant_(model.weight, weight)
        average.update(model)
        expected = decay * expected + (1 - decay) * weight
        assert average.model.weight.item() == pytest.approx(expected)


def test_each_step_of_the_optimiser_updates_the_average_and_the_statistics_of_batch_norm():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    average = Average(model, optimizer, 0.5)
    before = average.model[1].running_mean.clone()
    model(torch.rand(8, 2)).square().sum().backward()
    optimizer.step()
    assert average.updates == 1
    statistics = average.model[1]
    torch.testing.assert_close(statistics.running_mean, 0.1 * before + 0.9 * model[1].running_mean)
    assert statistics.num_batches_tracked == 1
    assert not any(parameter.requires_grad for parameter in average.model.parameters())


def test_averaged_leaks_and_thresholds_are_in_their_range():
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
    (averaged,) = average.model.neurons.values()
    assert averaged.leak.item() > 1
    assert lif.leak.item() == 1


def test_a_weight_with_two_names_is_averaged_once():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    model[1].weight = model[0].weight
    model[0].weight.data.fill_(0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    average = Average(model, optimizer, 0.1)
    model[0].weight.grad = torch.ones(1, 1)
    optimizer.step()
    for layer in average.model.children():
        assert layer.weight.item() == pytest.approx(-0.9)
