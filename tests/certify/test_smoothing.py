"""Randomised smoothing: its bound, its two stages, and certificates of classifiers whose probabilities are known."""

import itertools
import math

import pytest
import torch

from hiresnn.attacks.gate import seeded
from hiresnn.certify import ABSTAINS, Certificate, Gaussian, RateCoding, attack_smoothed, certify_smoothed, lower_bound
from hiresnn.errors import UsageError
from hiresnn.network import convert
from hiresnn.training import method
from hiresnn.training.methods import ann_method


def halfspace(images):
    """Class 1 where the sum of the pixels is above 1; pixels are far from the edges of [0, 1] in these tests."""
    total = images.flatten(1).sum(1)
    return torch.stack([1 - total, total - 1], 1)


@pytest.mark.parametrize(("count", "of", "alpha"), [(10, 10, 0.05), (7, 10, 0.05), (990, 1000, 0.001), (1, 3, 0.2)])
def test_the_lower_bound_is_the_exact_one(count, of, alpha):
    """At the bound, `count` or more of `of` successes have exactly the probability alpha."""
    p = lower_bound(count, of, alpha)
    tail = sum(math.comb(of, k) * p**k * (1 - p) ** (of - k) for k in range(count, of + 1))
    assert tail == pytest.approx(alpha, rel=1e-8)


def test_no_success_bounds_nothing():
    assert lower_bound(0, 10, 0.01) == 0


def test_the_radius_is_that_of_cohen_et_al():
    assert Gaussian(0.5).radius(0.99) == pytest.approx(0.5 * 2.3263478740408408)  # table of the normal distribution
    assert Gaussian(0.5).radius(0.5) == 0


def test_a_linear_classifier_is_certified_up_to_its_plane_and_no_further():
    """Four pixels at 0.3: sum 1.2, the plane is 0.2 / |(1, 1, 1, 1)| = 0.1 away; the radius of exact p is 0.1, too.

    sigma = 0.05 keeps the noise 6 deviations from the clip at 0.
    """
    image = torch.full((1, 1, 2, 2), 0.3)
    certificate = certify_smoothed(halfspace, image, Gaussian(0.05), n=20_000)
    assert certificate.prediction.tolist() == [1]
    assert 0.085 < float(certificate.radius) < 0.1
    assert certificate.holds(torch.tensor([1]), 0.085).all()
    assert not certificate.holds(torch.tensor([0])).any()
    nearest = attack_smoothed(halfspace, image, torch.tensor([1]), Gaussian(0.05), step=0.02, n=5000)
    assert float(certificate.radius) < float(nearest) < 0.12


def test_an_image_on_the_plane_abstains():
    certificate = certify_smoothed(halfspace, torch.full((1, 1, 2, 2), 0.25), Gaussian(0.05), n=500)
    assert (certificate.prediction.item(), certificate.radius.item()) == (ABSTAINS, 0)
    assert not certificate.holds(torch.tensor([ABSTAINS])).any()


def test_the_result_depends_on_the_seed_and_on_no_batch_size():
    images = torch.rand(3, 1, 3, 3, generator=torch.Generator().manual_seed(0)) / 4
    certificates = [
        certify_smoothed(halfspace, images, Gaussian(0.3), n=1100, seed=seed, batch_size=batch)
        for seed, batch in ((0, 500), (0, 7), (1, 500))
    ]
    assert torch.equal(certificates[0].probability, certificates[1].probability)
    assert not torch.equal(certificates[0].probability, certificates[2].probability)
    alone = certify_smoothed(halfspace, images[:1], Gaussian(0.3), n=1100)
    assert torch.equal(certificates[0].probability[:1], alone.probability)


def test_the_second_stage_draws_noise_of_its_own():
    """The copies that select the class must not be those that bound its probability."""
    seen = []

    def spy(images):
        seen.append(images.clone())
        return halfspace(images)

    certify_smoothed(spy, torch.full((1, 1, 2, 2), 0.3), Gaussian(0.1), n0=100, n=100)
    assert not torch.isclose(seen[0], seen[1]).all(dim=(1, 2, 3)).any()


def test_answers_that_are_not_finite_count_for_no_class():
    def broken(images):
        return torch.full((len(images), 2), torch.nan)

    assert certify_smoothed(broken, torch.zeros(1, 1, 1, 1), Gaussian(0.1)).prediction.item() == ABSTAINS


@pytest.mark.parametrize("options", [{"n": 0}, {"alpha": 0}, {"n0": 0}, {"batch_size": 0}])
def test_impossible_settings_are_refused(options):
    with pytest.raises(UsageError, match="at least 1"):
        certify_smoothed(halfspace, torch.zeros(1, 1, 1, 1), Gaussian(0.1), **options)


