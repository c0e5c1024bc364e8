"""One call that audits a network, also as deployed, and returns the card; and the verification of its images."""

from __future__ import annotations

import hashlib
import io
import math
import platform
import zlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from hiresnn.attacks import Model, frozen, with_gradients
from hiresnn.attacks.catalog import ATTACKS
from hiresnn.attacks.gate import ROUNDING
from hiresnn.audit.behaviour import InstrumentedModel, weights_of
from hiresnn.audit.build_card import About, build_card
from hiresnn.audit.card import Card, Share, share
from hiresnn.audit.presets import AuditConfig, Preset
from hiresnn.audit.screening import Record
from hiresnn.audit.sweep import AuditResult, Units, WorstCase, audit
from hiresnn.checks import fingerprint, require_batch
from hiresnn.data.batches import LabelledImages, labelled
from hiresnn.eps import parse_bound
from hiresnn.errors import RunError, UsageError
from hiresnn.exchange import deployed
from hiresnn.files import json_text, write_atomically
from hiresnn.metrics import correct
from hiresnn.network import SpikingNetwork, compiling_pays
from hiresnn.progress import Progress

CARD, ADVERSARIAL, DEPLOYED = "card.json", "adversarial.npz", "deployed.json"
FORMAT = 4  # raised when units of an earlier version differ from what this version would compute
PASSES = 500  # calls per image, for deciding whether compiling the neurons pays
FLOAT, ALL = "float", "all views"  # names of the network as it is, and of the worst case over it and all views

FIELDS = {"index": "i", "eps": "f", "label": "i", "adversarial": "f", "clean": "f"}
"""Array of the archive -> its kind of number. One row per broken image: its position among the audited images, the eps
of the smallest bound that broke it (inf for none), its class, and the two images in float32, [N, C, H, W]."""
TOLERANCE = 0.02  # percentage points by which a rounded percentage may differ
CHANCE = 0.25  # share of the images that a random network may answer otherwise: the audit took the worst of many draws
KEY = "unit"
DIGEST = 32  # bytes of SHA-256 at the end of a file; unlike joblib's store, a damaged file is found, and none unpickled


