"""`fit`: train a network, with a checkpoint from which an interrupted training continues bit for bit."""

import copy
import hashlib
import io
import math
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar, overload

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hiresnn.attacks.gate import seeded
from hiresnn.checks import Accuracy, as_floats
from hiresnn.data.dataset import Batches, LabelledImages, UserBatches
from hiresnn.errors import RunError, UsageError, closest
from hiresnn.exchange import rounding as rounding_of
from hiresnn.files import write_atomically
from hiresnn.models import Classifier
from hiresnn.network import (
    TIMESTEPS,
    Conversion,
    Encoding,
    NotRescalableError,
    SpikingNetwork,
    compiling_pays,
    convert,
    memory_format_of,
    uncompiled,
)
from hiresnn.neurons.compiled import compiled_in_place, compiles
from hiresnn.progress import Progress
from hiresnn.training.loop import PRECISIONS, Average, Method, Schedule, Selection, Training
from hiresnn.training.methods import METHOD_NAMES, SpikingMethod, instead_of
from hiresnn.training.methods import method as method_of
from hiresnn.training.ranks import ALONE, Ranks

CALIBRATION_IMAGES = 512
"""Training images that an ANN is converted with."""
COMPILING = "Neurons are compiled at the first batch: half a minute the first time on this machine, seconds after that."
ANN_COMPILING = "The ANN is compiled at its first batches: one to three minutes the first time on this machine."
ANN_COMPILING_PAYS_ABOVE = 400_000
"""Images of all epochs above which compiling saves more time than it takes, for a ResNet9 of width 0.25."""
SEAL = b"hiresnn-sha256:"
"""Precedes the SHA-256 at the end of a checkpoint."""

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class FitResult(Generic[Network]):
    """What `fit` returns.

    Attributes:
        network: the trained network, a SpikingNetwork: the one that was passed, or that `fit` made of an ANN. With
            method "ann" or a `Method` it is the object that was passed, of its own class.
        rows: one dict per epoch: epoch, loss, train_accuracy (percent, on the noisy images), lr, seconds, and the
            thresholds and leaks of a spiking network.
        test_accuracy: percent of the test images; None without test images.
    """

    network: Network
    rows: list[dict[str, Any]]
    test_accuracy: float | None

    def _repr_html_(self) -> str:
        """What a notebook shows: the last epoch and the accuracy on test images."""
        last = self.rows[-1] if self.rows else {}
        facts = {"epochs": len(self.rows)} | {name: last[name] for name in ("loss", "train_accuracy") if name in last}
        facts |= {} if self.test_accuracy is None else {"test_accuracy": self.test_accuracy}
        cells = "".join(
            f"<tr><th>{name.replace('_', ' ')}</th><td>{value:.4g}</td></tr>" for name, value in facts.items()
        )
        return f"<p><b>{escape(type(self.network).__name__)}</b>, trained</p><table>{cells}</table>"


