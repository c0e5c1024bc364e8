"""`hiresnn.fit`: train a network from Python, with the loop and the settings of `hiresnn train`."""

from __future__ import annotations

import copy
import io
import math
import operator
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hiresnn.attacks.gate import seeded
from hiresnn.data.batches import LabelledImages, UserBatches
from hiresnn.errors import RunError, UsageError, closest
from hiresnn.exchange import rounding as rounding_of
from hiresnn.files import write_atomically
from hiresnn.metrics import Accuracy
from hiresnn.models import QCFS
from hiresnn.network import (
    ConversionWarning,
    NotRescalableError,
    SpikingNetwork,
    convert,
    memory_format_of,
    uncompiled,
)
from hiresnn.plugins import offered
from hiresnn.progress import Progress
from hiresnn.training.epochs import PRECISIONS, Schedule, Training, trained_parameters
from hiresnn.training.methods import METHODS, Method
from hiresnn.training.methods import method as method_of

Log = Callable[[dict[str, Any]], object]
PIXELS = "a number in pixel units, from 0 to 1, such as 8 / 255"
CALIBRATION_IMAGES = 512
"""Training images that an ANN is converted with."""


@dataclass(frozen=True)
class FitResult:
    """What `fit` returns.

    Attributes:
        network: the trained network: the object that was passed, or the spiking network that `fit` made of an ANN.
        rows: one dict per epoch: epoch, loss, train_accuracy (percent, on the noisy images), lr, seconds, and the
            thresholds and leaks of a spiking network.
        test_accuracy: percent of the test images; None without test images.
    """

    network: nn.Module
    rows: list[dict[str, Any]]
    test_accuracy: float | None


def fit(
    network: nn.Module, train: LabelledImages, test: LabelledImages | None = None, *, method: str = "hire",
    epochs: int = 30, batch_size: int = 32, lr: float | None = None, noise_step: float = 0.013, periods: int = 2,
    timesteps: int = 6, seed: int = 0, precision: str = "float32", rounding: str | None = None, progress: bool = True,
    checkpoint: str | Path | None = None, log: Log | None = None,
) -> FitResult:  # fmt: skip
    """Train a network in place, a spiking one by Adam over its own T, an ANN by SGD with momentum.

    With a method of spiking networks, a trained ANN is first converted with up to 512 training images, with rescale,
    start 0.5 and threshold_scale 0.7, or with the defaults of `convert` if it cannot be rescaled, which a line says. It
    stays as it is; the result holds the spiking network. Images are moved to the device of the network.

    Args:
        network: a SpikingNetwork made by `convert`, or an ANN.
        train: (images [N, C, H, W], labels [N]); a Dataset of (image, label); or batches in their own size and order,
            such as a DataLoader or `hiresnn.data.Batches`, which also augments. Images are uint8 or float in [0, 1].
        test: the same, for the accuracy at the end.
        method: "ann", or a key of `hiresnn.training.METHODS`, such as "traditional" or "hire"; not "converted".
        epochs: total number of epochs; a checkpoint continues only with the number that it was begun with.
        batch_size: images per batch, at least 1; batches that are given ready have their own.
        lr: first learning rate, default 1e-4 and 0.01 for an ANN; it falls in steps as in section 5.1.
        noise_step: step and bound of the crafted noise, eps_s = eps_t, in pixel units.
        periods: N, the number of updates per batch, each on floor(T / N) timesteps; 1 to T.
        timesteps: T of an ANN that is converted; a spiking network has its own.
        seed: of shuffling, dropout and noise.
        precision: "float32", or "bfloat16" for convolutions and matrix products.
        rounding: bits that a spiking network is trained for and rounded to, such as "int4"; see docs/deploy.md.
        progress: whether to show the progress on standard error.
        checkpoint: file for the training state after each epoch. If it exists, the training continues from it.
        log: called with each epoch's row.

    Raises:
        UsageError, DataError: a setting, the network, the images or the labels cannot be used.
        RunError, NotFiniteError: the checkpoint cannot be used, or the loss is not finite.

    Example:
        >>> hiresnn.fit(snn, (images, labels), (test_images, test_labels), epochs=5).test_accuracy
    """
    counts = {"epochs": epochs, "batch_size": batch_size, "periods": periods, "seed": seed}
    epochs, batch_size, periods, seed = (_whole(name, value) for name, value in counts.items())
    where = None if checkpoint is None else Path(checkpoint)
    if where is not None and not where.absolute().parent.is_dir():
        raise UsageError(f"checkpoint is {where}, but there is no folder {where.parent}; create it.")
    shown = Progress(quiet=not progress)
    network = _of_method(method, uncompiled(network), train, timesteps, seed, shown)
    spiking, mode, device = isinstance(network, SpikingNetwork), network.training, next(network.parameters()).device
    lr = _number("lr", (1e-4 if spiking else 0.01) if lr is None else lr)
    noise_step = _number("noise_step", noise_step, PIXELS)
    tested = None if test is None else UserBatches("test", test, 200, device)  # checked before the training
    settings = {
        "method": method, "epochs": epochs, "batch_size": batch_size, "noise_step": noise_step, "periods": periods,
        "lr": lr, "seed": seed, "precision": precision, "rounding": rounding,
    }  # fmt: skip
    training = _training(network, train, settings)
    try:
        with seeded(seed):
            _train(training, settings, where, shown, log)
        return FitResult(network, training.rows, None if tested is None else _accuracy(network, tested))
    finally:
        network.train(mode)


