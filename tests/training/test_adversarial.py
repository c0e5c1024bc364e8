"""Adversarial training noise: each kind against its equation, on networks whose gradients are known."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hiresnn.training import ANN_TRAININGS, Adversarial, Presentation, ann_method, method

EPS = 0.1


class Slope(nn.Module):
    """Logits (0, w x) of images of one pixel: for label 0 the loss rises with x, for label 1 it falls."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(2.0))
        self.seen: list[Tensor] = []

    def forward(self, images):
        self.seen.append(images.detach().clone())
        pixels = images.flatten(1)
        return torch.cat([torch.zeros_like(pixels), self.w * pixels], 1)


def batch():
    return torch.tensor([0.5, 0.5, 0.99, 0.01]).view(4, 1, 1, 1), torch.tensor([0, 1, 0, 1])


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))


def test_n_fgsm_starts_in_twice_the_ball_and_is_neither_projected_nor_clipped_before_it_is_shown():
    images, labels = batch()
    model, noise = Slope(), ANN_TRAININGS["n-fgsm"](EPS)
    torch.manual_seed(3)
    noise.begin(model, images, labels)
    torch.manual_seed(3)
    eta = (torch.rand(images.shape) * 2 - 1) * 2 * EPS
    torch.testing.assert_close(model.seen[0], images + eta)  # outside [0, 1] for the last two, by chance of the seed
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0]).view(4, 1, 1, 1)
    torch.testing.assert_close(noise.apply(images), (images + eta + EPS * sign).clamp(0, 1))
    assert model.w.grad is None


def test_fgsm_is_one_signed_step_from_the_image():
    images, labels = batch()
    noise = ANN_TRAININGS["fgsm"](EPS)
    noise.begin(Slope(), images, labels)
    assert noise.apply(images).flatten().tolist() == pytest.approx([0.6, 0.4, 1.0, 0.0])


@pytest.mark.parametrize("name", ["pgd", "trades"])
def test_iterated_noise_stays_within_the_ball_and_the_pixel_range(name):
    images, labels = batch()
    noise, model = ANN_TRAININGS[name](EPS), Slope()
    noise.begin(model, images, labels)
    shown = noise.apply(images)
    assert (shown - images).abs().max() <= EPS + 1e-6
    assert all(seen.min() >= 0 and seen.max() <= 1 for seen in model.seen)
    if name == "pgd":  # seven steps of a quarter of eps reach the boundary from any start
        assert shown.flatten().tolist() == pytest.approx([0.6, 0.4, 1.0, 0.0])


def test_pgd_equals_a_loop_by_hand_on_a_network():
    model, images, labels = small(), torch.rand(5, 3, 2, 2), torch.tensor([0, 1, 2, 0, 1])
    noise = Adversarial(0.02, start=EPS, bound=EPS, iterations=3)
    torch.manual_seed(1)
    noise.begin(model, images, labels)
    torch.manual_seed(1)
    shown = (images + (torch.rand(images.shape) * 2 - 1) * EPS).clamp(0, 1)
    for _ in range(3):
        shown.requires_grad_()
        F.cross_entropy(model(shown), labels).backward()
        step = shown.detach() + 0.02 * shown.grad.sign()
        shown = torch.max(torch.min(step, images + EPS), images - EPS).clamp(0, 1)
    torch.testing.assert_close(noise.apply(images), shown)


@pytest.mark.parametrize("craft_loss", ["cross-entropy", "margin"])
def test_n_fgsm_ascends_the_loss_that_it_is_given(craft_loss):
    """Logits (0, 3 x, 2 x - y) for label 0: class 1 leads, so the margin ignores the pixel y, which class 2 sees."""
    weight = torch.tensor([[0.0, 0.0], [3.0, 0.0], [2.0, -1.0]])
    images, labels = torch.full((1, 1, 1, 2), 0.5), torch.tensor([0])
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 3, bias=False))
    model[1].weight.data = weight
    noise = ann_method("fgsm", eps=EPS, craft_loss=craft_loss).noise
    noise.begin(model, images, labels)
    y = 0.4 if craft_loss == "cross-entropy" else 0.5
    assert noise.apply(images).flatten().tolist() == pytest.approx([0.6, y])


def test_trades_pushes_the_prediction_away_from_that_on_the_image_whatever_the_label_says():
    model, images = small(), torch.rand(5, 3, 2, 2)
    found = []
    for labels in (torch.zeros(5, dtype=torch.int64), torch.ones(5, dtype=torch.int64)):
        noise = ANN_TRAININGS["trades"](EPS)
        torch.manual_seed(0)
        noise.begin(model, images, labels)
        found.append(noise.apply(images))
    assert torch.equal(*found)
    target = model(images).detach().softmax(1)

    def divergence(shown):
        return (target * (target.log() - model(shown).log_softmax(1))).sum()

    generator = torch.Generator().manual_seed(1)
    random = [(images + EPS * torch.randn(images.shape, generator=generator).sign()).clamp(0, 1) for _ in range(20)]
    assert divergence(found[0]) > max(divergence(each) for each in random)


def test_label_smoothing_is_that_of_the_definition():
    model, images, labels = small(), torch.rand(4, 3, 2, 2), torch.tensor([0, 1, 2, 0])
    seen = Presentation(model, images, images, labels, model(images), 1, None)
    target = F.one_hot(labels, 3) * 0.9 + 0.1 / 3
    expected = -(target * model(images).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(ann_method("n-fgsm", smoothing=0.1).loss(seen), expected)


def test_hire_nfgsm_shows_eta_and_then_eta_with_one_signed_step():
    noise = method("hire-nfgsm", periods=2, step=EPS, bound=0.05).noise
    images, labels = batch()
    torch.manual_seed(5)
    noise.begin(nn.Identity(), images, labels)
    torch.manual_seed(5)
    eta = (torch.rand(images.shape) * 2 - 1) * 0.1
    torch.testing.assert_close(noise.apply(images), (images + eta).clamp(0, 1))
    gradient = torch.tensor([3.0, -0.1, 1.0, 0.0]).view(4, 1, 1, 1)
    for _ in range(2):  # a second update starts from eta again
        noise.update(gradient)
        torch.testing.assert_close(noise.apply(images), (images + eta + EPS * gradient.sign()).clamp(0, 1))