# For type checkers: by its name, each method but "ann" trains a spiking network, whatever network it was given.
@overload
def fit(
    network: nn.Module, train: LabelledImages | Batches, test: LabelledImages | None = ..., *,
    method: SpikingMethod = ..., epochs: int = ..., batch_size: int = ..., lr: float | None = ...,
    noise_step: float = ..., periods: int = ..., timesteps: int = ..., conversion: Conversion = ...,
    seed: int | None = ..., precision: str = ..., rounding: str | None = ..., compile: bool | Literal["auto"] = ...,
    optimizer: Optimizer | None = ..., schedule: Schedule | None = ..., average: float = ...,
    selection: Selection | None = ..., before: Callable[[Training, int], object] | None = ..., ranks: Ranks = ...,
    title: str = ..., progress: bool | Progress = ..., checkpoint: str | Path | None = ...,
    settings: Mapping[str, Any] | None = ..., log: Callable[[dict[str, Any]], object] | None = ...,
) -> FitResult[SpikingNetwork]: ...  # fmt: skip
@overload
def fit(
    network: Network, train: LabelledImages | Batches, test: LabelledImages | None = ..., *,
    method: Literal["ann"] | Method, epochs: int = ..., batch_size: int = ..., lr: float | None = ...,
    noise_step: float = ..., periods: int = ..., timesteps: int = ..., conversion: Conversion = ...,
    seed: int | None = ..., precision: str = ..., rounding: str | None = ..., compile: bool | Literal["auto"] = ...,
    optimizer: Optimizer | None = ..., schedule: Schedule | None = ..., average: float = ...,
    selection: Selection | None = ..., before: Callable[[Training, int], object] | None = ..., ranks: Ranks = ...,
    title: str = ..., progress: bool | Progress = ..., checkpoint: str | Path | None = ...,
    settings: Mapping[str, Any] | None = ..., log: Callable[[dict[str, Any]], object] | None = ...,
) -> FitResult[Network]: ...  # fmt: skip
def fit(
    network: nn.Module,
    train: LabelledImages | Batches,
    test: LabelledImages | None = None,
    *,
    method: SpikingMethod | Literal["ann"] | Method = "hire",
    epochs: int = 30,
    batch_size: int = 32,
    lr: float | None = None,
    noise_step: float = 0.013,
    periods: int = 2,
    timesteps: int = TIMESTEPS,
    conversion: Conversion = "closest",
    seed: int | None = 0,
    precision: str = "float32",
    rounding: str | None = None,
    compile: bool | Literal["auto"] = "auto",
    optimizer: Optimizer | None = None,
    schedule: Schedule | None = None,
    average: float = 0.0,
    selection: Selection | None = None,
    before: Callable[[Training, int], object] | None = None,
    ranks: Ranks = ALONE,
    title: str = "Training",
    progress: bool | Progress = True,
    checkpoint: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    log: Callable[[dict[str, Any]], object] | None = None,
) -> FitResult[Any]:
    """Train a network in place, a spiking one by Adam over its own T, an ANN by SGD with momentum.

    With a method of spiking networks, a trained ANN is first converted with up to 512 training images; a line prints
    the call of `convert`. The ANN stays as it is; the result holds the spiking network. Images are moved to the device
    of the network.

    Args:
        network: a SpikingNetwork made by `convert`, or an ANN.
        train: (images [N, C, H, W], labels [N]); a Dataset of (image, label); or batches in their own size and order,
            such as a DataLoader or `hiresnn.data.Batches`, which also augments. Images are uint8 or float in [0, 1].
        test: the same, for the accuracy at the end.
        method: "ann", a key of `hiresnn.training.METHODS` but "converted", such as "traditional" or "hire", or a
            `Method`, which has its own periods and noise.
        epochs: total number of epochs; a checkpoint continues only with the number that it was begun with.
        batch_size: images per batch, at least 1; batches that are given ready have their own.
        lr: first learning rate, default 1e-4 and 0.01 for an ANN; it falls in steps as in section 5.1.
        noise_step: step and bound of the crafted noise, eps_s = eps_t, in pixel units.
        periods: N, the number of updates per batch, each on floor(T / N) timesteps; 1 to T.
        timesteps: T of an ANN that is converted; a spiking network has its own.
        conversion: of an ANN, as in `convert`: "closest", which becomes "paper" if the ANN cannot be rescaled, or
            "paper", the default of `convert`.
        seed: of shuffling, dropout and noise; None draws from torch's generators as they are.
        precision: "float32", or "bfloat16" for convolutions and matrix products.
        rounding: bits that a spiking network is trained for and rounded to, such as "int4"; see docs/deploy.md.
        compile: whether the neurons run compiled, or an ANN of `hiresnn.models` with batch norms; "auto" decides once,
            by the work ahead, unless `network.fuse` has.
        optimizer: of the network's parameters, instead of Adam or SGD; `schedule` sets its learning rate.
        schedule: instead of `epochs` and `lr`.
        average: decay of an average of the weights, which becomes the trained network; 0 for none.
        selection: measures each epoch under attack, and may go back to an earlier one.
        before: called before each epoch with the training and the epoch's number from 0, such as `Stages`.
        ranks: the processes that train together, see `joined`; `train` has the rows of this one.
        title: names the training in its progress and in errors.
        progress: whether to show the progress on standard error, or where to show it.
        checkpoint: file for the training state after each epoch. If it exists, the training continues from it.
        settings: values that the training of a checkpoint must have had to be continued; by default the arguments.
        log: called with each epoch's row, before its state is stored, by rank 0.

    Raises:
        UsageError, DataError: a setting, the network, the images or the labels cannot be used.
        RunError, NotFiniteError: the checkpoint cannot be used, or the loss is not finite.

    Example:
        >>> hiresnn.fit(snn, (images, labels), (test_images, test_labels), epochs=5).test_accuracy
    """
    epochs, batch_size, periods = map(operator.index, (epochs, batch_size, periods))
    seed = None if seed is None else operator.index(seed)
    path = None if checkpoint is None else Path(checkpoint)
    if path is not None and not path.absolute().parent.is_dir():
        raise UsageError(f"checkpoint is {path}, but there is no folder {path.parent}; create it.")
    if not isinstance(progress, Progress):
        progress = Progress(quiet=not progress)
    network = uncompiled(network)
    if not isinstance(method, Method):
        network = _of_method(method, network, train, timesteps, conversion, seed or 0, progress)
    spiking, mode, device = isinstance(network, SpikingNetwork), network.training, next(network.parameters()).device
    lr, noise_step = float((1e-4 if spiking else 0.01) if lr is None else lr), float(noise_step)
    default = Schedule(epochs, lr) if spiking else Schedule(epochs, lr, 0.1, (0.625, 0.75, 0.875))
    schedule = default if schedule is None else schedule
    if schedule.epochs < 0:
        raise UsageError(f"epochs is {schedule.epochs}; give 0 or more.")
    if not 0 < schedule.lr < math.inf:
        raise UsageError(f"lr is {schedule.lr}; give a rate above 0.")
    if precision not in PRECISIONS:
        raise UsageError(f"precision is {precision!r}; {closest(precision, PRECISIONS)}.")
    if not 0 <= noise_step <= 1:
        raise UsageError(f"noise_step is {noise_step:g}; give pixel units from 0 to 1, such as 8 / 255.")
    if optimizer is not None:
        trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if trained.isdisjoint(map(id, network.parameters())):
            raise UsageError(
                "the optimizer has no parameter of the network that is trained; an ANN that fit converts is trained as "
                "another network, so convert it first, or leave optimizer out."
            )
    if rounding is not None and selection is not None:
        raise UsageError("selection measures the float weights, and rounding changes them; leave one of both out.")
    if optimizer is None:
        parameters = trained_parameters(network, schedule.epochs)
        if spiking:
            optimizer = torch.optim.Adam(parameters, lr=schedule.lr, fused=True)
        else:
            optimizer = torch.optim.SGD(parameters, lr=schedule.lr, momentum=0.9, weight_decay=5e-4, fused=True)
    test_batches = None if test is None else UserBatches("test", test, 200, device)  # checked before the training
    batches: Batches | UserBatches
    if isinstance(train, Batches) and train.images.device == device:
        batches = train
    else:
        generator = None if seed is None else torch.Generator().manual_seed(2 * seed + spiking)
        batches = UserBatches("train", train, batch_size, device, generator)
    if settings is None:
        settings = {
            "method": method if isinstance(method, str) else "own", "epochs": epochs, "batch_size": batch_size,
            "noise_step": noise_step, "periods": periods, "lr": lr, "seed": seed, "precision": precision,
            "rounding": rounding, "batches": len(batches),
        }  # fmt: skip
        # Beside those of 0.2, what was given: a checkpoint continues only the training that it belongs to.
        settings |= {"average": average} if average else {}
        settings |= {"schedule": str(schedule)} if schedule != default else {}
        if path is not None and isinstance(batches, UserBatches):
            settings["images"] = batches.content()
    if isinstance(method, str):
        method = Method() if method == "ann" else method_of(method, periods=periods, step=noise_step)
    if rounding is not None:
        if not isinstance(network, SpikingNetwork):
            raise UsageError('rounding is for spiking networks; leave it out with method "ann".')
        method = replace(method, rounding=rounding_of(network, rounding))
    if not spiking:
        network.to(memory_format=memory_format_of(network))  # type: ignore[call-overload]
    shared = {name: value for name, value in settings.items() if name != "images"}  # each rank has images of its own
    ranks.agree({"epochs": schedule.epochs, "lr": schedule.lr, "batches": len(batches), **shared})
    averaged = Average(network, optimizer, average) if average else None
    training = Training(
        network, optimizer, batches, method, schedule, precision, ranks=ranks, title=title, progress=progress,
        average=averaged, selection=selection, before=before,
        images=len(batches.labels) if isinstance(batches, Batches) else 0,
    )  # fmt: skip

    def store(row: dict[str, Any]) -> None:
        if log is not None and ranks.lead:  # first: if it fails, the resumed training logs this epoch
            log(copy.deepcopy(row))
        if path is not None:
            state = {"settings": settings, **training.state_dict()}  # of all ranks
            if ranks.lead:
                write_checkpoint(path, state)

    training.after = store
    try:
        with _compiled(training, compile, seed), _seeded(seed, ranks):
            if path is not None and path.exists():
                _resume(training, settings, path)
            training.run()
        accuracy = None if test_batches is None else _accuracy(network, test_batches)
        return FitResult(network, training.rows, accuracy)
    finally:
        network.train(mode)
        if averaged is not None:
            averaged.hook.remove()  # the optimiser may be the caller's


