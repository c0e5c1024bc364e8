import pytest
import torch
from torch import Tensor

from hiresnn.attacks import random_noise
from hiresnn.attacks.search import KINDS

GREY = torch.full((50, 1, 10, 10), 0.5)


def drawn(kind: str) -> Tensor:
    return KINDS[kind](GREY, 0.2, torch.Generator().manual_seed(0))


def test_uniform_noise_covers_the_ball() -> None:
    noise = drawn("uniform")
    assert noise.abs().max() <= 0.2
    assert noise.std().item() == pytest.approx(0.2 / 3**0.5, rel=0.03)


def test_sign_noise_lies_in_the_corners_of_the_ball() -> None:
    noise = drawn("sign")
    assert noise.unique().tolist() == pytest.approx([-0.2, 0.2])
    assert noise.mean().item() == pytest.approx(0, abs=0.01)


def test_gaussian_noise_is_clipped_at_one_standard_deviation() -> None:
    noise = drawn("gaussian")
    # a normal variable lies beyond one standard deviation with probability 0.317
    assert (noise.abs() == 0.2).float().mean().item() == pytest.approx(0.317, abs=0.02)


def test_each_image_gets_its_worst_draw() -> None:
    def model(images: Tensor) -> Tensor:  # class 1 only where the mean brightness has risen by 0.02
        brightness = images.mean((1, 2, 3))[:, None]
        return torch.cat([torch.full_like(brightness, 0.52), brightness], 1)

    def risen(draws: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        labels = torch.zeros(50, dtype=torch.long)
        return model(random_noise(model, GREY, labels, eps=0.2, draws=draws, generator=generator))[:, 1] - 0.5

    # the mean of 100 uniform draws has standard deviation 0.0115
    assert risen(1).mean() < risen(10).mean() < risen(100).mean()
    assert 0 < (risen(10) > 0.02).sum() < (risen(200) > 0.02).sum()
    assert (risen(1) >= 0).all()  # a draw that makes it better is not kept
