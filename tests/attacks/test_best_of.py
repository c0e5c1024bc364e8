import pytest
import torch
from torch import Tensor

from hiresnn.attacks.best_of import Worst, best_of
from hiresnn.attacks.gate import Model
from hiresnn.errors import UsageError


def two_classes(images: Tensor) -> Tensor:
    """Class 0 where the one pixel is below 0.5; margin loss 2 x - 1 for label 0."""
    x = images.flatten(1)
    return torch.cat([1 - x, x], 1)


def pixels(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1)


LABELS = torch.tensor([0, 0, 0])


def test_an_image_that_is_misclassified_as_it_is_is_settled() -> None:
    worst = Worst(two_classes, pixels(0.1, 0.7, 0.3), LABELS)
    assert worst.broken.tolist() == [False, True, False]
    assert worst.standing.tolist() == [0, 2]


def test_the_first_misclassified_candidate_is_kept_whatever_comes_after() -> None:
    worst = Worst(two_classes, pixels(0.1, 0.1, 0.1), LABELS)
    everyone = worst.standing
    assert worst.show(everyone, pixels(0.6, 0.2, 0.3)).tolist() == [True, False, False]
    assert worst.show(everyone, pixels(0.9, 0.4, 0.2)).tolist() == [True, False, False]
    torch.testing.assert_close(worst.adversarial.flatten(), torch.tensor([0.6, 0.4, 0.3]))
    assert worst.standing.tolist() == [1, 2]


def test_rows_name_the_images_that_candidates_belong_to() -> None:
    worst = Worst(two_classes, pixels(0.1, 0.2, 0.3), LABELS)
    worst.show(torch.tensor([2, 1]), pixels(0.8, 0.25))
    torch.testing.assert_close(worst.adversarial.flatten(), torch.tensor([0.1, 0.25, 0.8]))
    assert worst.standing.tolist() == [0, 1]


def test_no_rows_is_no_forward_pass() -> None:
    worst = Worst(two_classes, pixels(0.7), LABELS[:1])
    worst.model = None  # type: ignore[assignment]
    assert worst.show(worst.standing, pixels()).shape == (0,)


def brighter(by: float) -> object:
    def attack(model: Model, images: Tensor, labels: Tensor) -> Tensor:
        attack.seen.append(len(images))  # type: ignore[attr-defined]
        return images + by

    attack.seen = []  # type: ignore[attr-defined]
    return attack


def test_the_best_of_several_attacks_shows_each_only_what_still_stands() -> None:
    first, second = brighter(0.25), brighter(0.3)
    found = best_of([first, second])(two_classes, pixels(0.3, 0.1, 0.22), LABELS)  # type: ignore[list-item]
    torch.testing.assert_close(found.flatten(), torch.tensor([0.55, 0.4, 0.52]))
    assert first.seen == [3]  # type: ignore[attr-defined]
    assert second.seen == [2]  # type: ignore[attr-defined]


def test_the_best_of_no_attack_is_refused() -> None:
    with pytest.raises(UsageError, match="no attack"):
        best_of([])
