import pytest
import torch
from torch import nn

from hiresnn.attacks import fgsm, pgd


def classifier():
    """Logits (x0 - 2 x1, 0 x0 + x1) of two pixels: for class 0 the loss falls along (1, -3)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, -2.0], [0.0, 1.0]]))
    return model


IMAGES = torch.tensor([[0.5, 0.5], [0.0625, 0.9375], [0.5, 0.5]]).view(3, 1, 1, 2)
LABELS = torch.tensor([0, 0, 1])


def test_every_pixel_moves_by_eps_against_its_class():
    # Class 0: x0 goes down and x1 up; the second image meets black and white. Class 1: the reverse.
    adversarial = fgsm(classifier(), IMAGES, LABELS, eps=0.125)
    assert adversarial.view(3, 2).tolist() == [[0.375, 0.625], [0.0, 1.0], [0.625, 0.375]]


def test_fgsm_is_one_pgd_step_of_size_eps():
    model = classifier()
    assert torch.equal(
        fgsm(model, IMAGES, LABELS, eps=0.1), pgd(model, IMAGES, LABELS, eps=0.1, step=0.1, iterations=1)
    )


def test_the_default_eps_is_that_of_the_paper():
    moved = fgsm(classifier(), IMAGES[:1], LABELS[:1]) - IMAGES[:1]
    assert moved.abs().flatten().tolist() == pytest.approx([8 / 255] * 2, abs=1e-6)


def test_pixels_without_gradient_do_not_move():
    assert torch.equal(fgsm(lambda rows: rows.flatten(1) * 0, IMAGES, LABELS), IMAGES)
