"""What a training costs, counted in passes: the same on every machine, so that methods can be compared."""

from __future__ import annotations

from hiresnn.runs.fields import METHOD_NAMES, PERIODIC_METHODS
from hiresnn.runs.recipe import Recipe
from hiresnn.runs.trainer import HELD_OUT
from hiresnn.training.adversarial import Adversarial
from hiresnn.training.methods import ANN_TRAININGS
from hiresnn.training.selection import ITERATIONS

FORWARD, BACKWARD = 1, 2
"""A backward pass computes the gradients of inputs and weights, two products where a forward pass has one."""
CRAFTING = FORWARD + 1
"""Forward, and backward to the image alone."""
EXTRA = {
    "nfgsm": CRAFTING, "rotating": CRAFTING, "snn-rat": CRAFTING,
    "trades": FORWARD + CRAFTING + FORWARD + BACKWARD,  # the clean logits, and the loss on the clean image
    "mppd-tv": CRAFTING + FORWARD + BACKWARD,  # the loss on the clean image
    "sparse": 2 * CRAFTING + FORWARD + BACKWARD,  # the gradient of the label's logit, and the logit behind it
}  # fmt: skip
"""Passes that a method adds to every timestep."""
PER_BATCH = {"twin": CRAFTING, "short": 2 * CRAFTING}
"""Passes that a method adds to every image, whatever T is."""
TRAINING_IMAGES = {
    "digits": 1_442, "cifar10": 50_000, "cifar100": 50_000, "mnist": 60_000, "fashion-mnist": 60_000, "svhn": 73_257,
}  # fmt: skip


def training_price(recipe: Recipe) -> float | None:
    """Return the passes of a training from scratch, per training image: those of its ANN and those of its SNN.

    The unit is a forward pass of one timestep; a backward pass counts two, and a gradient of the image alone counts
    one. The ANN has one timestep. Measurements on held-out images that a robust training makes after each epoch are
    included; they need the number of training images, so the price is None where neither the recipe nor the name of the
    data set gives it. The price of a plug-in's method is None, too.

    Example:
        >>> from hiresnn.runs.recipe import read
        >>> training_price(read("digits"))  # 30 epochs of 3 passes, 10 epochs of 3 passes over 6 timesteps
        270.0
    """
    ann = recipe.ann
    if recipe.method not in METHOD_NAMES:  # a plug-in
        return None
    price = ann.epochs * _ann_epoch(recipe)
    if ann.training != "plain" or ann.select == "robust":
        images = recipe.data.train_images or (TRAINING_IMAGES.get(recipe.data.source, 0) - recipe.data.holdout_images)
        if recipe.data.holdout_images and images <= 0:
            return None
        # Clean accuracy, FGSM and its accuracy, PGD and its accuracy.
        measured = FORWARD + (CRAFTING + FORWARD) + (ITERATIONS * CRAFTING + FORWARD)
        price += ann.epochs * measured * min(HELD_OUT, recipe.data.holdout_images) / max(images, 1)
    if recipe.method != "ann":
        price += recipe.snn_epochs * _snn_epoch(recipe)
    return round(price, 1)


def _snn_epoch(recipe: Recipe) -> float:
    """Return the passes of an epoch of the SNN per image, with the forward pass of the ANN if it is the teacher."""
    noise, timesteps = recipe.noise, recipe.snn.timesteps
    steps = timesteps // noise.periods * noise.periods if recipe.method in PERIODIC_METHODS else timesteps
    replays = noise.periods if recipe.method == "free" else 1
    per_step = FORWARD + BACKWARD + EXTRA.get(recipe.method, 0)
    return replays * steps * per_step + PER_BATCH.get(recipe.method, 0) + (FORWARD if recipe.snn.distil else 0)


def _ann_epoch(recipe: Recipe) -> float:
    """Return the passes of an epoch of the ANN per image: crafting the adversarial examples, and training on them."""
    noise = ANN_TRAININGS[recipe.ann.training](recipe.ann.eps)
    if not isinstance(noise, Adversarial):
        return FORWARD + BACKWARD
    crafting = noise.iterations * CRAFTING + (FORWARD if noise.divergence else 0)
    shown = 2 if noise.divergence else 1  # TRADES trains on the clean image as well
    return crafting + shown * (FORWARD + BACKWARD)
