"""The learning rate falls in steps at given fractions of the epochs (section 5.1)."""

import pytest

from hiresnn.training import Schedule


def rates(epochs: int, lr: float, decay: float, milestones: tuple[float, ...]) -> list[float]:
    schedule = Schedule(epochs, lr, decay, milestones)
    return [schedule.rate(epoch) for epoch in range(epochs)]


def test_the_snn_rate_of_the_paper_is_divided_by_five_before_epochs_19_25_and_28_of_30() -> None:
    expected = [1e-4] * 18 + [2e-5] * 6 + [4e-6] * 3 + [8e-7] * 3
    assert rates(30, 1e-4, 0.2, (0.6, 0.8, 0.9)) == pytest.approx(expected)


def test_the_ann_rate_of_the_paper_is_divided_by_ten_before_epochs_151_181_and_211_of_240() -> None:
    expected = [1e-2] * 150 + [1e-3] * 30 + [1e-4] * 30 + [1e-5] * 30
    assert rates(240, 0.01, 0.1, (0.625, 0.75, 0.875)) == pytest.approx(expected)


def test_a_fraction_between_two_epochs_is_rounded_to_the_nearest() -> None:
    # 0.6 and 0.8 of 3 epochs are 1.8 and 2.4.
    assert rates(3, 1.0, 0.5, (0.6, 0.8)) == [1.0, 1.0, 0.25]


def test_without_milestones_the_rate_stays() -> None:
    assert rates(4, 0.3, 0.1, ()) == [0.3] * 4


def test_the_default_is_the_snn_schedule_of_the_paper() -> None:
    schedule = Schedule(30, 1e-4)
    assert [schedule.rate(epoch) for epoch in range(30)] == rates(30, 1e-4, 0.2, (0.6, 0.8, 0.9))


def test_a_cyclic_rate_rises_to_its_peak_at_two_fifths_and_falls_to_zero() -> None:
    schedule = Schedule(10, 1.0, cyclic=True)
    # In the middle of epoch e, (e + 1/2) / 10 of the training is done.
    expected = [0.125, 0.375, 0.625, 0.875, 0.55 / 0.6, 0.45 / 0.6, 0.35 / 0.6, 0.25 / 0.6, 0.15 / 0.6, 0.05 / 0.6]
    assert [schedule.rate(epoch) for epoch in range(10)] == pytest.approx(expected)
