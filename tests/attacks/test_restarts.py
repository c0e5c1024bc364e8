import pytest
import torch
from torch import Tensor

from hiresnn.attacks import pgd, pgd_restarts, unbroken
from hiresnn.errors import UsageError


class Trap:
    """One pixel x: wrong (class 1) in a narrow gap alone, while the loss goes on rising beyond it.

    From 0.5 steps of 0.1 lead through 0.6, the gap, to the edge of the ball at 0.8.
    """

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        x = images.flatten(1)
        inside = ((x - 0.6).abs() < 0.01) * 10.0
        return torch.cat([torch.zeros_like(x), x - 1 + inside], 1)


IMAGES = torch.tensor([0.5, 0.1]).view(2, 1, 1, 1)
LABELS = torch.tensor([0, 0])


def test_a_successful_iterate_counts_even_if_the_last_one_fails() -> None:
    last = pgd(Trap(), IMAGES, LABELS, eps=0.3, step=0.1, iterations=5)
    found = pgd_restarts(Trap(), IMAGES, LABELS, eps=0.3, step=0.1, iterations=5, restarts=1)
    assert last.flatten().tolist() == pytest.approx([0.8, 0.4])
    assert found.flatten().tolist() == pytest.approx([0.6, 0.4])


def test_a_broken_image_leaves_the_batch() -> None:
    model = Trap()
    pgd_restarts(model, IMAGES, LABELS, eps=0.3, step=0.1, iterations=3, restarts=2)
    # the images themselves, then the gap at 0.6; the other image takes what remains of both starts
    assert model.sizes == [2, 2, 1, 1, 1, 1, 1, 1]


def test_the_search_stops_when_all_images_are_broken() -> None:
    model = Trap()
    pgd_restarts(model, IMAGES[:1], LABELS[:1], eps=0.3, step=0.1, iterations=50, restarts=4)
    assert model.sizes == [1, 1]


def test_a_second_start_breaks_an_image_that_the_first_cannot() -> None:
    # a gap at 0.35, off every step from 0.5; the loss falls towards it
    def model(images: Tensor) -> Tensor:
        x = images.flatten(1)
        return torch.cat([torch.zeros_like(x), x - 1 + ((x - 0.35).abs() < 0.02) * 10.0], 1)

    def wrong(restarts: int) -> bool:
        options = {"eps": 0.2, "step": 0.1, "iterations": 3, "restarts": restarts}
        found = pgd_restarts(model, IMAGES[:1], LABELS[:1], generator=torch.Generator().manual_seed(0), **options)
        return bool(model(found).argmax() == 1)

    assert not wrong(1)
    assert wrong(60)


def test_unbroken_agrees_with_the_images_of_pgd_restarts() -> None:
    options = {"eps": 0.3, "step": 0.1, "iterations": 5}
    found, model = pgd_restarts(Trap(), IMAGES, LABELS, restarts=1, **options), Trap()
    assert unbroken(model, IMAGES, LABELS, **options).tolist() == [False, True]
    assert (Trap()(found).argmax(1) == LABELS).tolist() == [False, True]
    # the images, the gap at 0.6 for the first, then the other alone; its last iterate
    assert model.sizes == [2, 2, 1, 1, 1, 1]


def test_unbroken_checks_its_images_and_options_and_works_inside_inference_mode() -> None:
    options = {"eps": 0.3, "step": 0.1}
    expected = unbroken(Trap(), IMAGES, LABELS, **options)
    assert expected.tolist() == [False, True]
    with torch.inference_mode():
        assert torch.equal(unbroken(Trap(), IMAGES.clone(), LABELS, **options), expected)
    with pytest.raises(UsageError, match="divide by 255"):
        unbroken(Trap(), 255 * IMAGES, LABELS, **options)
    with pytest.raises(UsageError, match="eps"):
        unbroken(Trap(), IMAGES, LABELS, eps=-0.1)