def trained_parameters(network: nn.Module, epochs: int) -> list[nn.Parameter]:
    """Return the parameters that require a gradient, all of them if there is no epoch to train; UsageError for none."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad or not epochs]
    if not parameters:
        raise UsageError(
            "no parameter of the network is trained: all have requires_grad = False; set it to True for some."
        )
    return parameters


def _of_method(
    name: str,
    network: nn.Module,
    train: LabelledImages | Batches,
    timesteps: int,
    conversion: Conversion,
    seed: int,
    progress: Progress,
) -> nn.Module:
    """Return the network that the method trains: an ANN is converted for a method of spiking networks."""
    if name == "ann" and isinstance(network, SpikingNetwork):
        raise UsageError(f"method is {name!r}, which trains an ANN, not a SpikingNetwork; choose another method.")
    if name == "converted":
        raise UsageError('method "converted" is the network that hiresnn.convert returns; fit has nothing to train.')
    if remedy := instead_of(name, sorted({*METHOD_NAMES} - {"converted"})):
        raise UsageError(f"method is {name!r}; {remedy}.")
    encoding: Encoding = "poisson" if name == "rate" else "direct"
    if isinstance(network, SpikingNetwork):
        if name == "rate" and network.encoding.encoding != encoding:
            raise UsageError('method "rate" needs Poisson input; convert the ANN with encoding="poisson".')
        return network
    if name == "ann":
        return network
    call = f"convert(ann, images, timesteps={timesteps}, conversion={conversion!r})"
    progress.line(f"The ANN is converted to a spiking network, as by {call}; result.network is that network.")
    with seeded(seed):
        batches: list[Tensor] = []
        for images, _ in UserBatches("train", train, 128, next(network.parameters()).device):
            batches.append(images)
            if sum(map(len, batches)) >= CALIBRATION_IMAGES:
                break
        calibration = torch.cat(batches)[:CALIBRATION_IMAGES]
        converted = partial(convert, network, calibration, timesteps=timesteps, encoding=encoding)
        try:
            return converted(conversion=conversion)
        except NotRescalableError as error:
            progress.line(f'It is converted with conversion="paper" instead, without rescale: {error}')
            return converted(conversion="paper")


@contextmanager
def _seeded(seed: int | None, ranks: Ranks) -> Iterator[None]:
    with nullcontext() if seed is None else seeded(seed):
        if ranks.size > 1:  # every rank draws other random numbers than any rank of another seed; torch takes 64 bits
            torch.manual_seed((torch.initial_seed() * ranks.size + ranks.rank) % 2**64)
        yield


@contextmanager
def _compiled(training: Training, compile: bool | Literal["auto"], seed: int | None) -> Iterator[None]:
    """Compile the neurons before the first batch or not at all, as compiling changes gradients by rounding.

    "auto" counts the work of all epochs, so a resumed training decides as the first part did.
    """
    network, batches = training.model, training.batches
    if not isinstance(network, SpikingNetwork):
        with _compiled_ann(training, compile):
            yield
        return
    decides = compile == "auto" and network.compiles_when_it_pays
    if decides:
        generators = [generator for generator in training.generators if generator]
        states = [generator.get_state() for generator in generators]
        with nullcontext() if seed is None else seeded(seed):
            images = as_floats(batches.images[:1]) if isinstance(batches, Batches) else next(iter(batches))[0]
            work = training.schedule.epochs * (training.images or len(batches) * len(images))
            compile = compiling_pays(network, images[:1], work)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
    if compile != "auto" and network.fuse(compile).fused:
        training.progress.line(COMPILING)
    try:
        yield
    finally:
        if decides and not network.fused:
            network.fuse("auto")


@contextmanager
def _compiled_ann(training: Training, compile: bool | Literal["auto"]) -> Iterator[None]:
    """Compile an ANN of this package that has batch norms, whose passes over memory are most of the time of a step."""
    network = training.model
    if compile == "auto":
        compile = training.schedule.epochs * training.images > ANN_COMPILING_PAYS_ABOVE
    normalised = any(isinstance(layer, nn.BatchNorm2d) for layer in network.modules())
    pays = bool(compile) and normalised and isinstance(network, Classifier)
    networks = []
    if pays and compiles(next(network.parameters()).device.type):
        networks = [network] if training.average is None else [network, training.average.model]
        training.progress.line(ANN_COMPILING)
    with compiled_in_place(*networks):
        yield


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a training state (tensors, numbers, text, lists and dicts of them) with its checksum."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_atomically(path, content + SEAL + hashlib.sha256(content).digest())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training state; RunError if it is damaged. torch's loader is restricted to data, so it runs no code."""
    try:
        content, seal, checksum = path.read_bytes().rpartition(SEAL)
        if not seal:  # version 0.2 sealed only those of run folders
            content = checksum
        elif checksum != hashlib.sha256(content).digest():
            raise ValueError
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about a foreign pickle before it refuses it
            state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if not isinstance(state, dict):
            raise TypeError
    except Exception as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}); delete it to train from the start.") from None
    return state


def _resume(training: Training, settings: Mapping[str, Any], path: Path) -> None:
    state, hint = read_checkpoint(path), "use those, name another file, or delete this one to train from the start"
    try:
        earlier = state.get("settings", state)  # run folders of version 0.2 have them beside the state
        differences = [
            "other images" if name == "images" else f"{name} {earlier.get(name)}, not {value}"
            for name, value in settings.items()
            if earlier.get(name) != value
        ]
        if len(state["ranks"]) != training.ranks.size:
            differences.append(f"{len(state['ranks'])} processes, not {training.ranks.size} (start them with torchrun)")
        if not differences:
            training.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunError(f"{path} does not fit this training ({reason}); {hint}.") from None
    if differences:
        raise RunError(f"{path} is of a training with {', '.join(differences)}; {hint}.")


@torch.no_grad()
def _accuracy(network: nn.Module, test: UserBatches) -> float:
    accuracy = Accuracy()
    network.eval()
    for images, labels in test:
        accuracy.update(network(images), labels)
    return accuracy.compute()
