"""The training of one stage, ANN or SNN: epochs with a schedule, a log, and a state to resume from."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from hiresnn.data import Batches
from hiresnn.errors import NotFiniteError, RunError
from hiresnn.network import SpikingNetwork
from hiresnn.runs.checkpoint import read_resume, resume_bytes
from hiresnn.runs.context import RunContext
from hiresnn.runs.folder import RESUME
from hiresnn.runs.recipe import SEMANTICS
from hiresnn.runs.schema import Ann, Snn
from hiresnn.training import Method, learning_rate, set_learning_rate, train_epoch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


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

    def fit(self) -> None:
        """Train the epochs that the folder's training state does not hold yet, and store the state after each.

        Raises:
            NotFiniteError: names epoch and batch; the state after the last good epoch is in the folder.
            RunError: the training state is damaged or belongs to another stage.
        """
        context, ranks, epochs = self.context, self.context.ranks, self.settings.epochs
        if ranks.size > 1:
            # Every rank draws other random numbers than any rank of another seed; torch takes 64 bits.
            torch.manual_seed((torch.initial_seed() * ranks.size + ranks.rank) % 2**64)
        rows = self._restore()
        images = len(self.batches.labels)
        with context.progress.task(f"{self.title} training", epochs * images, done=len(rows) * images) as task:
            for epoch in range(len(rows), epochs):
                lr, where = self._start(epoch), f"epoch {epoch + 1} of {epochs}"
                start = time.perf_counter()

                def advance(count: int, note: str, where: str = where) -> None:
                    task.advance(count, f"{where}, {note}")

                try:
                    result = train_epoch(
                        self.model,
                        self.optimizer,
                        self.batches,
                        self.method,
                        precision=PRECISIONS[context.recipe.precision],
                        advance=advance,
                        ranks=ranks,
                    )
                except NotFiniteError as error:
                    raise self._diverged(epoch, error) from None
                rows.append(self._row(epoch, result.loss, result.accuracy, lr, time.perf_counter() - start))
                context.folder.write_bytes(RESUME, resume_bytes(self._state(rows)))
                context.folder.write_metrics(rows)

    def _start(self, epoch: int) -> float:
        """Set the learning rate of the epoch and return it."""
        settings = self.settings
        lr = learning_rate(epoch, settings.epochs, lr=settings.lr, decay=settings.decay, milestones=settings.milestones)
        set_learning_rate(self.optimizer, lr)
        return lr

    def _diverged(self, epoch: int, error: NotFiniteError) -> NotFiniteError:
        stored = f" The state after epoch {epoch} is in {self.context.folder.path}." if epoch else ""
        return NotFiniteError(
            f"{self.title} training, epoch {epoch + 1} of {self.settings.epochs}: {error}.{stored} "
            f"Lower {self.title.lower()}.lr and train into another --out."
        )

    def _row(self, epoch: int, loss: float, accuracy: float, lr: float, seconds: float) -> dict[str, Any]:
        row: dict[str, Any] = {
            "stage": self.title.lower(),
            "epoch": epoch + 1,
            "loss": loss,
            "train_accuracy": accuracy,
            "lr": lr,
            "seconds": round(seconds, 3),
        }
        if isinstance(self.model, SpikingNetwork):
            row["thresholds"] = {name: lif.threshold.item() for name, lif in self.model.neurons.items()}
            row["leaks"] = {name: lif.leak.item() for name, lif in self.model.neurons.items()}
        return row

    def _state(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        device, generator = next(self.model.parameters()).device, self.batches.generator
        own = {
            "noise": {name: value.cpu() for name, value in self.method.noise.state_dict().items()},
            "random": torch.get_rng_state(),
            # Only of the GPU in use: the machine that resumes may have fewer GPUs.
            "cuda_random": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else [],
        }
        return {
            "semantics": SEMANTICS,
            "stage": self.title,
            "rows": json.dumps(rows),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ranks": self.context.ranks.gathered(own),
            "order": generator.get_state() if generator is not None else None,
        }

    def _restore(self) -> list[dict[str, Any]]:
        """Continue from the folder's training state, if it has one; returns the log so far."""
        folder = self.context.folder
        if not folder.has(RESUME):
            return []
        path = folder.path / RESUME
        state = read_resume(path)
        try:
            self._check(state, str(path))
            own = state["ranks"][self.context.ranks.rank]
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            device = next(self.model.parameters()).device
            self.method.noise.load_state_dict({k: v.to(device) for k, v in own["noise"].items()})
            torch.set_rng_state(own["random"])
            if own["cuda_random"] and device.type == "cuda":
                torch.cuda.set_rng_state(own["cuda_random"][0], device)
            if self.batches.generator is not None:
                self.batches.generator.set_state(state["order"])
            rows: list[dict[str, Any]] = json.loads(state["rows"])
            folder.write_metrics(rows)  # the earlier process may have died between its state and its log
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            reason = " ".join(str(error).split())
            raise RunError(f"{path} does not fit this run ({reason}); delete it to train from the start.") from None
        return rows

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
