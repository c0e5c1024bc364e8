"""A training over epochs: learning rates (section 5.1), held-out accuracies under attack, a state to resume from."""

import copy
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hiresnn.attacks import fgsm, pgd
from hiresnn.attacks.gate import frozen
from hiresnn.errors import DataError, NotFiniteError
from hiresnn.metrics import correct
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress
from hiresnn.training.loop import Method, train_batch
from hiresnn.training.ranks import ALONE, Ranks

PEAK = 0.4
"""Fraction of the epochs at which a cyclic rate is highest."""


@dataclass(frozen=True)
class Schedule:
    """Learning rates of a training.

    >>> Schedule(epochs=30, lr=1e-4).rate(18)
    2e-05

    Attributes:
        epochs: number of epochs.
        lr: rate of the first epoch.
        decay: factor at each milestone, in (0, 1].
        milestones: fractions of the epochs, each rounded to a whole epoch.
        cyclic: instead of the steps, rise linearly to `lr` until 40 % of the epochs and fall linearly to 0.
    """

    epochs: int
    lr: float
    decay: float = 0.2
    milestones: Sequence[float] = (0.6, 0.8, 0.9)
    cyclic: bool = False

    def rate(self, epoch: int) -> float:
        """Return the learning rate of `epoch`, counted from 0: lr * decay ** (milestones passed), unless `cyclic`."""
        if self.cyclic:
            done = (epoch + 0.5) / self.epochs
            return self.lr * min(done / PEAK, (1 - done) / (1 - PEAK))
        passed = sum(epoch >= round(fraction * self.epochs) for fraction in self.milestones)
        return float(self.lr * self.decay**passed)


HELD_OUT = 400
"""Held-out images that an epoch of a robust training is measured on, unless there are fewer."""
ITERATIONS = 10
"""Steps of the PGD that measures robustness, each of eps / 4."""
OVERFITTED = 10.0
"""Points by which FGSM minus PGD-10 may exceed that of the best epoch."""


@dataclass
class Selection:
    """Measures a network under FGSM and PGD-10 after each epoch.

    Catastrophic overfitting (Wong et al. 2020), a network that fools one-step attacks, is assumed where FGSM minus
    PGD-10 grows by more than OVERFITTED points over that of the best epoch while PGD-10 falls.

    Attributes:
        images, labels, eps: [N, C, H, W] in [0, 1] and [N], held out of training; bound of both attacks.
        select: "robust" takes the epoch with the highest accuracy under PGD-10, the later one of equals.
        best: that epoch: its number, its accuracies, and the state of the training; empty before the first.
    """

    images: Tensor
    labels: Tensor
    eps: float
    select: Literal["last", "robust"] = "last"
    best: dict[str, Any] = field(default_factory=dict)

    def measure(self, network: nn.Module) -> dict[str, float]:
        """Return the accuracies in percent: clean, fgsm, pgd."""
        images, labels = self.images, self.labels
        attacked = {
            "clean": images,
            "fgsm": fgsm(network, images, labels, eps=self.eps),
            "pgd": pgd(network, images, labels, eps=self.eps, step=self.eps / 4, iterations=ITERATIONS),
        }
        with frozen(network), torch.no_grad():
            right = {name: correct(network(pixels), labels) for name, pixels in attacked.items()}
        return {name: round(100 * answers.float().mean().item(), 2) for name, answers in right.items()}

    def overfitted(self, accuracies: dict[str, float]) -> bool:
        if not self.best:
            return False
        best = self.best["accuracies"]
        growth = (accuracies["fgsm"] - accuracies["pgd"]) - (best["fgsm"] - best["pgd"])
        return bool(accuracies["pgd"] < best["pgd"] and growth > OVERFITTED)

    def consider(self, epoch: int, accuracies: dict[str, float], state: dict[str, Any]) -> None:
        """Store a copy of the training's `state` if this epoch is the best so far."""
        if not self.best or accuracies["pgd"] >= self.best["accuracies"]["pgd"]:
            self.best = {"epoch": epoch, "accuracies": accuracies, "state": copy.deepcopy(state)}


