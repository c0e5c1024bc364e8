"""A watched PGD on a model small enough to follow by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hiresnn.audit.rules import LAST, RISE, PgdTrace, instability, trace_pgd


def linear(images: Tensor) -> Tensor:
    """Logits (a - b, 0) of the pixels a, b: class 0 where a > b."""
    a, b = images.flatten(1).unbind(1)
    return torch.stack([a - b, torch.zeros_like(a)], 1)


def pixels(*pairs: tuple[float, float]) -> Tensor:
    return torch.tensor(pairs).view(-1, 1, 1, 2)


ZERO = torch.zeros(1, dtype=torch.int64)


def test_the_losses_of_a_linear_model_are_those_worked_out_by_hand() -> None:
    # margin of class 0 = 0 - (a - b); each step of eps / 4 = 0.05 lowers a and raises b by 0.05, so it grows by 0.1.
    found = trace_pgd(linear, pixels((0.6, 0.4)), ZERO, eps=0.2, iterations=3, loss="margin")
    assert torch.allclose(found.loss[:, 0], torch.tensor([-0.2, -0.1, 0.0, 0.1]), atol=1e-6)
    assert torch.allclose(found.margin, torch.tensor([0.1]), atol=1e-6)
    assert torch.allclose(found.last, pixels((0.45, 0.55)), atol=1e-6)
    assert found.wrong[:, 0].tolist()[::3] == [False, True]  # at 0 the two are equal but for rounding
    assert found.broken.tolist() == [True]
    assert (found.zero.tolist(), found.zero_pixels.tolist()) == ([False], [0.0])


def test_the_named_loss_is_increased() -> None:
    found = trace_pgd(linear, pixels((0.6, 0.4)), ZERO, eps=0.2, iterations=1, loss="cross-entropy")
    # -log softmax(0.2, 0)_0 = log(1 + e^-0.2), and 0.1 after one step
    expected = torch.log1p(torch.exp(torch.tensor([-0.2, -0.1])))
    assert torch.allclose(found.loss[:, 0], expected, atol=1e-6)
    assert torch.allclose(found.margin, torch.tensor([-0.1]), atol=1e-6)  # the margin is watched all the same


def test_no_iterate_leaves_the_bound_or_the_range_of_pixels() -> None:
    # Class 1 is left by a larger a and a smaller b: 8 steps of 0.025 end at the bound of 0.1.
    found = trace_pgd(linear, pixels((0.05, 0.95)), torch.tensor([1]), eps=0.1, iterations=8, loss="margin")
    assert torch.allclose(found.last, pixels((0.15, 0.85)), atol=1e-6)
    # The other way the range of pixels ends at 0 and 1.
    found = trace_pgd(linear, pixels((0.05, 0.95)), ZERO, eps=0.1, iterations=8, loss="margin")
    assert torch.allclose(found.last, pixels((0.0, 1.0)), atol=1e-6)


def test_broken_images_stay_in_the_batch_to_the_end() -> None:
    calls = []

    def counted(images: Tensor) -> Tensor:
        calls.append(len(images))
        return linear(images)

    labels = torch.tensor([0, 1])
    found = trace_pgd(counted, pixels((0.6, 0.4), (0.6, 0.4)), labels, eps=0.02, iterations=4, loss="margin")
    assert calls == [2] * 5
    assert found.wrong[:, 1].all()
    assert found.broken.tolist() == [False, True]


def test_a_gradient_of_exactly_zero_is_seen_by_image_and_by_pixel() -> None:
    def steep(images: Tensor) -> Tensor:  # the first pixel alone, and that only above a half
        a = images.flatten(1)[:, 0]
        return torch.stack([torch.relu(a - 0.5), torch.zeros_like(a) - 1], 1)

    images, labels = pixels((0.7, 0.3), (0.2, 0.3)), torch.zeros(2, dtype=torch.int64)
    found = trace_pgd(steep, images, labels, eps=0.1, iterations=2, loss="margin")
    assert found.zero.tolist() == [False, True]
    assert found.zero_pixels.tolist() == [0.5, 1.0]
    assert torch.equal(found.last[1], images[1])


def test_zero_gradients_are_counted_at_the_clean_image() -> None:
    def ends(images: Tensor) -> Tensor:  # flat once the first pixel has left 0.6
        a = images.flatten(1)[:, 0]
        return torch.stack([a.clamp(min=0.59), torch.zeros_like(a)], 1)

    found = trace_pgd(ends, pixels((0.6, 0.5)), ZERO, eps=0.4, iterations=2, loss="margin")
    assert found.zero.tolist() == [False]


def of(losses: list[float], wrong: list[bool] | None = None) -> PgdTrace:
    """One image with these losses."""
    wrong = wrong or [False] * len(losses)
    nothing = torch.zeros(1)
    return PgdTrace(
        torch.tensor(losses)[:, None], nothing, torch.tensor(wrong)[:, None], nothing.bool(), nothing, nothing
    )


@pytest.mark.parametrize(
    ("wrong", "broken", "silent"),
    [
        ([False, False, False], False, False),
        ([False, True, False], True, True),
        ([True, False, False], True, True),
        ([False, True, True], True, False),
        ([False, False, True], True, False),
    ],
)
def test_a_success_is_silent_where_the_last_iterate_fails(wrong: list[bool], broken: bool, silent: bool) -> None:
    found = of([0.0] * 3, wrong)
    assert (found.broken.item(), found.silent.item()) == (broken, silent)


LONG = 2 * LAST
"""Steps of a climb whose second half is the last `LAST` steps."""


def long(at_half: float, end: float) -> list[float]:
    """From 0 to `at_half` by one step, still until half of the climb, then to `end` by its last step."""
    return [0.0, *[at_half] * LAST, *[at_half] * (LAST - 1), end]


@pytest.mark.parametrize(
    ("losses", "rising"),
    [
        (long(1 - RISE - 0.01, 1.0), True),  # 6 % of the climb in the last steps
        (long(1 - RISE + 0.01, 1.0), False),  # 4 %
        (long(1.0, 1.0), False),
        (long(1.0, 0.2), False),  # it fell: the best is what counts
        (long(0.0, 0.0), False),  # a flat loss does not rise
        (long(0.0, 1e-6), True),
        ([*[1.0] * LAST, 0.0, *[0.5] * LAST], False),  # back up, not above the best
        ([0.0, *[9.0] * (LAST - 1), 9.0, *[9.0] * (LAST - 1), 9.4], False),  # 0.4 of 9.4 is 4.3 %
        ([-9.0, *[0.0] * LAST, *[0.0] * (LAST - 1), 0.6], True),  # 0.6 of 9.6 is 6.3 %
    ],
)
def test_a_loss_is_rising_if_its_best_gains_more_than_a_share_in_the_last_steps(
    losses: list[float], rising: bool
) -> None:
    assert len(losses) == LONG + 1
    assert of(losses).rising.item() == rising


def test_the_last_steps_of_a_short_run_are_its_second_half() -> None:
    assert of([0.0, 0.5, 1.0, 1.0, 1.0]).rising.item() is False
    assert of([0.0, 0.5, 0.5, 0.5, 1.0]).rising.item() is True
    assert of([0.0]).rising.item() is False


def test_a_broken_image_does_not_count_as_rising() -> None:
    losses = long(0.5, 1.0)
    assert of(losses).rising.item() is True
    assert of(losses, [*[False] * LONG, True]).rising.item() is False


def logits(score: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Two classes whose cross-entropy at class 0 is `score`: -log softmax(-log(e^s - 1), 0)_0 = s."""

    def model(images: Tensor) -> Tensor:
        s = score(images.flatten(1))
        return torch.stack([-torch.log(torch.expm1(s)), torch.zeros_like(s)], 1)

    return model


