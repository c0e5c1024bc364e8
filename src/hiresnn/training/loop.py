"""Training: epochs with their learning rates, and the loop of a batch (Algorithm 1), one for every method and the ANN.

Each of the N periods of a batch does a forward pass on the noisy images, one backward pass for the gradients of
weights, thresholds, leaks and input, all at the old weights (lines 13-18), a step (lines 19-22), and updates the noise.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hiresnn.attacks import fgsm, pgd
from hiresnn.attacks.gate import frozen
from hiresnn.checks import correct
from hiresnn.errors import DataError, NotFiniteError, UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import Window
from hiresnn.progress import Progress
from hiresnn.training.losses import Noise, Presentation, cross_entropy
from hiresnn.training.ranks import ALONE, Ranks

BETA = 1e-3
"""Strength of `orthogonalise`, as published."""


@dataclass
class Method:
    """How one batch is trained on (Algorithm 1).

    Attributes:
        periods: N, at least 1. A batch is presented in N windows of floor(T / N) steps, with an update after each.
        replay: every period has all T steps instead.
        noise: noise on the images of each period.
        state: "reset": every period starts from rest and has its own loss. "carry": membranes, dropout masks and
            accumulated logits continue, detached, so that the loss of a period covers all steps so far.
        loss: mean loss over the rows of a period.
        after: changes the weights after each update.
        rounding: rounds the weights of the network in place, for every pass and at the end; see `rounded`.
    """

    periods: int = 1
    noise: Noise = field(default_factory=Noise)
    state: Literal["reset", "carry"] = "reset"
    loss: Callable[[Presentation], Tensor] = cross_entropy
    replay: bool = False
    after: Callable[[nn.Module], None] | None = None
    rounding: Callable[[], None] | None = None

    def steps(self, timesteps: int) -> int:
        """Return the timesteps of one period, floor(T / N), or T where batches are replayed."""
        if self.replay and self.periods >= 1:
            return timesteps
        if not 1 <= self.periods <= timesteps:
            hint = "give 1 to timesteps (noise.periods and snn.timesteps in a recipe)"
            raise UsageError(f"periods is {self.periods} and timesteps is {timesteps}; {hint}.")
        return timesteps // self.periods


class PeriodResult(NamedTuple):
    """Mean loss, number of correct answers and number of images of one period, over all ranks."""

    loss: float
    correct: int
    images: int


def train_batch(
    model: nn.Module,
    optimizer: Optimizer,
    images: Tensor,
    labels: Tensor,
    method: Method,
    *,
    timesteps: int | None = None,
    precision: torch.dtype = torch.float32,
    ranks: Ranks = ALONE,
) -> list[PeriodResult]:
    """Train on one batch; return one result per period. A batch without images changes nothing.

    Args:
        model: a SpikingNetwork, or an ANN, which has no timesteps and is updated once per batch.
        optimizer: holds the parameters of `model`.
        images, labels: [B, C, H, W] in [0, 1], or event grids, of which a period sees its bins (`bins_of`); and [B].
        method: noise, loss, periods; its noise is updated in place.
        timesteps: T of all periods together; None is the network's own T.
        precision: torch.bfloat16 runs products under autocast; membranes, losses and weights stay float32.
        ranks: the processes that train together. `images` are this rank's rows of the global batch, possibly none.

    Raises:
        NotFiniteError: the loss is not finite. The update of that period was not made.
    """
    rows, count = len(images), int(ranks.summed(len(images))[0])
    if count == 0:
        return [PeriodResult(0.0, 0, 0)] * method.periods
    if rows == 0:  # Every rank takes part in every pass: this one shows a blank image whose loss has weight 0.
        images, labels = images.new_zeros(1, *images.shape[1:]), labels.new_zeros(1)
    if timesteps is None:
        timesteps = model.timesteps if isinstance(model, SpikingNetwork) else 1
    window = Window(method.steps(timesteps), len(images), carried=method.state == "carry")
    present, earlier = ranks.presenter(model), None
    results: list[PeriodResult] = []
    cast = partial(torch.autocast, images.device.type, torch.bfloat16, enabled=precision is torch.bfloat16)
    try:
        with rounded(model, method.rounding), cast():
            method.noise.begin(model, bins_of(images, 0, window, method), labels)
        for period in range(method.periods):
            if period:
                window = window.following() if window.carried else Window(window.timesteps, window.batch)
            steps = window.timesteps * (period + 1 if window.carried else 1)
            part = bins_of(images, period, window, method)
            shown = method.noise.apply(part)
            if method.noise.needs_gradient:
                shown = shown.detach().requires_grad_()
            with rounded(model, method.rounding):
                again = _further_pass(model, cast, steps, images.device)
                with cast():
                    logits = present(shown, window)
                logits = logits.float()
                loss = method.loss(Presentation(again, part, shown, labels, logits, steps, earlier))
                earlier = logits.detach() / steps
                optimizer.zero_grad(set_to_none=True)
                ranks.weighted(loss, rows, count).backward()  # type: ignore[no-untyped-call]
            result = _result(loss, logits, labels, rows, count, ranks)
            if not math.isfinite(result.loss):
                raise NotFiniteError(f"the loss is {result.loss}")
            optimizer.step()
            if isinstance(model, SpikingNetwork):
                model.clamp_neurons_()
            if method.after is not None:
                method.after(model)
            if shown.grad is not None:
                method.noise.update(shown.grad)
            results.append(result)
    finally:
        method.noise.end()
    return results


def bins_of(images: Tensor, period: int, window: Window, method: Method) -> Tensor:
    """Return what a period sees of a batch: images as they are, and of event grids [B, T, P, H, W] the period's bins.

    Period n of N, counted from 0, sees bins n T/N to (n + 1) T/N - 1 at its T/N timesteps, so that the periods together
    see the recording once, in order; where N does not divide T, the bins at the end are left out. A replayed batch is
    seen as a whole, as is every batch of a method with one period.
    """
    if images.dim() != 5 or method.replay or method.periods == 1:
        return images
    return images[:, period * window.timesteps : (period + 1) * window.timesteps]


def _further_pass(
    model: nn.Module, cast: Callable[[], torch.autocast], steps: int, device: torch.device
) -> Callable[..., Tensor]:
    """Return a further pass of `model` for a loss: over `steps` timesteps from rest, in the training's precision."""
    devices = [device] if device.type == "cuda" else []
    cpu_state, cuda_states = torch.get_rng_state(), [torch.cuda.get_rng_state(device) for device in devices]
    options = {"timesteps": steps} if isinstance(model, SpikingNetwork) else {}

    def further_pass(images: Tensor, same_draws: bool = False) -> Tensor:
        with torch.random.fork_rng(devices, enabled=same_draws), cast():
            if same_draws:
                torch.set_rng_state(cpu_state)
                for device, state in zip(devices, cuda_states, strict=True):
                    torch.cuda.set_rng_state(state, device)
            logits: Tensor = model(images, **options)
        return logits.float()

    return further_pass