def _whole(name: str, value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise UsageError(f"{name} is {value!r}; give a whole number.") from None


def _number(name: str, value: Any, what: str = "a number") -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise UsageError(f"{name} is {value!r}; give {what}.") from None


def _of_method(
    name: str, network: nn.Module, train: LabelledImages, timesteps: int, seed: int, progress: Progress
) -> nn.Module:
    """Return the network that the method trains: an ANN is converted for a method of spiking networks."""
    if name == "ann" and isinstance(network, SpikingNetwork):
        raise UsageError(f"method is {name!r}, which trains an ANN, not a SpikingNetwork; choose another method.")
    if name == "converted":
        raise UsageError('method "converted" is the network that hiresnn.convert returns; fit has nothing to train.')
    known = {"ann", *METHODS, *offered("methods")} - {"converted"}
    if name not in known:
        raise UsageError(f"method is {name!r}; {closest(name, sorted(known))}.")
    if name == "ann" or isinstance(network, SpikingNetwork):
        return network
    return _converted(network, train, timesteps, seed, progress)


def _converted(ann: nn.Module, train: LabelledImages, timesteps: int, seed: int, progress: Progress) -> SpikingNetwork:
    """Convert an ANN with the first training images, and say so."""
    progress.line(f"The ANN is converted to a spiking network with T = {timesteps}; result.network is that network.")
    device = next(ann.parameters()).device
    with seeded(seed):
        images: list[Tensor] = []
        for batch, _ in UserBatches("train", train, 128, device):
            images.append(batch)
            if sum(map(len, images)) >= CALIBRATION_IMAGES:
                break
        calibration = torch.cat(images)[:CALIBRATION_IMAGES]
        scale = 1.0 if any(isinstance(module, QCFS) for module in ann.modules()) else 0.7
        try:  # nearest to the ANN, see docs/your-network.md
            return convert(ann, calibration, timesteps=timesteps, threshold_scale=scale, start=0.5, rescale=True)
        except NotRescalableError as error:
            progress.line(f"The conversion does not rescale the ANN: {error}")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConversionWarning)  # given above
                return convert(ann, calibration, timesteps=timesteps)


def _training(network: nn.Module, train: LabelledImages, settings: dict[str, Any]) -> Training:
    """Check the settings and return the training they describe, with the optimisers and seeds of `hiresnn train`."""
    name, epochs, lr, precision, step = (settings[k] for k in ("method", "epochs", "lr", "precision", "noise_step"))
    spiking = isinstance(network, SpikingNetwork)
    if epochs < 0:
        raise UsageError(f"epochs is {epochs}; give 0 or more.")
    if not 0 < lr < math.inf:
        raise UsageError(f"lr is {lr}; give a rate above 0.")
    if precision not in PRECISIONS:
        raise UsageError(f"precision is {precision!r}; {closest(precision, PRECISIONS)}.")
    if not 0 <= step <= 1:
        raise UsageError(f"noise_step is {step:g}; give {PIXELS}.")
    parameters = trained_parameters(network, epochs)
    optimizer: torch.optim.Optimizer
    if spiking:
        method = method_of(name, periods=settings["periods"], step=step)
        schedule = Schedule(epochs, lr)
        optimizer = torch.optim.Adam(parameters, lr=lr, fused=True)
    else:
        method, schedule = Method(), Schedule(epochs, lr, 0.1, (0.625, 0.75, 0.875))
        network.to(memory_format=memory_format_of(network))  # type: ignore[call-overload]
        optimizer = torch.optim.SGD(parameters, lr=lr, momentum=0.9, weight_decay=5e-4, fused=True)
    generator = torch.Generator().manual_seed(2 * settings["seed"] + spiking)
    device = next(network.parameters()).device
    batches = UserBatches("train", train, settings["batch_size"], device, generator)
    settings["batches"] = len(batches)  # of a checkpoint, too
    if settings["rounding"] is not None:
        if not isinstance(network, SpikingNetwork):
            raise UsageError('rounding is for spiking networks; leave it out with method "ann".')
        method.rounding = rounding_of(network, settings["rounding"])
    return Training(network, optimizer, batches, method, schedule, precision, generator=batches.generator)


def _train(
    training: Training, settings: dict[str, Any], checkpoint: Path | None, progress: Progress, log: Log | None
) -> None:
    """Train all epochs that the checkpoint does not hold."""
    if checkpoint is not None and isinstance(training.batches, UserBatches):
        settings["images"] = training.batches.content()
    if checkpoint is not None and checkpoint.exists():
        _resume(training, settings, checkpoint)

    def after(row: dict[str, Any]) -> None:
        if log is not None:  # first: if it fails, the resumed training logs this epoch
            log(copy.deepcopy(row))
        if checkpoint is not None:
            state = io.BytesIO()
            torch.save({"settings": settings, **training.state_dict()}, state)
            write_atomically(checkpoint, state.getvalue())

    training.progress, training.after = progress, after
    training.advice = lambda: f"Lower lr, which is {settings['lr']:g}."
    training.run()


def _resume(training: Training, settings: dict[str, Any], path: Path) -> None:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        before = state["settings"]
        pairs = {name: (before.get(name), settings.get(name)) for name in {**before, **settings}}
        other = [
            "other images" if name == "images" else f"{name} {then}, not {now}"
            for name, (then, now) in pairs.items()
            if then != now
        ]
        if not other:
            training.load_state_dict(state)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(
            f"checkpoint {path} does not fit this training ({type(error).__name__}: {reason}); name another file."
        ) from None
    if other:
        raise RunError(f"checkpoint {path} is of a training with {', '.join(other)}; use those, or name another file.")


@torch.no_grad()
def _accuracy(network: nn.Module, test: UserBatches) -> float:
    accuracy = Accuracy()
    network.eval()
    for images, labels in test:
        accuracy.update(network(images), labels)
    return accuracy.compute()
