"""Correct answers and accuracy, compared with a loop over single logits."""

import math

import torch

from hiresnn.checks import Accuracy, correct


def slow_correct(logits, labels):
    """Decide every row with Python floats."""
    answers = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        answers.append(all(math.isfinite(value) for value in row) and row.index(max(row)) == label)
    return answers


def test_correct_equals_a_loop_over_rows():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 5, generator=generator).round(decimals=1)  # coarse, so that ties occur
    logits[torch.rand(200, 5, generator=generator) < 0.05] = float("nan")
    logits[torch.rand(200, 5, generator=generator) < 0.05] = float("-inf")
    labels = torch.randint(0, 5, (200,), generator=generator)
    expected = slow_correct(logits, labels)
    assert correct(logits, labels).tolist() == expected
    assert 10 < sum(expected) < 100
    assert not correct(torch.full((1, 3), float("nan")), torch.tensor([0])).any()  # argmax alone answers 0


def test_accuracy_adds_up_batches_of_different_size():
    accuracy = Accuracy()
    accuracy.update(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
    accuracy.update(torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
    accuracy.update(torch.tensor([[0.0, 1.0]]), torch.tensor([1]))
    assert (accuracy.right, accuracy.seen, accuracy.compute()) == (3, 4, 75.0)


def test_accuracy_before_the_first_batch_is_zero():
    assert Accuracy().compute() == 0
