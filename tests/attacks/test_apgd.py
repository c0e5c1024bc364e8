import pytest
import torch
from torch import Tensor

from hiresnn.attacks import apgd


class Valley:
    """Logits (0, -|x - top|) of the one pixel x: the loss of label 0 is highest at `top`, and never misclassified.

    Remembers every x that it is asked for.
    """

    def __init__(self, top: float) -> None:
        self.top, self.seen = top, list[float]()

    def __call__(self, images: Tensor) -> Tensor:
        x = images.flatten(1)
        self.seen.append(x[0, 0].item())
        return torch.cat([torch.zeros_like(x), -(x - self.top).abs()], 1)


IMAGE, LABEL = torch.tensor([[[[0.5]]]]), torch.tensor([0])


def run(model: Valley, iterations: int) -> Tensor:
    return apgd(model, IMAGE, LABEL, eps=0.2, iterations=iterations, loss="margin", generator=torch.Generator())


def test_apgd_makes_the_steps_worked_out_by_hand() -> None:
    model = Valley(0.5)
    run(model, 4)
    # The start is stretched to an edge of the ball, say 0.3. The step 2 eps = 0.4 leads to the other edge, 0.7, and
    # to the first checkpoint (of 4 iterations every one is): no rise, so the step is halved and the best, 0.3, is
    # where it goes on. 0.2 from there is 0.5, of which 0.75 are taken: 0.45, a rise. Then 0.75 of the next 0.2 and
    # 0.25 of the move before, 0.15: 0.6375.
    start = model.seen[1]
    assert abs(start - 0.5) == pytest.approx(0.2)
    walk = [0.3, 0.7, 0.45, 0.6375]
    expected = walk if start < 0.5 else [1 - x for x in walk]
    assert model.seen[:5] == pytest.approx([0.5, *expected], abs=1e-6)


def test_halving_the_step_finds_a_maximum_between_full_steps() -> None:
    found = run(Valley(0.5371), 100)
    assert found.item() == pytest.approx(0.5371, abs=1e-3)


def test_the_best_iterate_is_returned_not_the_last() -> None:
    model = Valley(0.61)
    found = run(model, 10)
    assert abs(found.item() - 0.61) == pytest.approx(min(abs(x - 0.61) for x in model.seen))


def test_targets_are_attacked_from_the_most_to_the_least_likely_class() -> None:
    """Class 3, the third best, is the only one that the ball reaches."""
    weight = torch.tensor([[1.0, 1.0], [0.98, 0.98], [0.9, 0.9], [0.0, 1.2]])

    def model(images: Tensor) -> Tensor:
        return images.flatten(1) @ weight.T

    images = torch.full((1, 1, 1, 2), 0.5)  # logits 1, 0.98, 0.9, 0.6; class 3 wins where 0.2 x_2 > x_1
    labels = torch.tensor([0])

    def broken(targets: int) -> bool:
        found = apgd(
            model, images, labels, eps=0.45, iterations=20, loss="dlr-targeted", targets=targets,
            generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        return bool(model(found).argmax() != 0)

    assert broken(3)
    assert model(torch.tensor([[[[0.05, 0.95]]]])).argmax() == 3
