"""The L2 ball: directions, the projection to ball and valid range, exact optima of linear models, foolbox, the gate."""

import math
import warnings
from typing import Literal

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from hiresnn.attacks import ATTACKS, check, fgsm, parse, pgd, register, verified
from hiresnn.attacks.adaptive import MomentumStep
from hiresnn.attacks.ball import Ball, unit
from hiresnn.attacks.gate import distances, relative_step
from hiresnn.attacks.losses import LossGradient
from hiresnn.errors import AttackError, UsageError
from hiresnn.models import build
from hiresnn.network import convert

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # foolbox imports from a place that SciPy has deprecated
    import eagerpy
    import foolbox


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [1e-40, 1e-30, 1.0, 1e30])
def test_a_direction_has_length_1_also_where_its_square_leaves_float32(size):
    directions = unit(size * torch.tensor([[[3.0, 4.0]], [[0.0, 0.0]]]))
    assert directions.flatten().tolist() == pytest.approx([0.6, 0.8, 0.0, 0.0], abs=1e-4)  # 1e-40 is denormal


def test_the_projection_by_hand():
    # Room of 0.1 for the first pixel; the second may move by sqrt(0.25^2 - 0.1^2) = 0.2291. The other image is inside.
    images = torch.tensor([[0.9, 0.5], [0.5, 0.5]]).view(2, 1, 1, 2)
    change = torch.tensor([[0.8, 0.3], [0.1, 0.2]]).view(2, 1, 1, 2)
    expected = [1.0, 0.5 + math.sqrt(0.0525), 0.6, 0.7]
    assert Ball(0.25, "l2").projected(images, change).flatten().tolist() == pytest.approx(expected)


@pytest.mark.parametrize("eps", [0.0, 0.3, 0.8, 1.3])
def test_the_projection_is_the_nearest_image_that_an_optimiser_finds(eps):
    generator = seeded(3)
    images, change = torch.rand(6, 1, 2, 3, generator=generator), torch.randn(6, 1, 2, 3, generator=generator)
    images[0, 0, 0] = torch.tensor([0.0, 1.0, 0.0])
    change[1] = 0
    projected = Ball(eps, "l2").projected(images, change)
    check(images, projected, eps=eps, norm="l2")
    rows = zip(*(part.flatten(1).double().numpy() for part in (images, change, projected)), strict=True)
    for image, delta, reached in rows:
        inside = {"type": "ineq", "fun": lambda x, image=image: eps**2 - np.sum((x - image) ** 2)}
        target = image + delta
        found = minimize(
            lambda x, target=target: np.sum((x - target) ** 2), image, constraints=[inside], bounds=[(0, 1)] * 6,
            options={"ftol": 1e-14, "maxiter": 500},
        )  # fmt: skip
        assert np.linalg.norm(reached - target) <= np.linalg.norm(found.x - target) + 1e-5
        np.testing.assert_allclose(reached, found.x, atol=2e-3)


def test_a_draw_is_uniform_in_the_ball_and_one_from_the_surface_has_its_radius():
    images, ball = torch.full((4000, 1, 1, 2), 0.5), Ball(0.4, "l2")
    lengths = ball.draw(images, seeded()).flatten(1).norm(dim=1)
    # In two dimensions a quarter of a disc lies within half of its radius.
    assert (lengths < 0.2).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert lengths.max() <= 0.4 + 1e-6
    surface = ball.draw_surface(images, seeded()).flatten(1)
    torch.testing.assert_close(surface.norm(dim=1), torch.full((4000,), 0.4))
    assert surface.mean(0).abs().max() < 0.02


def test_momentum_moves_along_its_sum_divided_by_its_length():
    step, image = MomentumStep(Ball(0.8, "l2"), 5), torch.full((1, 1, 1, 2), 0.5)
    slope = torch.tensor([[[[3.0, 4.0]]]])
    # eta = 0.4: 0.5 + 0.4 * (0.6, 0.8), and back by 0.2 along the sum 0.5 m - m
    iterate = step(image, image, LossGradient(image, image, slope))
    assert iterate.flatten().tolist() == pytest.approx([0.74, 0.82])
    iterate = step(image, iterate, LossGradient(image, image, -slope))
    assert iterate.flatten().tolist() == pytest.approx([0.62, 0.66])


