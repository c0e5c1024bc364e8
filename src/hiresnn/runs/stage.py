"""One stage of training, ANN or SNN: epochs with a schedule, a log, and a state to resume from."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from hiresnn.data import Batches
from hiresnn.errors import NotFiniteError, RunError
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress
from hiresnn.runs.checkpoint import read_resume, resume_bytes
from hiresnn.runs.folder import RESUME, RunFolder
from hiresnn.runs.schema import Ann, Snn
from hiresnn.training import ALONE, Method, Ranks, learning_rate, set_learning_rate, train_epoch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Stage:
    """What a stage trains with; `title` ("ANN", "SNN") names it in the log and on the screen."""

    title: str
    epochs: int
    lr: float
    decay: float
    milestones: Sequence[float]
    timesteps: int
    method: Method
    precision: str

    @classmethod
    def of(cls, title: str, settings: Ann | Snn, method: Method, *, timesteps: int = 1, precision: str) -> Stage:
        """The stage that a recipe's section describes."""
        return cls(
            title,
            settings.epochs,
            settings.lr,
            settings.decay,
            settings.milestones,
            timesteps,
            method,
            precision,
        )

    def fit(
        self,
        folder: RunFolder,
        model: nn.Module,
        optimizer: Optimizer,
        batches: Batches,
        progress: Progress,
        ranks: Ranks = ALONE,
    ) -> None:
        """Train all epochs that the folder's training state does not hold yet; the state is kept epoch by epoch.

        Every one of `ranks` calls this, with its share of the batches; what they draw differs.

        Raises:
            NotFiniteError: names epoch and batch; the state of the last good epoch is in the folder.
            RunError: a training state that is damaged or belongs to another stage.
        """
        if ranks.size > 1:
            # No rank draws as another seed's does; torch takes 64 bits.
            torch.manual_seed((torch.initial_seed() * ranks.size + ranks.rank) % 2**64)
        rows = self._restore(folder, model, optimizer, batches, ranks)
        images = len(batches.labels)
        title = f"{self.title} training"
        with progress.task(title, self.epochs * images, done=len(rows) * images) as task:
            for epoch in range(len(rows), self.epochs):
                lr = learning_rate(epoch, self.epochs, lr=self.lr, decay=self.decay, milestones=self.milestones)
                set_learning_rate(optimizer, lr)
                start = time.perf_counter()
                where = f"epoch {epoch + 1} of {self.epochs}"

                def advance(count: int, note: str, where: str = where) -> None:
                    task.advance(count, f"{where}, {note}")

                try:
                    result = train_epoch(
                        model,
                        optimizer,
                        batches,
                        self.method,
                        timesteps=self.timesteps,
                        precision=PRECISIONS[self.precision],
                        advance=advance,
                        ranks=ranks,
                    )
                except NotFiniteError as error:
                    kept = f" The state after epoch {epoch} is kept in {folder.path}." if epoch else ""
                    raise NotFiniteError(
                        f"{self.title} training, {where}: {error}.{kept} "
                        f"Lower {self.title.lower()}.lr and train into another --out."
                    ) from None
                rows.append(self._row(epoch, result.loss, result.accuracy, lr, time.perf_counter() - start, model))
                folder.write_bytes(RESUME, resume_bytes(self._state(rows, model, optimizer, batches, ranks)))
                folder.write_metrics(rows)

    def _row(
        self, epoch: int, loss: float, accuracy: float, lr: float, seconds: float, model: nn.Module
    ) -> dict[str, Any]:
        row: dict[str, Any] = {
            "stage": self.title.lower(),
            "epoch": epoch + 1,
            "loss": loss,
            "train_accuracy": accuracy,
            "lr": lr,
            "seconds": round(seconds, 3),
        }
        if isinstance(model, SpikingNetwork):
            row["thresholds"] = {name: lif.threshold.item() for name, lif in model.neurons.items()}
            row["leaks"] = {name: lif.leak.item() for name, lif in model.neurons.items()}
        return row

    def _state(
        self, rows: list[dict[str, Any]], model: nn.Module, optimizer: Optimizer, batches: Batches, ranks: Ranks
    ) -> dict[str, Any]:
        device = next(model.parameters()).device
        own = {
            "noise": {name: value.cpu() for name, value in self.method.noise.state_dict().items()},
            "random": torch.get_rng_state(),
            # Of the GPU computed on alone: where it goes on there may be fewer.
            "cuda_random": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else [],
        }
        return {
            "stage": self.title,
            "rows": json.dumps(rows),
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "ranks": ranks.gathered(own),
            "order": batches.generator.get_state() if batches.generator is not None else None,
        }

    def _restore(
        self, folder: RunFolder, model: nn.Module, optimizer: Optimizer, batches: Batches, ranks: Ranks
    ) -> list[dict[str, Any]]:
        """Continue from the folder's training state, if there is one; returns the log so far."""
        if not folder.has(RESUME):
            return []
        path = folder.path / RESUME
        state = read_resume(path)
        try:
            if state["stage"] != self.title:
                raise RunError(f"{path} is of the {state['stage']} training; delete it to train from the start.")
            if len(state["ranks"]) != ranks.size:
                raise RunError(
                    f"{path} is of a training by {len(state['ranks'])} processes, not {ranks.size}; continue it with "
                    "torchrun and as many, or delete it to train from the start."
                )
            own = state["ranks"][ranks.rank]
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            device = next(model.parameters()).device
            self.method.noise.load_state_dict({k: v.to(device) for k, v in own["noise"].items()})
            torch.set_rng_state(own["random"])
            if own["cuda_random"] and device.type == "cuda":
                torch.cuda.set_rng_state(own["cuda_random"][0], device)
            if batches.generator is not None:
                batches.generator.set_state(state["order"])
            rows: list[dict[str, Any]] = json.loads(state["rows"])
            folder.write_metrics(rows)  # a run may have died between its state and its log
        except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise RunError(f"{path} does not fit this run ({reason}); delete it to train from the start.") from None
        return rows