def _result(loss: Tensor, logits: Tensor, labels: Tensor, rows: int, count: int, ranks: Ranks) -> PeriodResult:
    """Read loss and correct answers from the device, once, after the backward pass is queued there."""
    mean, right = torch.stack([loss.detach().double(), correct(logits, labels).sum().double()]).tolist()
    if ranks.size > 1:
        summed, right = ranks.summed(mean * rows if rows else 0.0, right if rows else 0.0)
        mean = summed / count
    return PeriodResult(mean, int(right), count)


@contextmanager
def rounded(model: nn.Module, rounding: Callable[[], None] | None) -> Iterator[None]:
    """Inside the block the parameters of `model` are what `rounding` makes of them in place, if it is not None.

    The gradient of the rounded network, applied to the network's own weights, is the straight-through gradient: the
    derivative of rounding counts as 1 (Bengio et al. 2013).
    """
    if rounding is None:
        yield
        return
    parameters = list(model.parameters())
    values = [parameter.detach().clone() for parameter in parameters]
    rounding()
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, values, strict=True):
                parameter.copy_(value)


@torch.no_grad()
def orthogonalise(model: nn.Module) -> None:
    """Pull the rows of every weight W towards an orthogonal system: W <- (1 + b) W - b W W^T W, b = BETA.

    SNN-RAT (Ding et al., NeurIPS 2022) does this after each update; a convolution is a matrix of one row per output
    channel.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            rows = layer.weight.flatten(1)
            layer.weight.copy_(((1 + BETA) * rows - BETA * rows @ rows.T @ rows).view_as(layer.weight))


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
            "fgsm": fgsm(network, images, labels, eps=self.eps, float32_loss=True),
            "pgd": pgd(
                network, images, labels, eps=self.eps, step=self.eps / 4, iterations=ITERATIONS, float32_loss=True
            ),
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
        before: gets the training and the number of each epoch, from 0, before it begins.
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
    before: Callable[[Any, int], object] | None = None
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
                if self.before is not None:
                    self.before(self, epoch)
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
