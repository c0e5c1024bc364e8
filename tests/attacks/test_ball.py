import pytest
import torch

from hiresnn.attacks.ball import ascend, perturbed


def test_a_step_follows_the_sign_of_the_gradient_and_stays_in_the_ball():
    perturbation = torch.tensor([0.0, 0.0, 0.0, 0.25, -0.25, 0.5])
    gradient = torch.tensor([3.0, -0.001, 0.0, 1.0, 1.0, 1.0])
    # + 0.25 * sign, then clipped to [-0.375, 0.375]
    expected = [0.25, -0.25, 0.0, 0.375, 0.0, 0.375]
    assert ascend(perturbation, gradient, 0.25, 0.375).tolist() == expected


def test_a_bound_of_zero_gives_no_perturbation():
    assert ascend(torch.tensor([0.0]), torch.tensor([1.0]), 0.5, 0.0).item() == 0


def test_perturbed_images_stay_in_the_range_of_pixels():
    images = torch.tensor([0.0, 0.5, 0.5, 1.0])
    perturbation = torch.tensor([-0.25, 0.25, -0.75, 0.125])
    assert perturbed(images, perturbation).tolist() == pytest.approx([0, 0.75, 0, 1])
    assert images.tolist() == [0, 0.5, 0.5, 1]