IMAGES, LABELS = pixels((0.5, 0.5), (0.4, 0.6)), torch.zeros(2, dtype=torch.int64)


def test_a_constant_model_is_stable() -> None:
    found = instability(logits(lambda flat: torch.ones(len(flat))), IMAGES, LABELS)
    assert found.tolist() == [0.0, 0.0]


def test_the_change_is_relative_to_the_loss_at_the_image() -> None:
    # s = c (1 + r / R) with r uniform in [-R, R]: |change| / c is uniform in [0, 1], so 1/2 in the mean, whatever c.
    def score(flat: Tensor) -> Tensor:
        centre = torch.tensor([0.5, 0.4])
        return torch.tensor([0.5, 3.0]) * (1 + (flat[:, 0] - centre) * 255 / 8)

    torch.manual_seed(0)
    found = instability(logits(score), IMAGES, LABELS, directions=2000)
    assert found.tolist() == pytest.approx([0.5, 0.5], abs=0.03)  # 4 standard deviations: 4 * 0.29 / sqrt(2000)


def test_no_change_counts_more_than_one() -> None:
    def score(flat: Tensor) -> Tensor:
        at_the_image = (flat[:, 0] == flat.new_tensor([0.5, 0.4])).float()
        return 5 - 4.9 * at_the_image  # 0.1 there, 5 everywhere else: a change of 49 times

    torch.manual_seed(0)
    assert instability(logits(score), IMAGES, LABELS, directions=5).tolist() == [1.0, 1.0]
