"""The loss of distillation against its equation, term by term."""

import math

import pytest
import torch
from torch import nn

from hiresnn.training import Distillation, Presentation

IMAGES = torch.rand(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 2, 1, 2])


def teacher():
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Dropout(0.5))


@pytest.mark.parametrize(("weight", "t"), [(0.7, 1.0), (0.7, 2.0), (0.0, 1.0), (1.0, 1.5)])
def test_the_loss_is_that_of_its_equation(weight, t):
    student, master = torch.randn(4, 3, generator=torch.Generator().manual_seed(2)), teacher()
    shown = (IMAGES + 0.3).clamp(0, 1)  # the teacher sees the image, not this
    seen = Presentation(nn.Identity(), IMAGES, shown, LABELS, 6 * student, 6, None)
    expected = 0.0
    for image, label, logits in zip(IMAGES, LABELS, student, strict=True):
        p = [math.exp(z / t) for z in master.eval()(image[None])[0].tolist()]
        q = [math.exp(z / t) for z in logits.tolist()]
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        divergence = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        expected += ((1 - weight) * -math.log(logits.softmax(0)[label]) + weight * t**2 * divergence) / 4
    assert Distillation(teacher(), weight, t)(seen).item() == pytest.approx(expected, rel=1e-5)


def test_the_teacher_is_used_in_eval_mode_gets_no_gradient_and_stays_as_it_is():
    master = teacher().train()
    loss = Distillation(master)
    logits = torch.randn(4, 3, requires_grad=True)
    seen = Presentation(nn.Identity(), IMAGES, IMAGES, LABELS, logits, 1, None)
    assert loss(seen) == loss(seen)  # no dropout
    loss(seen).backward()
    assert logits.grad is not None
    assert all(parameter.grad is None and parameter.requires_grad for parameter in master.parameters())
    assert master.training
