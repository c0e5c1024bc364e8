"""One call that audits a network, and the network as deployed, and returns the card."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hiresnn.attacks import Model, with_gradients
from hiresnn.attacks.catalog import ATTACKS
from hiresnn.audit.archive import adversarial_archive
from hiresnn.audit.behaviour import InstrumentedModel
from hiresnn.audit.build_card import About, build_card
from hiresnn.audit.cache import ArrayCache
from hiresnn.audit.card import Card
from hiresnn.audit.deployed import audit_views, deployed_networks
from hiresnn.audit.presets import AuditConfig
from hiresnn.audit.rules import Record
from hiresnn.audit.sweep import audit
from hiresnn.checks import fingerprint, require_batch
from hiresnn.data.batches import LabelledImages, labelled
from hiresnn.errors import UsageError
from hiresnn.files import json_text, write_atomically
from hiresnn.network import SpikingNetwork, compiling_pays
from hiresnn.progress import Progress

CARD, ADVERSARIAL, DEPLOYED = "card.json", "adversarial.npz", "deployed.json"
FORMAT = 3  # raised when units of an earlier version differ from what this version would compute
PASSES = 500  # calls per image, for deciding whether compiling the neurons pays

Units = MutableMapping[str, Record]


@with_gradients
def run_audit(
    model: Model,
    images: Tensor | LabelledImages,
    labels: Tensor | None = None,
    config: AuditConfig | None = None,
    *,
    preset: str = "quick",
    eps: float | str = 8 / 255,
    bounds: Sequence[str] | None = None,
    attacks: Sequence[str] = (),
    seed: int = 0,
    batch_size: int = 200,
    twins: Mapping[str, Model] | None = None,
    name: str = "network",
    classes: Sequence[str] | None = None,
    about: About | None = None,
    folder: Path | str | None = None,
    cache: Units | Path | str | None = None,
    progress: Progress | None = None,
) -> Card:
    """Run the full attack suite on a network and return the card with its worst-case robust accuracy.

    Args:
        model: any callable, images [B, C, H, W] in [0, 1] -> logits [B, K]. Its mode and weights stay as they are. The
            images must be on its device.
        images, labels: float in [0, 1], and their classes [B]; all of them are attacked. `images` alone may be a
            Dataset, a DataLoader or whatever else `hiresnn.fit` takes, with its labels.
        config: the settings, in place of preset, eps, bounds, attacks, seed and batch_size; see `AuditConfig`.
        twins: name -> a network whose adversarial images are tried on this one.
        about: what the card says beside the result, in place of name and classes (of the network).
        folder: where to write card.json and adversarial.npz, with views also deployed.json; None writes nothing.
        cache: where finished units of work are kept, with which the same audit continues after an interruption: a
            mapping, or a folder for files. None keeps nothing.

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
    require_batch(images, labels, empty=False)
    if config is None:
        named = None if bounds is None else _texts(bounds)
        config = AuditConfig(preset, eps, named, _texts(attacks), seed, batch_size)
    about, progress = about or _about(model, config, twins or {}, name, classes), progress or Progress(quiet=True)
    audited = InstrumentedModel(model, images)
    opponents = {title: InstrumentedModel(twin, images) for title, twin in (twins or {}).items()}
    for title, network in {
        about.name: audited,
        **{f"the twin {title}": twin for title, twin in opponents.items()},
    }.items():
        if about.classes is not None and network.classes != len(about.classes):
            raise UsageError(
                f"{title} has {network.classes} output classes, but {about.data} has {len(about.classes)}; choose the "
                "images that it was trained for, and name all classes."
            )
    if config.compile and isinstance(model, SpikingNetwork):  # after its answers were observed, which name the audit
        pays = config.compile is True or compiling_pays(model, images[:1], PASSES * len(images))
        if model.fuse(pays).fused:
            progress.line("Neurons are compiled at the first batch: half a minute the first time, then seconds.")
    views = deployed_networks(config.views, model)
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)  # before hours of work

    def units_of(network: InstrumentedModel) -> Units:
        """The finished units of the audit of a network."""
        data = about.identity or (fingerprint([("images", images), ("labels", labels)]),)
        return _units(cache, _identity(network, config, data))

    units = units_of(audited)
    for title, twin in opponents.items():
        answers = np.asarray(str(twin.digest))
        if units.setdefault(f"answers of {title}", {"answers": answers})["answers"] != answers:
            raise UsageError(f"the cache holds work with a twin {title} that gave other answers; choose another one.")
    result = audit(audited, images, labels, config, twins=opponents, cache=units, progress=progress)
    card = build_card(result, about, list(opponents))
    if folder is not None:
        write_atomically(Path(folder) / ADVERSARIAL, adversarial_archive(result))
        write_atomically(Path(folder) / CARD, (card.model_dump_json(indent=2) + "\n").encode())
    if views and folder is not None:
        write_atomically(Path(folder) / DEPLOYED, json_text(audit_views(views, result, units_of, progress)).encode())
    return card


def _texts(texts: str | Sequence[str]) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts)


def _about(
    model: Model, config: AuditConfig, twins: Mapping[str, Model], name: str, classes: Sequence[str] | None
) -> About:
    """What is known of an audit from Python: the call that repeats it, and the environment."""
    options = [f"eps={config.headline.label!r}", f"seed={config.seed}"]
    options += [] if config.bounds is None else [f"bounds={list(config.bounds)!r}"]
    options += [f"attacks={list(config.attacks)!r}"] if config.attacks else []
    options += [f"twins={{{', '.join(f'{title!r}: ...' for title in twins)}}}"] if twins else []
    options += [] if config.batch_size == AuditConfig.batch_size else [f"batch_size={config.batch_size}"]
    call = f"hiresnn.run_audit(model, images, labels, {', '.join(options)}"
    versions = {"python": platform.python_version(), "torch": torch.__version__, "system": platform.platform()}
    command = f"{call}, preset={config.plan.name!r})"
    return About(name, classes=classes, command=command, repeat=call, environment=versions)


def _units(cache: Units | Path | str | None, identity: str) -> Units:
    """The units of an audit: in a folder of its identity, or in the caller's mapping, which only one audit may use."""
    if isinstance(cache, Path | str):
        return ArrayCache(Path(cache) / f"cache-{identity}")
    units = {} if cache is None else cache
    if str(units.setdefault("audit", {"identity": np.asarray(identity)})["identity"]) != identity:
        raise UsageError("cache holds the work of another network, other images or other settings; give a new one.")
    return units


def _identity(network: InstrumentedModel, config: AuditConfig, data: Sequence[str | None]) -> str:
    """Digest of what all units of an audit have in common; presets, added attacks and twins are not part of it.

    The source of an attack of the user's own is: its units must not outlive a change of the file.
    """
    settings = (config.seed, config.batch_size, config.headline.label, sorted(config.paper.items()))
    sources = sorted({(name, ATTACKS[name].source) for name in (attack.spec.name for attack in config.added)})
    sources = [(name, source) for name, source in sources if source]
    parts = (FORMAT, network.weights, network.digest, tuple(data), settings, sources)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
