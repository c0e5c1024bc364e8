"""Each training method: its periods, its noise, and what becomes of the state between periods."""

import pytest

from hiresnn.app.schema import METHOD_NAMES
from hiresnn.errors import UsageError
from hiresnn.training import (
    METHODS,
    Adversarial,
    CraftedNoise,
    GaussianNoise,
    MembraneDistance,
    MembraneOverlap,
    MemoryNoise,
    Method,
    Noise,
    NoiseInTime,
    TwinNoise,
    method,
)


@pytest.mark.parametrize(
    ("name", "periods", "noise", "state"),
    [
        ("traditional", 1, Noise, "reset"),
        ("rate", 1, Noise, "reset"),
        ("hire", 3, CraftedNoise, "carry"),
        ("gaussian", 3, GaussianNoise, "carry"),
        ("noise-free", 3, Noise, "carry"),
        ("converted", 1, Noise, "reset"),
        ("nfgsm", 1, Adversarial, "reset"),
        ("hire-nfgsm", 3, NoiseInTime, "carry"),
        ("short", 1, Adversarial, "reset"),
        ("twin", 1, TwinNoise, "reset"),
        ("memory", 1, MemoryNoise, "reset"),
        ("free", 3, CraftedNoise, "reset"),
        ("consistency", 3, NoiseInTime, "carry"),
        ("rotating", 1, Adversarial, "reset"),
        ("trades", 1, Adversarial, "reset"),
        ("snn-rat", 1, Adversarial, "reset"),
        ("sparse", 1, Adversarial, "reset"),
        ("mppd-tv", 1, MembraneDistance, "reset"),
        ("mpd-sgr", 1, MembraneOverlap, "reset"),
    ],
)
def test_each_method_has_its_periods_noise_and_state(name: str, periods: int, noise: type, state: str) -> None:
    made = method(name, periods=3, step=0.01, state="carry")
    assert (made.periods, type(made.noise), made.state) == (periods, noise, state)


def test_every_method_of_a_recipe_but_the_ann_can_be_made() -> None:
    assert set(METHODS) == set(METHOD_NAMES) - {"ann"}


def test_the_noise_bound_is_the_noise_step_unless_given() -> None:
    noise = method("hire", periods=2, step=0.01).noise
    assert isinstance(noise, CraftedNoise)
    assert (noise.step, noise.bound) == (0.01, 0.01)
    wider = method("hire", periods=2, step=0.01, bound=0.03).noise
    assert isinstance(wider, CraftedNoise)
    assert (wider.step, wider.bound) == (0.01, 0.03)


def test_gaussian_noise_has_the_noise_step_as_its_deviation() -> None:
    noise = method("gaussian", periods=2, step=0.07).noise
    assert isinstance(noise, GaussianNoise)
    assert noise.std == 0.07


def test_two_methods_of_one_name_share_no_noise() -> None:
    assert method("hire", periods=2, step=0.1).noise is not method("hire", periods=2, step=0.1).noise
    assert Method().noise is not Method().noise


@pytest.mark.parametrize(
    ("timesteps", "periods", "steps"), [(6, 2, 3), (7, 2, 3), (8, 3, 2), (10, 4, 2), (1, 1, 1), (5, 5, 1)]
)
def test_a_period_has_timesteps_over_periods_steps_rounded_down(timesteps: int, periods: int, steps: int) -> None:
    assert Method(periods).steps(timesteps) == steps


@pytest.mark.parametrize(("timesteps", "periods"), [(1, 2), (6, 7), (6, 0)])
def test_a_period_without_a_step_is_refused(timesteps: int, periods: int) -> None:
    with pytest.raises(UsageError, match=f"periods is {periods} and timesteps is {timesteps}"):
        Method(periods).steps(timesteps)


def test_an_unknown_method_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(
        UsageError,
        match=r"method is 'fire'; did you mean .hire.. choose one of traditional, hire, gaussian, noise-free",
    ):
        method("fire", periods=2, step=0.1)
