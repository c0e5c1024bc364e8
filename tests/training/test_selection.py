"""Choosing an epoch by robust accuracy, and going back from catastrophic overfitting."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hiresnn.attacks import fgsm, pgd
from hiresnn.training import Average, Method, Schedule, Selection, Training


def images():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 3
    pixels = torch.rand(60, 1, 2, 2, generator=generator) * 0.5
    pixels[range(60), 0, labels // 2, labels % 2] += 0.5
    return pixels, labels


def training(select="last", average=False, epochs=3):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    averaged = Average(model, optimizer, 0.9) if average else None
    chosen = Selection(*images(), eps=0.1, select=select)
    return Training(model, optimizer, [images()], Method(), Schedule(epochs, 0.1), average=averaged, selection=chosen)


def run(subject, accuracies=None):
    """Train to the end; the held-out accuracies of each epoch are `accuracies` if given."""
    if accuracies is not None:
        subject.selection.measure = lambda network: accuracies.pop(0)
    subject.run()
    return subject.rows


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def measured(fgsm, pgd):
    return {"clean": 90.0, "fgsm": fgsm, "pgd": pgd}


def test_each_epoch_is_measured_clean_and_under_fgsm_and_ten_steps_of_pgd():
    subject = training(epochs=1)
    (row,) = run(subject)
    pixels, labels = images()
    model = subject.model.eval()

    def percent(shown):
        return 100 * (model(shown).argmax(1) == labels).float().mean().item()

    expected = {
        "clean": percent(pixels),
        "fgsm": percent(fgsm(model, pixels, labels, eps=0.1)),
        "pgd": percent(pgd(model, pixels, labels, eps=0.1, step=0.025, iterations=10)),
    }
    assert row["held_out"] == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("select", "best"), [("robust", 2), ("last", 3)])
def test_the_epoch_with_the_highest_robust_accuracy_is_taken(select, best):
    subject = training(select)
    after: list[dict[str, Tensor]] = []
    accuracies = [measured(60, 50), measured(65, 58), measured(64, 57)]
    subject.selection.measure = lambda network: (after.append(weights(network)), accuracies.pop(0))[1]
    run(subject)
    assert equal(weights(subject.model), after[best - 1])


def test_after_catastrophic_overfitting_the_training_goes_on_from_the_best_epoch():
    subject, after = training(), []
    accuracies = [measured(60, 50), measured(85, 20), measured(60, 50)]
    subject.selection.measure = lambda network: (after.append(weights(network)), accuracies.pop(0))[1]
    now: list[dict[str, Tensor]] = []
    subject.after = lambda row: now.append(weights(subject.model))
    subject.run()
    assert [row.get("back_to_epoch") for row in subject.rows] == [None, 1, None]
    assert equal(now[1], after[0])


@pytest.mark.parametrize(
    ("fgsm", "pgd", "overfitted"),
    [(75, 30, True), (61, 49, False), (75, 51, False), (40, 30, False)],
    ids=["the gap opens", "the gap stays", "both rise", "both fall"],
)
def test_overfitting_is_a_gap_that_opens_while_robustness_falls(fgsm, pgd, overfitted):
    selection = Selection(*images(), eps=0.1)
    assert not selection.overfitted(measured(fgsm, pgd))  # nothing to compare with yet
    selection.consider(1, measured(60, 50), {})
    assert selection.overfitted(measured(fgsm, pgd)) is overfitted


def test_the_averaged_network_is_measured_and_returned():
    subject, seen = training(average=True, epochs=2), []
    assert subject.average is not None
    subject.selection.measure = lambda network: (seen.append(network), measured(60, 50))[1]
    run(subject)
    assert all(network is subject.average.model for network in seen)
    assert equal(weights(subject.model), weights(subject.average.model))


def test_going_back_a_second_time_restores_the_same_momentum():
    subject, found = training(epochs=3), []
    accuracies = [measured(60, 50), measured(90, 20), measured(90, 20)]
    subject.selection.measure = lambda network: accuracies.pop(0)

    def after(row):
        if "back_to_epoch" in row:
            found.append([state["momentum_buffer"].clone() for state in subject.optimizer.state.values()])

    subject.after = after
    subject.run()
    assert len(found) == 2
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))


@pytest.mark.parametrize("select", ["last", "robust"])
def test_a_resumed_training_ends_with_the_same_bits(select):
    def accuracies():
        return [measured(60, 50), measured(90, 20), measured(60, 40), measured(60, 45)]

    whole = training(select, average=True, epochs=4)
    run(whole, accuracies())
    for stopped_after in (1, 2, 3):
        first = training(select, average=True, epochs=4)
        values = accuracies()
        first.selection.measure = lambda network, values=values: values.pop(0)
        states: list[dict[str, Any]] = []
        first.after = lambda row, first=first, states=states: states.append(copy.deepcopy(first.state_dict()))
        first.run()
        second = training(select, average=True, epochs=4)
        second.load_state_dict(states[stopped_after - 1])
        run(second, accuracies()[stopped_after:])
        assert equal(weights(second.model), weights(whole.model))
