import pytest
import torch
from torch import Tensor

from hiresnn.attacks.losses import (
    LOSSES,
    cross_entropy,
    dlr,
    dlr_targeted,
    loss_gradient,
    margin,
    named,
    towards,
)
from hiresnn.errors import UsageError

LOGITS = torch.tensor([[1.0, 4.0, 2.0, 0.0], [5.0, 1.0, 3.0, 2.0]])
LABELS = torch.tensor([2, 0])


def test_the_margin_is_how_far_the_best_other_class_leads() -> None:
    assert margin(LOGITS, LABELS).tolist() == [2, -2]


def test_dlr_divides_the_margin_by_the_lead_of_the_first_over_the_third() -> None:
    # (4 - 2) / (4 - 1), (3 - 5) / (5 - 2)
    torch.testing.assert_close(dlr(LOGITS, LABELS), torch.tensor([2 / 3, -2 / 3]))


def test_targeted_dlr_is_the_lead_of_the_target() -> None:
    # (0 - 2) / (4 - (1 + 0) / 2), (2 - 5) / (5 - (2 + 1) / 2)
    expected = torch.tensor([-2 / 3.5, -3 / 3.5])
    torch.testing.assert_close(dlr_targeted(LOGITS, LABELS, torch.tensor([3, 3])), expected)
    torch.testing.assert_close(towards(torch.tensor([3, 3]))(LOGITS, LABELS), expected)


def test_cross_entropy_is_per_sample() -> None:
    # log(1 + e^5), log(1 + e^3)
    found = cross_entropy(torch.tensor([[50.0, 45.0], [0.0, -3.0]]), torch.tensor([1, 1]))
    torch.testing.assert_close(found, torch.tensor([5.0067153, 3.0485873]))


def test_dlr_does_not_see_the_scale_of_the_logits() -> None:
    torch.testing.assert_close(dlr(1e4 * LOGITS, LABELS), dlr(LOGITS, LABELS))


def test_only_losses_of_differences_keep_a_gradient_at_huge_logits() -> None:
    def model(images: Tensor) -> Tensor:
        return 1e4 * images.flatten(1)

    images = torch.tensor([[[[0.9, 0.1, 0.3]]]])
    labels = torch.tensor([0])
    assert not loss_gradient(model, images, labels, cross_entropy).gradient.any()
    assert loss_gradient(model, images, labels, margin).gradient.flatten().tolist() == [-1e4, 0, 1e4]
    assert loss_gradient(model, images, labels, dlr).gradient.any()


def test_one_climb_returns_logits_loss_and_gradient_of_each_sample() -> None:
    weight = torch.tensor([[1.0, -2.0], [0.0, 3.0]])
    images = torch.tensor([0.5, 0.25, 0.0, 1.0]).view(2, 1, 1, 2)
    climb = loss_gradient(lambda x: x.flatten(1) @ weight.T, images, torch.tensor([0, 1]), margin)
    assert climb.logits.tolist() == [[0.0, 0.75], [-2.0, 3.0]]
    assert climb.loss.tolist() == [0.75, -5.0]
    assert climb.gradient.flatten(1).tolist() == [[-1.0, 5.0], [1.0, -5.0]]
    assert not any(each.requires_grad for each in climb)


def test_too_few_classes_are_told_with_the_mend() -> None:
    with pytest.raises(UsageError, match="loss 'dlr' needs 3 classes, the model has 2; use 'margin'"):
        dlr(LOGITS[:, :2], LABELS * 0)
    with pytest.raises(UsageError, match="loss 'dlr-targeted' needs 4 classes, the model has 3"):
        dlr_targeted(LOGITS[:, :3], LABELS, LABELS)


def test_a_loss_is_found_by_its_name() -> None:
    assert named("margin") is LOSSES["margin"] is margin
    with pytest.raises(UsageError, match="loss is 'dlt'; choose one of cross-entropy, margin, dlr, dlr-targeted"):
        named("dlt", "dlr-targeted")