class TwoClasses:
    """Logits (0, w x - b) of images, and the exact distance to the boundary within [0, 1]."""

    def __init__(self, images):
        self.weight = torch.randn(images[0].numel(), generator=seeded(1))
        self.images, self.offset = images, 0.5 * float(self.weight.sum())
        self.labels = (self(images)[:, 1] > 0).long()

    def __call__(self, images):
        score = images.flatten(1) @ self.weight - self.offset
        return torch.stack([torch.zeros_like(score), score], 1)

    def distance(self, row):
        """The change is clip(t w), with the t at which the score is 0; by bisection in float64."""
        image, weight = self.images[row].flatten().double(), self.weight.double()
        score = float(image @ weight) - self.offset
        low, high = 0.0, 1e6
        for _ in range(200):
            t = (low + high) / 2
            change = (image - math.copysign(t, score) * weight).clamp(0, 1) - image
            low, high = (t, high) if (score + float(change @ weight)) * score > 0 else (low, t)
        return float(change.norm())


GREY = 0.3 + 0.4 * torch.rand(4, 1, 4, 4, generator=seeded(2))
BLACK_AND_GREY = torch.where(torch.rand(4, 1, 4, 4, generator=seeded(5)) < 0.5, 0.0, GREY)
OPTIONS = {
    "fgsm": "",
    "pgd": "iterations=60",
    "pgd-restarts": "iterations=40, restarts=2",
    "apgd": "iterations=60, loss=margin",
    "momentum": "iterations=60",
}


def test_the_distance_of_a_linear_model_is_the_margin_over_the_length_of_its_weights():
    model = TwoClasses(GREY)
    for row, score in enumerate(model(GREY)[:, 1].tolist()):
        assert model.distance(row) == pytest.approx(abs(score) / float(model.weight.norm()), abs=1e-6)


@pytest.mark.parametrize("name", ["fgsm", "pgd", "pgd-restarts", "apgd", "momentum"])
@pytest.mark.parametrize("images", [GREY, BLACK_AND_GREY], ids=["grey", "black and grey"])
def test_an_attack_breaks_two_linear_classes_from_their_exact_distance_on(name, images):
    if name == "fgsm" and images is BLACK_AND_GREY:
        pytest.skip("one step does not know which pixels [0, 1] stops")
    model = TwoClasses(images)
    for row in range(len(images)):
        one, label, exact = images[row : row + 1], model.labels[row : row + 1], model.distance(row)
        for eps, falls in ((0.998 * exact, False), (1.002 * exact, True)):
            adversarial = parse(f"{name}(norm=l2, eps={eps}, {OPTIONS[name]})")(model, one, label)
            assert (model(adversarial).argmax(1) != label).item() is falls, (row, eps)


def test_the_change_fills_the_ball():
    model = TwoClasses(GREY)
    adversarial = pgd(model, GREY, model.labels, norm="l2", eps=0.3, iterations=10)
    torch.testing.assert_close(distances(GREY, adversarial, "l2"), torch.full((4,), 0.3, dtype=torch.float64))


@pytest.fixture(scope="module")
def ann():
    torch.manual_seed(0)
    return build("vgg5", 10, width=1 / 16, hidden=16, image_size=8, mean=[0.5] * 3, std=[0.25] * 3).eval()