@with_gradients
def run_audit(
    model: Model,
    images: Tensor | LabelledImages,
    labels: Tensor | None = None,
    config: AuditConfig | None = None,
    *,
    preset: Preset | str | None = None,
    eps: float | str | None = None,
    bounds: Sequence[str] | None = None,
    attacks: Sequence[str] | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
    twins: Mapping[str, Model] | None = None,
    name: str = "network",
    classes: Sequence[str] | None = None,
    about: About | None = None,
    folder: Path | str | None = None,
    cache: MutableMapping[str, Record] | Path | str | None = None,
    progress: Progress | None = None,
) -> Card:
    """Run the full attack suite on a network and return the card with its worst-case robust accuracy.

    Args:
        model: any callable, images [B, C, H, W] in [0, 1] -> logits [B, K]. Its mode and weights stay as they are. The
            images must be on its device.
        images, labels: float in [0, 1], and their classes [B]; all of them are attacked. `images` alone may be a
            Dataset, a DataLoader or whatever else `hiresnn.fit` takes, with its labels.
        config: the settings, in place of preset, eps, bounds, attacks, seed and batch_size, which have the defaults of
            `AuditConfig`; both together are refused.
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
    settings: dict[str, Any] = {"preset": preset, "eps": eps, "seed": seed, "batch_size": batch_size}
    for option, texts in (("bounds", bounds), ("attacks", attacks)):
        settings[option] = (texts,) if isinstance(texts, str) else None if texts is None else tuple(texts)
    settings = {option: value for option, value in settings.items() if value is not None}
    if config is not None and settings:
        raise UsageError(f"config is given, and {', '.join(settings)} beside it; set them in the AuditConfig.")
    config = config or AuditConfig(**settings)
    about, progress = about or _about(model, config, twins or {}, name, classes), progress or Progress(quiet=True)
    audited = InstrumentedModel(model, images)
    opponents = {title: InstrumentedModel(twin, images) for title, twin in (twins or {}).items()}
    for title, network in ((about.name, audited), *((f"the twin {name}", twin) for name, twin in opponents.items())):
        if about.classes is not None and network.classes != len(about.classes):
            counts = f"{network.classes} output classes, but {about.data} has {len(about.classes)}"
            raise UsageError(f"{title} has {counts}; choose the images that it was trained for, and name all classes.")
    views = {}
    if isinstance(model, SpikingNetwork):
        views = {view: deployed(model, view).eval() for view in config.views}
    elif config.views:
        raise UsageError(f"--as needs a spiking network of hiresnn, and this is a {type(model).__name__}.")
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)  # before hours of work
    data = about.identity or (fingerprint([("images", images), ("labels", labels)]),)

    def units_of(network: InstrumentedModel) -> Units:
        """In a folder of the audit's identity, or in the caller's mapping, which only one audit may use."""
        identity = _identity(network, config, data)
        if isinstance(cache, Path | str):
            return ArrayCache(Path(cache) / f"cache-{identity}")
        units = {} if cache is None else cache
        if str(units.setdefault("audit", {"identity": np.asarray(identity)})["identity"]) != identity:
            raise UsageError("cache holds the work of another network, other images or other settings; give a new one.")
        return units

    units = units_of(audited)
    for title, twin in opponents.items():
        key, answers = f"answers of {title}", np.asarray(str(twin.digest))
        if (record := units.get(key)) is None:
            units[key] = {"answers": answers}
        elif record["answers"] != answers:
            raise UsageError(f"the cache holds work with a twin {title} that gave other answers; choose another one.")
    with _compiled([model, *views.values()], config, images, progress):
        result = audit(audited, images, labels, config, twins=opponents, cache=units, progress=progress)
        card = build_card(result, about, list(opponents))
        if folder is not None:
            write_atomically(Path(folder) / ADVERSARIAL, adversarial_archive(result))
            write_atomically(Path(folder) / CARD, (card.model_dump_json(indent=2) + "\n").encode())
        if views and folder is not None:
            deployment = audit_views(views, result, units_of, progress)
            write_atomically(Path(folder) / DEPLOYED, json_text(deployment).encode())
    return card


@contextmanager
def _compiled(networks: Sequence[Model], config: AuditConfig, images: Tensor, progress: Progress) -> Iterator[None]:
    """Compile the neurons of a network and of its views inside the block, if that is asked for and pays."""
    spiking = [network for network in networks if config.compile and isinstance(network, SpikingNetwork)]
    before = [network.fused or ("auto" if network.compiles_when_it_pays else False) for network in spiking]
    pays = config.compile is True or (bool(spiking) and compiling_pays(spiking[0], images[:1], PASSES * len(images)))
    try:
        if [network for network in spiking if network.fuse(pays).fused]:
            progress.line("Neurons are compiled at the first batch: half a minute the first time, then seconds.")
        yield
    finally:
        for network, mode in zip(spiking, before, strict=True):
            network.fuse(mode)


def _about(
    model: Model, config: AuditConfig, twins: Mapping[str, Model], name: str, classes: Sequence[str] | None
) -> About:
    """What is known of an audit from Python."""
    options = [f"eps={config.headline.label!r}", f"seed={config.seed}"]
    options += [] if config.bounds is None else [f"bounds={list(config.bounds)!r}"]
    options += [f"attacks={list(config.attacks)!r}"] if config.attacks else []
    options += [f"twins={{{', '.join(f'{title!r}: ...' for title in twins)}}}"] if twins else []
    options += [] if config.batch_size == AuditConfig.batch_size else [f"batch_size={config.batch_size}"]
    call = f"hiresnn.run_audit(model, images, labels, {', '.join(options)}"
    versions = {"python": platform.python_version(), "torch": torch.__version__, "system": platform.platform()}
    return About(
        name, classes=classes, command=f"{call}, preset={config.plan.name!r})", repeat=call, environment=versions
    )


def _identity(network: InstrumentedModel, config: AuditConfig, data: Sequence[str | None]) -> str:
    """Digest of what all units of an audit have in common; presets, added attacks and twins are not part of it."""
    settings = (config.seed, config.batch_size, config.headline.label, sorted(config.paper.items()))
    # The units of an attack of the user's own must not outlive a change of its file.
    names = sorted({attack.spec.name for attack in config.added})
    sources = [(name, source) for name in names if (source := ATTACKS[name].source)]
    parts = (FORMAT, network.weights, network.digest, tuple(data), settings, sources)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def audit_views(
    networks: Mapping[str, SpikingNetwork],
    result: AuditResult,
    units_of: Callable[[InstrumentedModel], Units],
    progress: Progress,
) -> dict[str, Any]:
    """Return the content of deployed.json: percentages that stand at each bound, also under attacks on one view alone.

    A view is attacked by the whole preset with its own gradients, and by what is made on the float network (of whose
    audit `result` is) at every bound. Then every adversarial image of one network counts for each that it breaks.
    """
    images, labels, config = result.images, result.labels, result.config
    audits = {FLOAT: result}
    for view, network in networks.items():
        model = InstrumentedModel(network, images)
        progress.line(f"Audit of the network as deployed: {view}")
        twins, units = {FLOAT: result.model}, units_of(model)
        audits[view] = audit(model, images, labels, config, twins=twins, cache=units, progress=progress)
    levels = {name: audited.worst.level.clone() for name, audited in audits.items()}
    for name, audited in audits.items():
        for maker, other in audits.items():
            if maker != name:
                _transfer(other.worst, audited.model, labels, levels[name], config.batch_size)

    def curve(level: Tensor) -> list[float]:
        """Percentage of images that stand at each bound."""
        return [round(100 * float((level > position).float().mean()), 2) for position in range(len(result.bounds))]

    return {
        "bounds": [bound.label for bound in result.bounds],
        "headline": config.headline.label,
        "images": len(labels),
        "views": {name: {"worst": curve(levels[name]), "own": curve(audits[name].worst.level)} for name in audits},
        ALL: curve(torch.stack(list(levels.values())).amin(0)),
    }


@torch.no_grad()
def _transfer(worst: WorstCase, model: InstrumentedModel, labels: Tensor, level: Tensor, batch_size: int) -> None:
    """Lower `level` where an adversarial image of another network is misclassified by `model`, too."""
    for positions in torch.split(torch.tensor(list(worst.adversarial), dtype=torch.int64), batch_size):
        if not len(positions):
            return
        adversarial = torch.stack([worst.adversarial[position] for position in positions.tolist()])
        wrong = ~correct(model(adversarial.to(labels.device)), labels[positions.to(labels.device)])
        broken = positions[wrong.cpu()]
        level[broken] = torch.minimum(level[broken], worst.level[broken])


class ArrayCache:
    """Named arrays for each unit of work, one file per unit, complete or absent; a damaged file counts as absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"

    def get(self, key: str) -> Record | None:
        path = self._path(key)
        whole = path.read_bytes() if path.is_file() else b""
        content, digest = whole[:-DIGEST], whole[-DIGEST:]
        if hashlib.sha256(content).digest() != digest:
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            record = dict(file.items())
        return record if str(record.pop(KEY, "")) == key else None

    def __setitem__(self, key: str, record: Record) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{KEY: np.asarray(key)}, **record)  # type: ignore[arg-type]
        content = buffer.getvalue()
        write_atomically(self._path(key), content + hashlib.sha256(content).digest())


