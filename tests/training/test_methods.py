"""Each training method: its periods, its noise, and what becomes of the state between periods."""

import math
import subprocess
import sys

import pytest
import torch

from hiresnn.app.recipe import override, read
from hiresnn.errors import RecipeError, UsageError
from hiresnn.training import (
    METHODS,
    Adversarial,
    CraftedNoise,
    GaussianNoise,
    MembraneDistance,
    MembraneOverlap,
    Method,
    Noise,
    NoiseInTime,
    ann_method,
    cross_entropy,
    method,
)
from hiresnn.training.methods import REMOVED


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
        ("free", 3, CraftedNoise, "reset"),
        ("consistency", 3, NoiseInTime, "carry"),
        ("trades", 1, Adversarial, "reset"),
        ("snn-rat", 1, Adversarial, "reset"),
        ("sparse", 1, Adversarial, "reset"),
        ("mppd-tv", 1, MembraneDistance, "reset"),
        ("mpd-sgr", 1, MembraneOverlap, "reset"),
    ],
)
def test_each_method_has_its_periods_noise_and_state(name, periods, noise, state):
    made = method(name, periods=3, step=0.01, state="carry")
    assert (made.periods, type(made.noise), made.state) == (periods, noise, state)


def test_the_facts_of_the_registry_are_those_of_the_methods():
    for name, entry in METHODS.items():
        made = method(name, periods=3, step=0.01)
        assert (entry.loss is not None) == (made.loss is not cross_entropy)
        assert entry.periodic == (made.periods == 3 and not made.replay)
        assert entry.replays == made.replay


def test_the_names_of_the_methods_are_known_without_torch():
    code = "import sys, hiresnn.training.methods, hiresnn.app.recipe; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", REMOVED)
def test_a_removed_method_is_refused_with_the_nearest(name):
    with pytest.raises(UsageError, match=f"method is '{name}'; it gained nothing .* after version 0.2; take nfgsm"):
        method(name, periods=2, step=0.1)
    with pytest.raises(RecipeError, match="take nfgsm"):
        override(read("digits"), {"method": name})


def test_the_noise_bound_is_the_noise_step_unless_given():
    noise = method("hire", periods=2, step=0.01).noise
    assert (noise.step, noise.bound) == (0.01, 0.01)
    wider = method("hire", periods=2, step=0.01, bound=0.03).noise
    assert (wider.step, wider.bound) == (0.01, 0.03)


@pytest.mark.parametrize(
    ("timesteps", "periods", "steps"), [(6, 2, 3), (7, 2, 3), (8, 3, 2), (10, 4, 2), (1, 1, 1), (5, 5, 1)]
)
def test_a_period_has_timesteps_over_periods_steps_rounded_down(timesteps, periods, steps):
    assert Method(periods).steps(timesteps) == steps


@pytest.mark.parametrize(("timesteps", "periods"), [(1, 2), (6, 7), (6, 0)])
def test_a_period_without_a_step_is_refused(timesteps, periods):
    with pytest.raises(UsageError, match=f"periods is {periods} and timesteps is {timesteps}"):
        Method(periods).steps(timesteps)


def test_an_unknown_method_is_refused_with_the_names_of_all():
    with pytest.raises(
        UsageError,
        match=r"method is 'fire'; did you mean .hire.. choose one of traditional, hire, gaussian, noise-free",
    ):
        method("fire", periods=2, step=0.1)


@pytest.mark.parametrize(
    ("refused", "word"),
    [
        (lambda: ann_method("madry"), "training is 'madry'; choose one of plain"),
        (lambda: method("nfgsm", periods=2, step=-1.0), "step is -1.0"),
        (lambda: method("hire", periods=2, step=0.1, bound=math.nan), "bound is nan"),
        (lambda: MembraneOverlap().begin(torch.nn.Linear(2, 2), torch.zeros(0), torch.zeros(0)), "spiking network"),
        (lambda: method("free", periods=0, step=0.1).steps(4), "periods is 0"),
    ],
)
def test_values_out_of_range_are_refused(refused, word):
    with pytest.raises(UsageError, match=word):
        refused()