def test_a_network_with_state_of_another_library_is_refused_without_its_adapter():
    """Its answers to noisy copies would depend on each other, and the bound holds for independent ones."""
    neuron = type(
        "Leaky", (torch.nn.Flatten,), {"__module__": "snntorch._neurons.leaky", "reset_mem": lambda self: None}
    )
    image, label = torch.full((1, 1, 2, 2), 0.3), torch.tensor([1])
    with pytest.raises(UsageError, match="snntorch"):
        certify_smoothed(neuron(), image, Gaussian(0.1))
    with pytest.raises(UsageError, match="snntorch"):
        attack_smoothed(neuron(), image, label, Gaussian(0.1))


@pytest.mark.parametrize("make", [lambda: Gaussian(0), lambda: Gaussian(math.nan), lambda: RateCoding(0)])
def test_impossible_noise_is_refused(make):
    with pytest.raises(UsageError, match="above 0"):
        make()


def test_noise_augmentation_shows_the_noise_that_certification_draws():
    """One period of method "gaussian", and the ANN's training of this name, draw like `Gaussian.draw`."""
    image, generator = torch.rand(1, 8, 8), torch.Generator()
    with seeded(3):
        state = torch.get_rng_state()
        shown = method("gaussian", periods=1, step=0.25).noise.apply(image[None])
    with seeded(3):
        for_ann = ann_method("gaussian", eps=0.25).noise.apply(image[None])
    generator.set_state(state)
    torch.testing.assert_close(shown, Gaussian(0.25).draw(image, 1, generator))
    assert torch.equal(shown, for_ann)


def any_spike(images, timesteps=4):
    """The rate-coded classifier of the counterexample: class 1 if any pixel spikes at any of T steps."""
    spikes = torch.rand(timesteps, *images.shape) < images
    fired = spikes.flatten(2).any(2).any(0).double()
    return torch.stack([1 - fired, fired], 1)


def test_half_a_probability_without_the_division_by_t_certifies_a_wrong_radius():
    """x = 0 never spikes: p = 1, and (p - 1/2) = 0.5. At x = 0.16 the class is another: 0.84^4 = 0.498 < 1/2."""
    assert 0.84**4 < 0.5 < 0.85**4
    without_division, ours = 1 - 0.5, RateCoding(4).radius(1.0)
    turns = 1 - 0.5 ** (1 / 4)  # the exact distance at which the class changes, 0.1591
    assert ours == 0.125 < turns < 0.16 < without_division
    certificate = certify_smoothed(any_spike, torch.zeros(1, 1, 1, 1), RateCoding(4), n=2000)
    assert certificate.prediction.item() == 0
    assert 0.12 < float(certificate.radius) < 0.125
    moved = certify_smoothed(any_spike, torch.full((1, 1, 1, 1), 0.2), RateCoding(4), n=2000)
    assert moved.prediction.item() == 1


def test_the_radius_of_rate_coding_holds_for_all_classifiers_of_four_bits():
    """Two pixels, T = 2: 16 spike trains, so 2^16 classifiers; every fifth of them, on a grid of images."""
    trains = torch.tensor(list(itertools.product((0, 1), repeat=4)), dtype=torch.float64)
    grid = torch.tensor(list(itertools.product(torch.linspace(0, 1, 9).tolist(), repeat=2)), dtype=torch.float64)
    rates = grid.repeat(1, 2)[:, None]  # two steps of two pixels
    chances = torch.where(trains == 1, rates, 1 - rates).prod(2)  # [images, trains]
    numbers = torch.arange(0, 2**16, 5)
    classifiers = (numbers[None] >> torch.arange(16)[:, None] & 1).double()  # [trains, classifiers]
    p = chances @ classifiers
    radius = (p - 0.5) / 2
    assert RateCoding(2).radius(float(p[3, 5])) == pytest.approx(float(radius[3, 5]))
    distance = (grid[:, None] - grid[None]).abs().sum(2)
    for start in range(len(grid)):
        inside = distance[start, :, None] < radius[start]
        assert (p[inside] > 0.5 - 1e-12).all()


def test_rate_coding_reads_timesteps_and_normalisation_of_a_network():
    ann = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    images = torch.rand(8, 1, 2, 2)
    assert RateCoding.of(convert(ann, images, timesteps=3, encoding="poisson")) == RateCoding(3)
    from hiresnn.models import Normalise

    normalised = torch.nn.Sequential(Normalise([0.1], [0.5]), ann)
    assert RateCoding.of(convert(normalised, images, timesteps=3, encoding="poisson")) == RateCoding(3, 0.5)
    with pytest.raises(UsageError, match="Poisson"):
        RateCoding.of(convert(ann, images, timesteps=3))


def test_a_certificate_holds_strictly_inside_its_radius():
    certificate = Certificate(torch.tensor([1, 0]), torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.9]))
    labels = torch.tensor([1, 1])
    assert certificate.holds(labels, 0.49).tolist() == [True, False]
    assert certificate.holds(labels, 0.5).tolist() == [False, False]
