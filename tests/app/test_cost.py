"""The price of a training, by hand: in passes per training image."""

import pytest

from hiresnn.app.recipe import override, read
from hiresnn.app.train import TRAINING_IMAGES, training_cost
from hiresnn.data import load

# After each epoch of a robust ANN, on every held-out image: clean 1, FGSM 2 + 1, PGD 10 * 2 + 1.
MEASURED = 25


@pytest.mark.parametrize(
    ("name", "method", "passes"),
    [
        ("digits", "hire", 30 * 3 + 10 * 3 * 6),
        ("digits", "traditional", 30 * 3 + 10 * 3 * 6),
        ("digits", "nfgsm", 30 * 3 + 10 * 5 * 6),
        ("digits", "ann", 30 * 3),
        ("digits", "snn-rat", 30 * 3 + 10 * 5 * 6),
        ("digits", "consistency", 30 * 3 + 10 * 3 * 6),
        ("digits", "free", 30 * 3 + 10 * 2 * 3 * 6),  # two periods of all timesteps
        ("digits", "trades", 30 * 3 + 10 * 9 * 6),
        ("digits", "mppd-tv", 30 * 3 + 10 * 8 * 6),
        ("digits", "mpd-sgr", 30 * 3 + 10 * 3 * 6),
        ("digits", "sparse", 30 * 3 + 10 * 10 * 6),
        ("vgg5-cifar10-cpu", "hire", 45 * 3 + 3 * 3 * 6),
        ("robust-digits", "converted", 30 * (5 + MEASURED * 200 / 1242)),
        ("robust-cifar10-cpu", "converted", 25 * (5 + MEASURED * 400 / 20_000)),
    ],
)
def test_the_price_counts_every_pass(name, method, passes):
    assert training_cost(override(read(name), {"method": method})) == pytest.approx(passes, abs=0.05)


@pytest.mark.parametrize(
    ("training", "passes"),
    # Seven crafting steps of two passes; TRADES first needs the clean logits, and trains on both images.
    [("plain", 3), ("fgsm", 2 + 3), ("n-fgsm", 2 + 3), ("pgd", 7 * 2 + 3), ("trades", 1 + 7 * 2 + 2 * 3)],
)
def test_adversarial_training_pays_for_its_crafting(training, passes):
    recipe = override(read("digits"), {"ann.training": training, "method": "ann"})
    assert training_cost(recipe) == 30 * passes


def test_periods_leave_out_a_rest_of_timesteps_and_a_teacher_costs_a_pass():
    recipe = override(read("digits"), {"snn.timesteps": "7", "method": "hire", "snn.distil": "0.7"})
    assert training_cost(recipe) == 30 * 3 + 10 * (3 * 6 + 1)


def test_without_the_number_of_images_a_robust_training_has_no_price():
    recipe = override(read("robust-digits"), {"data.source": "mine.npz"})
    assert training_cost(recipe) is None
    assert training_cost(override(recipe, {"data.train_images": "1000"})) == 30 * (5 + MEASURED * 200 / 1000)


def test_the_digits_have_as_many_training_images_as_the_price_assumes():
    assert len(load("digits").train) == TRAINING_IMAGES["digits"]