class Verification(NamedTuple):
    """How many adversarial images were checked, and every problem, as a sentence."""

    images: int
    problems: tuple[str, ...]


def adversarial_archive(result: AuditResult) -> bytes:
    """The broken images as a compressed .npz, with the arrays of `FIELDS`."""
    worst, images = result.worst, result.images
    index = sorted(worst.adversarial)
    empty = np.zeros((0, *images.shape[1:]), "f4")
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        index=np.asarray(index, np.int64),
        eps=np.asarray([worst.bounds[int(worst.level[image])].eps for image in index], np.float64),
        label=result.labels[index].cpu().numpy(),
        adversarial=np.stack([worst.adversarial[image].numpy() for image in index]) if index else empty,
        clean=images[index].cpu().numpy(),
    )
    return buffer.getvalue()


def read_archive(path: Path) -> Record:
    """The arrays of an adversarial.npz; raises RunError if it is missing, damaged or holds other arrays."""
    advice = "name the folder of a complete audit"
    if not path.is_file():
        raise RunError(f"{path} does not exist, so there are no adversarial images to check; {advice}.")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = dict(file.items())
    except (OSError, ValueError, BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        raise RunError(f"{path} is damaged ({error}); {advice}.") from None
    rows = {values.shape[:1] for values in arrays.values()}
    shapes = {values.shape for name, values in arrays.items() if name in ("adversarial", "clean")}
    numbers = {name: values.dtype.kind for name, values in arrays.items()}
    if numbers != FIELDS or len(rows) != 1 or () in rows or len(shapes) != 1 or len(next(iter(shapes))) != 4:
        raise RunError(f"{path} does not hold the arrays {', '.join(FIELDS)} with one row per image; {advice}.")
    return arrays


@torch.no_grad()
def verify(card: Card, arrays: Record, model: Model, *, batch_size: int = 200) -> Verification:
    """Check every adversarial image of `read_archive` against the network, its bound and the counts of the card."""
    clean, adversarial = (torch.from_numpy(arrays[name]).float() for name in ("clean", "adversarial"))
    labels, eps, count = torch.from_numpy(arrays["label"]).long(), arrays["eps"], len(arrays["index"])
    problems = []

    def require(good: Tensor, fault: str, allowed: float = 0.0) -> None:
        bad = int((~good).sum())
        if bad > allowed * count:
            problems.append(f"{bad} of {count} images {fault}")

    if card.subject.fingerprint not in (None, weights_of(model)):
        problems.append("the network's weights are not those that the card names")
    if count:
        require(torch.isfinite(adversarial).flatten(1).all(1), "have pixels that are not finite")
        require(((adversarial >= 0) & (adversarial <= 1)).flatten(1).all(1), "have pixels outside [0, 1]")
        distance = (adversarial - clean).abs().flatten(1).amax(1)
        require(distance.double() <= torch.from_numpy(eps) + ROUNDING, "are further from the clean image than eps")
        instrumented = InstrumentedModel(model, clean)
        with frozen(instrumented), instrumented.measured(0):
            batches = zip(*(torch.split(part, batch_size) for part in (clean, adversarial, labels)), strict=True)
            answers = [(correct(instrumented(a), y), correct(instrumented(b), y)) for a, b, y in batches]
        before, after = (torch.cat(part) for part in zip(*answers, strict=True))
        chance = CHANCE if card.subject.random else 0.0
        require(before, "are misclassified without an attack", chance)
        require(~after, "are classified correctly although the card counts them as broken", chance)
    if len(set(arrays["index"].tolist())) != count or any(not 0 <= i < card.data.images for i in arrays["index"]):
        problems.append("the positions of the images are not distinct positions among the audited images")
    for point in card.curve:
        radius = math.inf if point.eps is None else point.eps
        standing = card.clean.count - int((eps <= radius).sum())
        if standing != point.worst.count:
            problems.append(f"at {point.bound} the images leave {standing} standing, the card says {point.worst.count}")
        if not math.isclose(parse_bound(point.bound).eps, radius, rel_tol=1e-4):
            problems.append(f"the card gives the bound {point.bound} as eps = {point.eps}")
        for name in ("fgsm", "pgd", "noise", "worst"):
            problems += [f"at {point.bound}, {name}: {fault}" for fault in _faults(card, getattr(point, name))]
    problems += [f"clean: {fault}" for fault in _faults(card, card.clean)]
    return Verification(count, tuple(problems))


def _faults(card: Card, stated: Share) -> Iterator[str]:
    if stated.of != card.data.images or stated.count > stated.of:
        yield f"the card counts {stated.count} of {stated.of} images, but {card.data.images} were audited"
        return
    exact = share(stated.count, stated.of)
    if max(abs(getattr(stated, key) - getattr(exact, key)) for key in ("percent", "low", "high")) > TOLERANCE:
        said, true = (f"{one.percent:g} % ({one.low:g} to {one.high:g})" for one in (stated, exact))
        yield f"the card says {said}, but {stated.count} of {stated.of} are {true}"