class Average:
    """Averages weights and batch norm statistics in `model`, a copy in eval mode, after each step of the optimiser.

        average = d * average + (1 - d) * weights,   d = min(decay, (1 + n) / (10 + n)) at update n, decay in [0, 1)

    Counters are copied. (torch's AveragedModel takes over the first weights as they are: other numbers.)
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0
        self.hook = optimizer.register_step_post_hook(lambda *_: self.update(model))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        values, averages = model.state_dict(), self.model.state_dict()
        names = {(average.data_ptr(), average.shape): name for name, average in averages.items()}  # tied weights once
        for name in names.values():
            average = averages[name]
            if average.is_floating_point():
                average.lerp_(values[name], 1 - decay)
            else:
                average.copy_(values[name])

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.updates = state["updates"]


PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass
class Training:
    """A network, its optimiser, its images, and how far the training has come; see `fit` and `train_batch`.

    Attributes:
        batches: iterated once per epoch; their attribute `generator`, if they have one, decides their order.
        precision: a key of PRECISIONS.
        images: number of training images, the unit of progress; 0 counts batches instead.
        after: gets the row of each epoch when it is done.
        rows: one row per finished epoch.
    """

    model: nn.Module
    optimizer: Optimizer
    batches: Any
    method: Method
    schedule: Schedule
    precision: str = "float32"
    ranks: Ranks = ALONE
    images: int = 0
    title: str = "Training"
    progress: Progress = field(default_factory=partial(Progress, quiet=True))
    after: Callable[[dict[str, Any]], object] = lambda row: None
    average: Average | None = None
    selection: Selection | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)

    def run(self) -> None:
        """Train the epochs that `rows` does not hold yet; `model` ends with the averaged, selected or rounded weights.

        Raises NotFiniteError, with epoch and batch, where a loss is not finite, or a weight at the end of an epoch, as
        a membrane that is NaN never spikes; DataError where a label is not a class of the network.
        """
        epochs, count = self.schedule.epochs, self.images or len(self.batches)
        progress = self.progress if epochs else Progress(quiet=True)  # the weights may still have to be rounded
        unit = "images" if self.images else "batches"
        train = partial(train_batch, ranks=self.ranks, precision=PRECISIONS[self.precision])
        with progress.task(self.title, epochs * count, unit, done=len(self.rows) * count) as task:
            for epoch in range(len(self.rows), epochs):
                start, name = time.perf_counter(), f"epoch {epoch + 1} of {epochs}"
                loss, correct_answers, presentations = 0.0, 0, 0  # sums over the periods
                lr = self.schedule.rate(epoch)
                for group in self.optimizer.param_groups:
                    group["lr"] = lr
                self.model.train()
                for number, (images, labels) in enumerate(self.batches, start=1):
                    with self._located(name, f" at batch {number}"):
                        periods = train(self.model, self.optimizer, images, labels, self.method)
                    loss += periods[0].images * sum(period.loss for period in periods)
                    correct_answers += sum(period.correct for period in periods)
                    presentations += sum(period.images for period in periods)
                    mean = loss / max(presentations, 1)
                    task.advance(periods[0].images if self.images else 1, f"{name}, loss {mean:.3f}")
                with self._located(name):
                    for key, parameter in self.model.named_parameters():
                        if not parameter.isfinite().all():
                            raise NotFiniteError(f"{key} is no longer finite")
                presentations = max(presentations, 1)
                accuracy = 100 * correct_answers / presentations
                row: dict[str, Any] = {"epoch": epoch + 1, "loss": loss / presentations, "train_accuracy": accuracy}
                row |= {"lr": lr, "seconds": round(time.perf_counter() - start, 3)}
                self.rows.append(row | self._measured(epoch + 1))
                self.after(self.rows[-1])
            self._finish()

    @contextmanager
    def _located(self, epoch: str, batch: str = "") -> Iterator[None]:
        """Add to an error where it happened, and to one of numbers that are not finite what to do."""
        try:
            yield
        except NotFiniteError as error:
            hint = f"Lower the learning rate, which is {self.schedule.lr:g} (ann.lr or snn.lr in a recipe) and restart"
            raise NotFiniteError(f"{self.title}, {epoch}: {error}{batch}. {hint}.") from None
        except IndexError as error:
            if "Target" not in str(error):  # which is what the cross-entropy says
                raise
            raise DataError(f"{self.title}, {epoch}: a label is not a class of the network{batch} ({error})") from error

    def _measured(self, epoch: int) -> dict[str, Any]:
        """Return the neurons and the held-out accuracies after an epoch; go back to the best if this one overfits."""
        row: dict[str, Any] = {}
        if isinstance(self.model, SpikingNetwork):
            row["thresholds"] = {name: lif.threshold.item() for name, lif in self.model.neurons.items()}
            row["leaks"] = {name: lif.leak.item() for name, lif in self.model.neurons.items()}
        selection, start = self.selection, time.perf_counter()
        if selection is None:
            return row
        network = self.model if self.average is None else self.average.model
        accuracies = row["held_out"] = self.ranks.from_lead(selection.measure(network))
        if selection.overfitted(accuracies):
            # A copy, because an optimiser keeps the tensors that it loads and changes them at its next step.
            self._load_weights(copy.deepcopy(selection.best["state"]))
            best = row["back_to_epoch"] = selection.best["epoch"]
            left = f"FGSM leaves {accuracies['fgsm']:.1f} % of the held-out images, PGD-10 {accuracies['pgd']:.1f} %"
            overfitting = f"{self.title}, epoch {epoch}: catastrophic overfitting ({left})"
            self.progress.line(f"{overfitting}; it continues from epoch {best}.")
        else:
            selection.consider(epoch, accuracies, self._weights())
        row["measuring_seconds"] = round(time.perf_counter() - start, 3)
        return row

    def _finish(self) -> None:
        if self.selection is not None and self.selection.select == "robust" and self.selection.best:
            self._load_weights(self.selection.best["state"])
        if self.average is not None:
            self.model.load_state_dict(self.average.model.state_dict())
            if isinstance(self.model, SpikingNetwork):
                self.model.clamp_neurons_()  # the average takes the weights before they are clamped
        if self.method.rounding is not None:
            self.method.rounding()

    def _weights(self) -> dict[str, Any]:
        average = {} if self.average is None else {"average": self.average.state_dict()}
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(), **average}

    def _load_weights(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    @property
    def generators(self) -> tuple[torch.Generator | None, torch.Generator | None]:
        """The generators of the order of the batches and of Poisson spikes; None where it is torch's."""
        encoding = self.model.encoding.generator if isinstance(self.model, SpikingNetwork) else None
        return getattr(self.batches, "generator", None), encoding

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed training needs. Every rank calls this; the state holds what each draws from."""
        device, (order, encoding) = next(self.model.parameters()).device, self.generators
        drawn_from = {
            "noise": {name: value.cpu() for name, value in self.method.noise.state_dict().items()},
            "random": torch.get_rng_state(),
            # Only of the GPU in use: the machine that resumes may have fewer GPUs.
            "cuda_random": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else [],
            "encoding": None if encoding is None else encoding.get_state(),
        }
        return {
            "rows": json.dumps(self.rows),
            **self._weights(),
            **({} if self.selection is None else {"best": self.selection.best}),
            "ranks": self.ranks.gathered(drawn_from),
            "order": None if order is None else order.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state. A state that does not fit raises KeyError, ValueError or another plain error."""
        device, drawn_from = next(self.model.parameters()).device, state["ranks"][self.ranks.rank]
        order, encoding = self.generators
        self._load_weights(state)
        if self.selection is not None:
            self.selection.best = state["best"]
        self.method.noise.load_state_dict({name: value.to(device) for name, value in drawn_from["noise"].items()})
        torch.set_rng_state(drawn_from["random"])
        if drawn_from["cuda_random"] and device.type == "cuda":
            torch.cuda.set_rng_state(drawn_from["cuda_random"][0], device)
        if encoding is not None and drawn_from.get("encoding") is not None:
            encoding.set_state(drawn_from["encoding"])
        if order is not None:
            order.set_state(state["order"])
        self.rows = json.loads(state["rows"])
