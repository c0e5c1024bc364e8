import torch

from hiresnn.attacks.adaptive import Checkpoints, lengths


def test_checkpoints_get_closer_during_a_run() -> None:
    # of 100: 22, then 3 fewer each, never below 6
    assert lengths(100) == [22, 19, 16, 13, 10, 7, 6, 6]
    assert lengths(10) == [2, 1, 1, 1, 1, 1, 1, 1, 1]
    assert lengths(1) == [1]
    assert lengths(0) == []


def followed(*losses: float, iterations: int = 20) -> list[bool]:
    """Whether the step is halved after each loss but the first. Of 20 iterations checkpoints are at 4, 7, 9, 10..."""
    checkpoints = Checkpoints(iterations, torch.tensor([float(losses[0])]))
    return [bool(checkpoints.halve(torch.tensor([float(loss)]))) for loss in losses[1:]]


def test_a_step_that_raises_the_loss_is_not_halved() -> None:
    assert followed(*range(12)) == [False] * 11


def test_a_step_is_halved_unless_more_than_three_quarters_of_the_steps_rise() -> None:
    # three of four rise; then, up to the checkpoint at 7, three of three; up to 9, two of two
    assert followed(0, 1, 2, 3, 2.5, 3, 4, 5, 6, 7) == [False] * 3 + [True] + [False] * 5


def test_a_step_is_halved_if_it_was_not_before_and_the_best_loss_has_not_changed() -> None:
    # 18 of 22 steps rise, which is enough, and the last falls far; then all 19 rise, but stay below the best of 18
    first = [*range(1, 19), 17, 16, 15, 1]
    second = [1 + 0.5 * k for k in range(1, 20)]
    found = followed(0, *first, *second, iterations=100)
    assert [index for index, halved in enumerate(found, 1) if halved] == [22 + 19]


def test_each_sample_has_its_own_decision() -> None:
    checkpoints = Checkpoints(4, torch.zeros(2))  # a checkpoint at every step
    assert checkpoints.halve(torch.tensor([1.0, -1.0])).tolist() == [False, True]


def test_nothing_is_halved_after_the_last_checkpoint() -> None:
    assert followed(0, -1, -2, iterations=1) == [True, False]
