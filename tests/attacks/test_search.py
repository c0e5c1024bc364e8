"""Square and random noise: their draws, their number of queries, and what they find."""

import pytest
import torch

from hiresnn.attacks import apgd, pgd_restarts, random_noise, sa_pgd, square
from hiresnn.attacks.ball import Ball
from hiresnn.attacks.search import KINDS, side


def test_the_area_of_the_squares_halves_along_the_schedule():
    # of 32 x 32 pixels: sqrt(0.8 * 1024) = 28.6, then / sqrt 2 after 0.1 %, 0.5 %, 2 %, ... of the queries
    found = [side(query, 1000, 0.8, 32, 32) for query in (1, 2, 6, 21, 51, 101, 201, 401, 601, 801)]
    assert found == [29, 20, 14, 10, 7, 5, 4, 3, 2, 1]


def test_a_square_is_smaller_than_the_image_and_at_least_one_pixel():
    assert side(1, 1000, 1.0, 8, 5) == 4
    assert side(1000, 1000, 0.01, 8, 8) == 1


class Counting:
    """Logits (0, sum of x - lead): counts forward passes and images; no graph is ever built."""

    def __init__(self, lead):
        self.lead, self.passes = lead, 0
        self.graphs = False

    def __call__(self, images):
        self.passes += 1
        self.graphs |= images.requires_grad or torch.is_grad_enabled()
        score = images.flatten(1).sum(1, keepdim=True) - self.lead
        return torch.cat([torch.zeros_like(score), score], 1)


IMAGES, LABELS = torch.full((2, 1, 4, 4), 0.5), torch.tensor([0, 0])  # sums of 8


def test_square_makes_at_most_the_allowed_queries_and_needs_no_gradient():
    model = Counting(100)
    square(model, IMAGES, LABELS, eps=0.1, queries=25)
    assert model.passes == 1 + 25  # the images themselves, then the queries
    assert not model.graphs


def test_square_reaches_the_corner_of_the_ball():
    found = square(Counting(100), IMAGES, LABELS, eps=0.1, queries=400, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, torch.full_like(found, 0.6))


class Ridge:
    """Logits (0, 4 y - 3.9) without any gradient, where y is 1 only if all but few of 16 pixels are above 0.5."""

    def __call__(self, images):
        raised = (images.flatten(1) > 0.5 + 0.05).float().mean(1, keepdim=True)
        return torch.cat([torch.zeros_like(raised), 4 * raised - 3.9], 1) + 0 * images.flatten(1)[:, :1]


@pytest.mark.parametrize("attack", [pgd_restarts, apgd, sa_pgd])
def test_a_finish_by_square_continues_from_the_best_iterate_where_gradients_vanish(attack):
    images, labels = torch.full((8, 1, 4, 4), 0.5), torch.zeros(8, dtype=torch.int64)

    def margins(**options):
        generator = torch.Generator().manual_seed(0)
        found = attack(Ridge(), images, labels, eps=0.1, iterations=2, generator=generator, **options)
        assert (found - images).abs().max() <= 0.1 + 1e-6
        return Ridge()(found)[:, 1]

    before, after = margins(), margins(finish=150)
    assert (after >= before).all()
    assert after.mean() > before.mean()


GREY = torch.full((50, 1, 10, 10), 0.5)


def drawn(kind):
    ball = Ball(0.2)
    return ball.projected(GREY, KINDS[kind](ball, GREY, torch.Generator().manual_seed(0))) - GREY


def test_uniform_noise_covers_the_ball():
    noise = drawn("uniform")
    assert noise.abs().max() <= 0.2 + 1e-6
    assert noise.std().item() == pytest.approx(0.2 / 3**0.5, rel=0.03)


def test_sign_noise_lies_in_the_corners_of_the_ball():
    noise = drawn("sign")
    assert noise.unique().tolist() == pytest.approx([-0.2, 0.2])
    assert noise.mean().item() == pytest.approx(0, abs=0.01)


def test_gaussian_noise_is_clipped_at_one_standard_deviation():
    noise = drawn("gaussian")
    # a normal variable lies beyond one standard deviation with probability 0.317
    assert (noise.abs() > 0.2 - 1e-6).float().mean().item() == pytest.approx(0.317, abs=0.02)


def test_each_image_gets_its_worst_draw():
    def model(images):  # class 1 only where the mean brightness has risen by 0.02
        brightness = images.mean((1, 2, 3))[:, None]
        return torch.cat([torch.full_like(brightness, 0.52), brightness], 1)

    def risen(draws):
        generator = torch.Generator().manual_seed(0)
        labels = torch.zeros(50, dtype=torch.long)
        return model(random_noise(model, GREY, labels, eps=0.2, draws=draws, generator=generator))[:, 1] - 0.5

    # the mean of 100 uniform draws has standard deviation 0.0115
    assert risen(1).mean() < risen(10).mean() < risen(100).mean()
    assert 0 < (risen(10) > 0.02).sum() < (risen(200) > 0.02).sum()
    assert (risen(1) >= 0).all()  # a draw that makes it better is not kept
