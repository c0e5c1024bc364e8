"""The state that a training resumes from, as bytes: sealed by a checksum, and read by a loader that runs no code.

The training of one stage, ANN or SNN: epochs with a schedule, a log, and a state to resume from.

What a training costs, counted in passes: the same on every machine, so that methods can be compared.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hiresnn import data
from hiresnn.app.context import RunContext
from hiresnn.app.folder import RESUME
from hiresnn.app.networks import require_finite
from hiresnn.app.recipe import SEMANTICS, Recipe
from hiresnn.app.schema import METHOD_NAMES, PERIODIC_METHODS, Ann, Snn
from hiresnn.data import Batches
from hiresnn.errors import RunError
from hiresnn.training import Average, Method, Schedule, Selection, Training
from hiresnn.training.epochs import ITERATIONS
from hiresnn.training.methods import ANN_TRAININGS
from hiresnn.training.noise import Adversarial

SEAL = b"hiresnn-sha256:"
"""Precedes the SHA-256 at the end of a training state; version one wrote none."""


def resume_bytes(state: dict[str, Any]) -> bytes:
    """Return a training state (tensors, numbers, text, lists and dicts of them) as bytes for `read_resume`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    return content + SEAL + hashlib.sha256(content).digest()


def read_resume(path: Path) -> dict[str, Any]:
    """Read a training state. torch's loader is restricted to data, so the file cannot run code.

    Raises:
        RunError: the file is damaged, or a weight in it is not finite.
    """
    hint = "delete it to train from the start"
    try:
        content, seal, checksum = path.read_bytes().rpartition(SEAL)
        if not seal:
            content = checksum  # version one wrote no checksum
        elif checksum != hashlib.sha256(content).digest():
            raise ValueError
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about a foreign pickle before it refuses it
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}); {hint}.") from None
    if not isinstance(state, dict):
        raise RunError(f"{path} is no training state; {hint}.")
    weights = state.get("model")
    if isinstance(weights, dict):
        require_finite({k: v for k, v in weights.items() if isinstance(v, Tensor)}, str(path), hint)
    return state


HELD_OUT = 400
"""Held-out images that an epoch of the ANN is measured on under attack."""
OVERFITTED = (
    "{title} training, epoch {epoch}: catastrophic overfitting (FGSM leaves {held_out[fgsm]:.1f} % of the held-out "
    "images, PGD-10 {held_out[pgd]:.1f} %); it continues from epoch {back_to_epoch}."
)


@dataclass(frozen=True)
class Trainer:
    """Trains a network for the epochs of one section of the recipe.

    Attributes:
        context: the run; every epoch's state and log go to its folder.
        title: "ANN" or "SNN", in the log, on the screen and in errors.
        settings: the section of the recipe with epochs and learning rate.
        model: trained in place.
        batches: this rank's share of the training images.
    """

    context: RunContext
    title: str
    settings: Ann | Snn
    method: Method
    model: nn.Module
    optimizer: Optimizer
    batches: Batches

    def training(self) -> Training:
        """Return the training of the epochs that the folder's state does not hold; it stores its state after each.

        Raises:
            RunError: the training state is damaged or belongs to another stage.
        """
        context, settings, ranks = self.context, self.settings, self.context.ranks
        if ranks.size > 1:
            # Every rank draws other random numbers than any rank of another seed; torch takes 64 bits.
            torch.manual_seed((torch.initial_seed() * ranks.size + ranks.rank) % 2**64)
        schedule = Schedule(
            settings.epochs, settings.lr, settings.decay, settings.milestones,
            cyclic=isinstance(settings, Ann) and settings.schedule == "cyclic",
        )  # fmt: skip
        average = Average(self.model, self.optimizer, settings.average) if settings.average else None
        training = Training(
            self.model, self.optimizer, self.batches, self.method, schedule, context.recipe.precision,
            timesteps=getattr(settings, "timesteps", 1), ranks=ranks, generator=self.batches.generator,
            images=len(self.batches.labels), title=f"{self.title} training", progress=context.progress,
            average=average, selection=self._selection(),
        )  # fmt: skip
        training.after, training.advice = partial(self._store, training), partial(self._advice, training)
        self._restore(training)
        return training

    def _store(self, training: Training, row: dict[str, Any]) -> None:
        """Write the state after an epoch, its row, and what the user should know."""
        context = self.context
        context.log({"stage": self.title.lower(), **row})  # first: if it fails, the resumed training logs this epoch
        context.folder.write_bytes(RESUME, resume_bytes(self._state(training)))
        self._write_metrics(training)
        if "back_to_epoch" in row:
            context.progress.line(OVERFITTED.format(title=self.title, **row))

    def _advice(self, training: Training) -> str:
        epoch = len(training.rows)
        stored = f"The state after epoch {epoch} is in {self.context.folder.path}. " if epoch else ""
        return f"{stored}Lower {self.title.lower()}.lr and train into another --out."

    def _selection(self) -> Selection | None:
        """Return what measures each epoch of an ANN under attack, if it is trained or chosen for that."""
        settings, device = self.settings, self.context.device
        if not isinstance(settings, Ann) or (settings.training == "plain" and settings.select == "last"):
            return None
        held_out = self.context.splits()[1]
        if held_out is None:
            return None
        split = data.first(held_out, min(HELD_OUT, len(held_out)))
        images, labels = split.images.to(device).float() / 255, split.labels.to(device)
        return Selection(images, labels, settings.eps, settings.select)

    def _write_metrics(self, training: Training) -> None:
        self.context.folder.write_metrics([{"stage": self.title.lower(), **row} for row in training.rows])

    def _state(self, training: Training) -> dict[str, Any]:
        return {"semantics": SEMANTICS, "stage": self.title, **training.state_dict()}

    def _restore(self, training: Training) -> None:
        """Continue from the folder's training state, if it has one."""
        folder = self.context.folder
        if not folder.has(RESUME):
            return
        path = folder.path / RESUME
        state = read_resume(path)
        try:
            self._check(state, str(path))
            training.load_state_dict(state)
            self._write_metrics(training)  # the earlier process may have died between its state and its log
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            reason = " ".join(str(error).split())
            raise RunError(f"{path} does not fit this run ({reason}); delete it to train from the start.") from None

    def _check(self, state: dict[str, Any], path: str) -> None:
        size = self.context.ranks.size
        if state["stage"] != self.title:
            raise RunError(f"{path} is of the {state['stage']} training; delete it to train from the start.")
        if (semantics := state.get("semantics", 1)) != SEMANTICS:
            raise RunError(
                f"{path} was written by training semantics {semantics}, but this hiresnn has {SEMANTICS} and would "
                "train another network; train into another --out."
            )
        if len(state["ranks"]) != size:
            raise RunError(
                f"{path} is of a training by {len(state['ranks'])} processes, not {size}; continue it with torchrun "
                "and as many, or delete it to train from the start."
            )


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
        >>> from hiresnn.app.recipe import read
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
