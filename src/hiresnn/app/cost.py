"""What a training costs, counted in passes: the same on every machine, so that methods can be compared."""

from __future__ import annotations

from hiresnn.app.recipe import Recipe
from hiresnn.training.epochs import HELD_OUT, ITERATIONS
from hiresnn.training.methods import ANN_TRAININGS, BACKWARD, CRAFTING, FORWARD, METHODS
from hiresnn.training.noise import Adversarial

TRAINING_IMAGES = {
    "digits": 1_442, "cifar10": 50_000, "cifar100": 50_000, "mnist": 60_000, "fashion-mnist": 60_000, "svhn": 73_257,
}  # fmt: skip


def training_cost(recipe: Recipe) -> float | None:
    """Return the passes of a training from scratch, per training image: those of its ANN and those of its SNN.

    The unit is a forward pass of one timestep; a backward pass counts two, and a gradient of the image alone counts
    one. The ANN has one timestep. Measurements on held-out images that a robust training makes after each epoch are
    included; they need the number of training images, so the cost is None where neither the recipe nor the name of the
    data set gives it, and for a method that was removed.

    Example:
        >>> from hiresnn.app.recipe import read
        >>> training_cost(read("digits"))  # 30 epochs of 3 passes, 10 epochs of 3 passes over 6 timesteps
        270.0
    """
    ann, snn, periods = recipe.ann, recipe.snn, recipe.noise.periods
    noise = ANN_TRAININGS[ann.training](ann.eps)
    epoch: float = FORWARD + BACKWARD
    if isinstance(noise, Adversarial):  # TRADES needs the clean logits, and trains on the clean image as well
        epoch += noise.iterations * CRAFTING + (2 * FORWARD + BACKWARD if noise.divergence else 0)
    if ann.training != "plain" or ann.select == "robust":
        held_out = recipe.data.holdout_images
        images = recipe.data.train_images or (TRAINING_IMAGES.get(recipe.data.source, 0) - held_out)
        if held_out and images <= 0:
            return None
        # Clean accuracy, FGSM and its accuracy, PGD and its accuracy.
        measured = FORWARD + (CRAFTING + FORWARD) + (ITERATIONS * CRAFTING + FORWARD)
        epoch += measured * min(HELD_OUT, held_out) / max(images, 1)
    cost = ann.epochs * epoch
    if recipe.method != "ann":
        if (method := METHODS.get(recipe.method)) is None:
            return None
        steps = snn.timesteps // periods * periods if method.periodic else snn.timesteps
        replays = periods if method.replays else 1
        teacher = FORWARD if snn.distil else 0
        cost += recipe.snn_epochs * (replays * steps * (FORWARD + BACKWARD + method.passes) + teacher)
    return round(cost, 1)
