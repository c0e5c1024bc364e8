"""One call that audits a network from Python and returns its card."""

from __future__ import annotations

import platform
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hiresnn.attacks import Model, require_images, with_gradients
from hiresnn.attacks.catalog import ATTACKS
from hiresnn.audit.behaviour import InstrumentedModel
from hiresnn.audit.build_card import build_card, subject_of
from hiresnn.audit.card import Card, Images
from hiresnn.audit.presets import AuditConfig
from hiresnn.audit.rules import Record
from hiresnn.audit.sweep import audit
from hiresnn.audit.verify import adversarial_archive
from hiresnn.checks import fingerprint
from hiresnn.data.batches import LabelledImages, labelled
from hiresnn.errors import UsageError
from hiresnn.files import write_atomically
from hiresnn.progress import Progress

LOOKED_AT = 16  # images on which the behaviour of a network is observed


@with_gradients
def run_audit(
    model: Model, images: Tensor | LabelledImages, labels: Tensor | None = None, *, preset: str = "quick",
    eps: float | str = 8 / 255, bounds: Sequence[str] | None = None, attacks: Sequence[str] = (),
    twins: Mapping[str, Model] | None = None, seed: int = 0, batch_size: int = 200, name: str = "network",
    classes: Sequence[str] | None = None, folder: Path | str | None = None,
    cache: MutableMapping[str, Record] | None = None, progress: Progress | None = None,
) -> Card:  # fmt: skip
    """Run the full attack suite on a network and return the card with its worst-case robust accuracy.

    Args:
        model: any callable, images [B, C, H, W] in [0, 1] -> logits [B, K]. Its mode and weights stay as they are. The
            images must be on its device.
        images, labels: float in [0, 1], and their classes [B]; all of them are attacked. `images` alone may be a
            Dataset, a DataLoader or whatever else `hiresnn.fit` takes, with its labels.
        preset, eps, bounds, attacks, seed, batch_size: see `AuditConfig`.
        twins: name -> a network whose adversarial images are tried on this one.
        name, classes: names of the network and of its classes, for the card.
        folder: where to write card.json and adversarial.npz; None writes nothing.
        cache: finished units of work by key, with which the same audit continues after an interruption.

    Returns:
        The card; `card.conclusion.headline` is the number to report.

    Raises:
        UsageError: images, labels, options or a cache that cannot be used, or a network that fails.

    Example:
        >>> card = run_audit(network, images, labels, eps="2/255")  # doctest: +SKIP
        >>> print(card.conclusion.headline)  # doctest: +SKIP
        Report at most 26.5 % (20.9-33.0), not 47.0 %, at 2/255.
    """
    images, labels = labelled(images, labels)
    if images.dim() != 4 or labels.shape != images.shape[:1] or labels.is_floating_point() or not len(images):
        raise UsageError(
            f"images are {list(images.shape)} and labels {list(labels.shape)} of {labels.dtype}; an audit needs images "
            "[B, C, H, W] and labels [B], integers, at least one."
        )
    require_images(images)
    config = AuditConfig(preset, eps, None if bounds is None else _texts(bounds), _texts(attacks), seed, batch_size)
    opponents = {key: InstrumentedModel(twin, images[:LOOKED_AT]) for key, twin in (twins or {}).items()}
    instrumented = InstrumentedModel(model, images[:LOOKED_AT])
    names = _names(classes, instrumented.classes)
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)  # before hours of work
    _require_same_audit(cache, config, instrumented, opponents, images, labels)
    result = audit(instrumented, images, labels, config, twins=opponents, cache=cache, progress=progress)
    call = _call(config, twins or {})
    card = build_card(
        result,
        subject=subject_of(result, name=name, library=type(model).__module__.partition(".")[0]),
        data=Images(name="images", split="given", images=len(images), classes=names, size=list(images.shape[1:])),
        command=f"{call}, preset={preset!r})",
        repeat=call,
        twins=list(opponents),
        environment={"python": platform.python_version(), "torch": torch.__version__, "system": platform.platform()},
    )
    if folder is not None:
        write_atomically(Path(folder) / "adversarial.npz", adversarial_archive(result))
        write_atomically(Path(folder) / "card.json", (card.model_dump_json(indent=2) + "\n").encode())
    return card


def _texts(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _names(classes: Sequence[str] | None, count: int) -> list[str]:
    """Return the names of the classes; without names they are numbers."""
    names = [str(label) for label in range(count)] if classes is None else list(classes)
    if len(names) < count:
        raise UsageError(f"classes has {len(names)} names, but the network has {count} classes; name all of them.")
    return names


def _require_same_audit(
    cache: MutableMapping[str, Record] | None, config: AuditConfig, model: InstrumentedModel,
    twins: Mapping[str, InstrumentedModel], images: Tensor, labels: Tensor,
) -> None:  # fmt: skip
    """Refuse a cache whose units are those of another network, of other images or of other settings."""
    if cache is None:
        return
    data = fingerprint([("images", images), ("labels", labels)])
    settings = (config.seed, config.batch_size, config.headline.label, sorted(config.paper.items()))
    sources = sorted((name, ATTACKS[name].source) for name in {planned.spec.name for planned in config.added})
    networks = [(name, twin.digest) for name, twin in sorted(twins.items())]
    identity = repr((model.weights, model.digest, data, settings, sources, networks))
    if str(cache.setdefault("audit", {"identity": np.asarray(identity)})["identity"]) != identity:
        raise UsageError("cache holds the work of another network, other images or other settings; give a new one.")


def _call(config: AuditConfig, twins: Mapping[str, Model]) -> str:
    """The call that repeats an audit, without its preset and its last bracket."""
    words = [f"eps={config.headline.label!r}", f"seed={config.seed}"]
    words += [] if config.bounds is None else [f"bounds={list(config.bounds)!r}"]
    words += [f"attacks={list(config.attacks)!r}"] if config.attacks else []
    words += [f"twins={{{', '.join(f'{name!r}: ...' for name in twins)}}}"] if twins else []
    words += [] if config.batch_size == AuditConfig.batch_size else [f"batch_size={config.batch_size}"]
    return f"hiresnn.run_audit(model, images, labels, {', '.join(words)}"
