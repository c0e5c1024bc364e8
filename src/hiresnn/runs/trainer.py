"""The training of one stage, ANN or SNN: epochs with a schedule, a log, and a state to resume from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from hiresnn import data
from hiresnn.data import Batches
from hiresnn.errors import RunError
from hiresnn.runs.context import RunContext
from hiresnn.runs.folder import RESUME
from hiresnn.runs.recipe import SEMANTICS
from hiresnn.runs.schema import Ann, Snn
from hiresnn.runs.training_state import read_resume, resume_bytes
from hiresnn.training import Average, Method, Schedule, Selection, Training

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