@pytest.mark.parametrize("kind", ["ann", "snn"])
@pytest.mark.parametrize("attack", ["fgsm", "pgd"])
def test_images_equal_those_of_foolbox_away_from_the_limits_of_pixels(ann, kind, attack):
    model = ann if kind == "ann" else convert(ann, torch.rand(32, 3, 8, 8, generator=seeded(4)), timesteps=4).eval()
    images, labels = 0.2 + 0.6 * torch.rand(16, 3, 8, 8, generator=seeded(5)), torch.arange(16) % 10
    if attack == "fgsm":
        ours = fgsm(model, images, labels, eps=0.35, norm="l2")
        theirs = foolbox.attacks.L2FastGradientAttack(random_start=False)
    else:
        ours = pgd(model, images, labels, eps=0.35, norm="l2", step=0.1, iterations=7)
        theirs = foolbox.attacks.L2ProjectedGradientDescentAttack(abs_stepsize=0.1, steps=7, random_start=False)
    wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
    found = theirs.run(
        wrapped, eagerpy.astensor(images), foolbox.Misclassification(eagerpy.astensor(labels)), epsilon=0.35
    )
    assert (ours != images).double().mean() > 0.5
    torch.testing.assert_close(ours, found.raw, rtol=0, atol=2e-6)


def test_the_gate_refuses_an_attack_that_keeps_only_the_bound_of_each_pixel():
    def cheat(model, images, labels, *, eps=0.5, norm: Literal["linf", "l2"] = "linf", factor=1.0):
        return images + factor * eps / (4 if norm == "l2" else 1)  # 16 pixels: a length of eps

    model = TwoClasses(GREY)
    register("cheat", cheat)
    try:
        parse("cheat(eps=0.2, norm=l2)")(model, GREY, model.labels)
        with pytest.raises(AttackError, match=r"moved an image by 0.2002.. in L2; its bound is eps = 0.200000"):
            parse("cheat(eps=0.2, norm=l2, factor=1.001)")(model, GREY, model.labels)
    finally:
        del ATTACKS["cheat"]
    with pytest.raises(AttackError, match="in L2"):
        verified(lambda model, images, labels: images + 0.1, model, GREY, model.labels, eps=0.3, norm="l2")
    with pytest.raises(AttackError, match="in L2"):
        check(GREY, GREY + 0.1001 / 4, eps=0.1, norm="l2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgd(norm=l2)", "norm=l2 needs a bound, such as eps=0.5"),
        ("pgd(norm=l2, eps=-1)", "no L2 bound"),
        ("pgd(norm=l2, eps=inf)", "no L2 bound"),
        ("pgd(norm=l1, eps=1)", "norm is 'l1'"),
        ("sa-pgd(norm=l2, eps=1)", "has no option 'norm'"),
    ],
)
def test_a_text_in_l2_that_cannot_run_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse(text)


def test_an_l2_bound_may_exceed_1_is_never_a_default_of_linf_and_scales_its_step():
    with pytest.raises(UsageError, match="needs a bound"):
        parse("pgd(norm=l2)", eps=8 / 255, step=0.01)
    with pytest.raises(UsageError, match="needs a bound"):
        pgd(TwoClasses(GREY), GREY, TwoClasses(GREY).labels, norm="l2")
    spec = parse("pgd(norm=l2, eps=6)", eps=8 / 255, step=0.01)
    assert spec.resolved()["step"] == relative_step(6.0) == pytest.approx(0.31875 * 6)
    assert spec.label == "pgd:eps=6,norm=l2,iterations=7"
    assert parse(spec.label).resolved() == spec.resolved()
    model = TwoClasses(GREY)
    check(GREY, parse("pgd(norm=l2, eps=6, step=2)")(model, GREY, model.labels), eps=6.0, norm="l2")


def test_event_grids_keep_the_largest_cell_of_each_sample():
    grids = torch.randint(0, 3, (2, 2, 1, 2, 2), generator=seeded()).float()
    model = nn.Sequential(nn.Flatten(), nn.Linear(8, 2))
    adversarial = pgd(model, grids, torch.tensor([0, 1]), norm="l2", eps=1.5, random_start=True)
    check(grids, adversarial, eps=1.5, norm="l2")
    assert adversarial.max() > 1
