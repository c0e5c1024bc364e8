"""Accuracy of a model, on clean images, under an attack, or on corrupted images."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from statistics import fmean

import torch
from torch import Tensor, nn

from hiresnn.attacks import Attack, Model, frozen, parse, verified
from hiresnn.checks import Accuracy, correct, require_batch, require_logits
from hiresnn.data import CORRUPTIONS, EVENT_CORRUPTIONS, Batches, Split, corrupt
from hiresnn.data.dataset import LabelledImages, labelled
from hiresnn.errors import UsageError
from hiresnn.foreign import require_adapter
from hiresnn.progress import Progress, Task


def evaluate(
    model: Model, images: Tensor | LabelledImages, labels: Tensor | None = None, *, attack: Attack | str | None = None,
    batch_size: int = 200,
) -> float:  # fmt: skip
    """Return the accuracy of any model in percent; images whose logits are not finite count as wrong.

    The model runs in eval mode, on the device of its parameters, and is left as it was.

    Args:
        model: images [B, C, H, W] in [0, 1] -> logits [B, K].
        images: floats in [0, 1], [N, C, H, W] with N at least 1. Or images with their labels, as `hiresnn.fit` takes
            them, such as a Dataset or a DataLoader; all of them must fit into memory.
        labels: class numbers [N], counted from 0; None where `images` has them.
        attack: None for clean accuracy; a function (model, images, labels) -> images; or a text such as
            "pgd(eps=2/255)". The attacked images must be in [0, 1] and within the attack's own eps.
        batch_size: images per batch, at least 1.

    Raises:
        UsageError: invalid images, labels or batch size, or a network of another library without its adapter.
        AttackError: the attack left its bound.

    Example:
        >>> model = lambda images: torch.stack([-images.mean((1, 2, 3)), images.mean((1, 2, 3)) - 1], 1)
        >>> images = torch.tensor([0.2, 0.8]).reshape(2, 1, 1, 1)
        >>> evaluate(model, images, torch.tensor([0, 0]))
        50.0
    """
    images, labels = labelled(images, labels)
    batches = _batches(model, images, labels, batch_size)
    attack = parse(attack) if isinstance(attack, str) else attack
    with Progress(quiet=True).task("evaluate", len(images)) as task:
        return _measure(model, batches, attack, getattr(attack, "eps", None), task)


def corruption_accuracy(
    model: Model, images: Tensor | LabelledImages, labels: Tensor | None = None, *, seed: int = 0,
    batch_size: int = 200, progress: Progress | None = None,
) -> dict[str, list[float]]:  # fmt: skip
    """Return the accuracy under each corruption of `hiresnn.data.corrupt`, in percent, at the five severities.

    The arguments are those of `hiresnn.evaluate`; `seed` is that of the corruptions. Event grids of which no cell
    exceeds 1 stay binary.
    """
    images, labels = labelled(images, labels)
    batches = list(_batches(model, images, labels, batch_size))
    grids = images.dim() == 5
    binary = grids and bool((images <= 1).all())
    names, accuracies = EVENT_CORRUPTIONS if grids else CORRUPTIONS, dict[str, list[float]]()
    with (progress or Progress(quiet=True)).task("  corruptions", len(images) * 5 * len(names)) as task:
        for name, severity in product(names, range(1, 6)):
            corrupted = ((corrupt(part, name, severity, seed=seed, binary=binary), truth) for part, truth in batches)
            accuracies.setdefault(name, []).append(round(_measure(model, corrupted, None, None, task), 2))
    return accuracies


def mean_accuracy(accuracies: Mapping[str, Sequence[float]]) -> float:
    """Return the mean over corruptions and severities, two decimals.

    >>> mean_accuracy({"fog": [90, 80], "jitter": [60, 50]})
    70.0
    """
    return round(fmean(fmean(severities) for severities in accuracies.values()), 2)


def _batches(model: Model, images: Tensor, labels: Tensor, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    require_batch(images, labels, empty=False)
    if batch_size < 1:
        raise UsageError(f"batch_size is {batch_size}; give at least 1.")
    device = next(model.parameters(), images).device if isinstance(model, nn.Module) else images.device
    pairs = zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True)
    return ((part.to(device), truth.to(device)) for part, truth in pairs)


def accuracy(
    network: nn.Module,
    split: Split,
    *,
    attack: Attack | None = None,
    eps: float | None = None,
    batch_size: int = 200,
    device: str = "cpu",
    title: str = "clean",
    progress: Progress | None = None,
    right: list[bool] | None = None,
) -> float:
    """Return the accuracy on a split in percent, with a progress bar; an attack must keep `eps`, or AttackError.

    `right` gets, for each image in order, whether its answer is right.
    """
    batches = Batches(split, batch_size, device=device)
    with (progress or Progress(quiet=True)).task(f"  {title}", len(split)) as task:
        return _measure(network, batches, attack, eps, task, right)


def _measure(
    model: Model,
    batches: Iterable[tuple[Tensor, Tensor]],
    attack: Attack | None,
    eps: float | None,
    task: Task,
    right: list[bool] | None = None,
) -> float:
    require_adapter(model)
    measure = Accuracy()
    with frozen(model):
        for images, labels in batches:
            attacked = images if attack is None else verified(attack, model, images, labels, eps=eps)
            with torch.no_grad():
                logits = model(attacked.clone())  # a network may write into its input
            require_logits(logits, len(attacked))
            measure.update(logits, labels)
            if right is not None:
                right += correct(logits, labels).tolist()
            task.advance(labels.shape[0], f"{measure.compute():.1f} %")
    return measure.compute()
