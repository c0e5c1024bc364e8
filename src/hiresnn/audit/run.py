"""One call that audits a network, also as deployed, and returns the card; and the verification of its images."""

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

from hiresnn.analysis import corruption_accuracy, mean_accuracy
from hiresnn.attacks import Model, frozen, seeded, with_gradients
from hiresnn.attacks.catalog import ATTACKS
from hiresnn.attacks.gate import ROUNDING, distances, tolerance
from hiresnn.audit.behaviour import OWN, InstrumentedModel, weights_of
from hiresnn.audit.build_card import SPIKES, About, Evidence, build_card, conclude, subject_of
from hiresnn.audit.card import (
    ANSWERS,
    BATCH,
    CONSTANT,
    FINITE,
    INPUT,
    NO_DOUBT,
    PRECISION,
    REPEATED,
    WEIGHTS,
    Card,
    Corruptions,
    Share,
    share,
)
from hiresnn.audit.draws import random_faults
from hiresnn.audit.presets import PROTOCOL, AuditConfig
from hiresnn.audit.sweep import AuditResult, Record, Units, audit
from hiresnn.calls import parse_bound
from hiresnn.checks import correct, fingerprint, require_batch
from hiresnn.data.dataset import LabelledImages, labelled
from hiresnn.errors import RunError, UsageError, closest
from hiresnn.exchange import deployed
from hiresnn.files import json_text, write_atomically
from hiresnn.network import SpikingNetwork, compiling_pays
from hiresnn.network.rate_form import RateForm, has_rate_form
from hiresnn.progress import Progress

CARD, ADVERSARIAL, DEPLOYED = "card.json", "adversarial.npz", "deployed.json"
FORMAT = 7  # raised when units of an earlier version differ from what this version would compute
PASSES = 500  # calls per image, for deciding whether compiling the neurons pays
FLOAT, ALL = "float", "all views"  # names of the network as it is, and of the worst case over it and all views

UNROUNDED = "its rate form without rounding"  # name of the twin of a network that has a rate form
FIELDS = {"index": "i", "eps": "f", "label": "i", "adversarial": "f", "clean": "f"}
"""Array of the archive -> its kind of number. One row per broken image: its position among the audited images, the eps
of the smallest bound that broke it (inf for none), its class, and the two images in float32, [N, C, H, W]."""
TOLERANCE = 0.02  # percentage points by which a rounded percentage may differ
ALWAYS = (REPEATED, BATCH, FINITE, INPUT, WEIGHTS)  # checks that every audit makes
OPTIONAL = (CONSTANT, PRECISION, ANSWERS, SPIKES)  # checks that it makes of some networks
CLEAN_CHECKS = (REPEATED, BATCH, CONSTANT, PRECISION)  # checks on clean images alone
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
    twins: Mapping[str, Model] | None = None,
    name: str = "network",
    classes: Sequence[str] | None = None,
    about: About | None = None,
    folder: Path | str | None = None,
    cache: MutableMapping[str, Record] | Path | str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Card:
    """Run the full attack suite on a network and return the card with its worst-case robust accuracy.

    Args:
        model: any callable, images [B, C, H, W] in [0, 1] -> logits [B, K]. Its mode and weights stay as they are. The
            images must be on its device.
        images, labels: float in [0, 1], and their classes [B]; all of them are attacked. `images` alone may be a
            Dataset, a DataLoader or whatever else `hiresnn.fit` takes, with its labels.
        config: the settings. settings: fields of `AuditConfig` in its place, such as preset="standard", eps="2/255",
            bounds=["1/255"], attacks=["apgd"], seed=1 and batch_size=50; both together are refused.
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
    settings = {option: value for option, value in settings.items() if value is not None}
    if config is not None and settings:
        raise UsageError(f"config is given, and {', '.join(settings)} beside it; set them in the AuditConfig.")
    for option in settings:
        if option not in AuditConfig.__dataclass_fields__:
            raise UsageError(f"run_audit has no option {option}; {closest(option, AuditConfig.__dataclass_fields__)}.")
    config, twins = config or AuditConfig(**settings), twins or {}
    about, progress = about or _about(model, config, twins, name, classes), progress or Progress(quiet=True)
    audited = InstrumentedModel(model, images)
    if audited.rounded_off:
        progress.line(
            "Warning: accuracies under FGSM and PGD of other programs, and of hiresnn 0.2, may be too high for this "
            f"network, because its loss rounds to 0 in float32 on {audited.rounded_off} of {len(audited.observed)} "
            "clean images. Those of this audit are not affected."
        )
    opponents = {title: InstrumentedModel(twin, images) for title, twin in twins.items()}
    if has_rate_form(model):  # what its spikes round has gradients of its own
        opponents[UNROUNDED] = InstrumentedModel(RateForm(model, quantised=False), images)
    for title, network in ((about.name, audited), *((f"the twin {name}", twin) for name, twin in opponents.items())):
        if about.classes is not None and network.classes != len(about.classes):
            counts = f"{network.classes} output classes, but {about.data} has {len(about.classes)}"
            raise UsageError(f"{title} has {counts}; choose the images that it was trained for, and name all classes.")
    views = {}
    if isinstance(model, SpikingNetwork):
        views = {view: deployed(model, view).eval() for view in config.views}
    elif config.views:
        raise UsageError(f"views (--as) need a spiking network of hiresnn, and this is a {type(model).__name__}.")
    if views and folder is None:
        raise UsageError("views are audited for deployed.json; name the folder that it is written to.")
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)  # before hours of work
    data = about.identity or (fingerprint([("images", images), ("labels", labels)]),)

    def units_of(network: InstrumentedModel) -> Units:
        """In a folder of the audit's identity, or in the caller's mapping, which only one audit may use."""
        identity = _identity(network, config, data)
        if isinstance(cache, Path | str):
            return ArrayCache(Path(cache) / f"cache-{identity}")
        units = {} if cache is None or network is not audited else cache
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
        corruptions = None
        if config.corruptions:
            corruptions = _corruptions(model, images, labels, config.seed, config.batch_size, progress)
        card = build_card(result, about, list(opponents), corruptions)
        if folder is not None:
            write_atomically(Path(folder) / ADVERSARIAL, adversarial_archive(result))
            write_atomically(Path(folder) / CARD, (card.model_dump_json(indent=2) + "\n").encode())
            if views:
                deployment = audit_views(views, result, units_of, progress)
                write_atomically(Path(folder) / DEPLOYED, json_text(deployment).encode())
    return card


def _corruptions(
    model: Model, images: Tensor, labels: Tensor, seed: int, batch_size: int, progress: Progress | None = None
) -> Corruptions:
    with seeded(seed):  # of a random network
        accuracies = corruption_accuracy(model, images, labels, seed=seed, batch_size=batch_size, progress=progress)
    return Corruptions(seed=seed, accuracy=accuracies, mean=mean_accuracy(accuracies))


@contextmanager
def _compiled(networks: Sequence[Model], config: AuditConfig, images: Tensor, progress: Progress) -> Iterator[None]:
    """Compile the neurons of a network and of its views inside the block, if that is asked for and pays."""
    spiking = [network for network in networks if isinstance(network, SpikingNetwork)]
    if not config.compile:  # neurons stay as they are, and none decides to compile in the middle of the audit
        spiking = [network for network in spiking if network.compiles_when_it_pays]
    before = [network.fused or ("auto" if network.compiles_when_it_pays else False) for network in spiking]
    ask = config.compile == "auto" and spiking
    pays = compiling_pays(spiking[0], images[:1], PASSES * len(images)) if ask else bool(config.compile)
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
    options += ["norm='l2'"] if config.norm == "l2" else []
    options += ["corruptions=True"] if config.corruptions else []
    options += [] if config.batch_size == AuditConfig.batch_size else [f"batch_size={config.batch_size}"]
    call = f"hiresnn.run_audit(model, images, labels, {', '.join(options)}"
    versions = {"python": platform.python_version(), "torch": torch.__version__, "system": platform.platform()}
    command = f"{call}, preset={config.plan.name!r})"
    return About(name, classes=classes, command=command, repeat=call, environment=versions)


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
    images, labels, config, audits = result.images, result.labels, result.config, {FLOAT: result}
    for view, network in networks.items():
        model = InstrumentedModel(network, images)
        progress.line(f"Audit of the network as deployed: {view}")
        twins, units = {FLOAT: result.model}, units_of(model)
        audits[view] = audit(model, images, labels, config, twins=twins, cache=units, progress=progress)
    levels = {name: audited.worst.level.clone() for name, audited in audits.items()}
    for name, audited in audits.items():
        for worst in (other.worst for other in audits.values() if other is not audited):
            made = list(worst.adversarial)
            for start in range(0, len(made), config.batch_size):
                rows = torch.tensor(made[start : start + config.batch_size])
                adversarial = torch.stack([worst.adversarial[row] for row in rows.tolist()]).to(labels.device)
                with frozen(audited.model), torch.no_grad():
                    broken = rows[~correct(audited.model(adversarial), labels[rows.to(labels.device)]).cpu()]
                levels[name][broken] = torch.minimum(levels[name][broken], worst.level[broken])

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


def packed(arrays: Record) -> bytes:
    """Arrays as the bytes of a compressed .npz."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def _unpacked(content: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return dict(file.items())


class ArrayCache:
    """Named arrays for each unit of work, one file per unit, complete or absent; a damaged file counts as absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"

    def get(self, key: str) -> Record | None:
        path = self._path(key)
        whole = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(whole[:-DIGEST]).digest() != whole[-DIGEST:]:
            return None
        record = _unpacked(whole[:-DIGEST])
        return record if str(record.pop(KEY, "")) == key else None

    def __setitem__(self, key: str, record: Record) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        content = packed({KEY: np.asarray(key), **record})
        write_atomically(self._path(key), content + hashlib.sha256(content).digest())


def adversarial_archive(result: AuditResult) -> bytes:
    """The broken images as a compressed .npz, with the arrays of `FIELDS`."""
    worst, images = result.worst, result.images
    index = sorted(worst.adversarial)
    adversarial = [worst.adversarial[image].numpy() for image in index]
    arrays = {
        "index": np.asarray(index, np.int64),
        "eps": np.asarray([worst.bounds[int(worst.level[image])].eps for image in index], np.float64),
        "label": result.labels[index].cpu().numpy(),
        "adversarial": np.stack(adversarial) if index else np.zeros((0, *images.shape[1:]), "f4"),
        "clean": images[index].cpu().numpy(),
    }
    return packed(arrays)


def read_archive(path: Path, fields: Mapping[str, str] = FIELDS, dimensions: int = 4) -> Record:
    """The arrays of an adversarial.npz; raises RunError if it is missing, damaged or holds other arrays."""
    advice = "name the folder of a complete audit"
    if not path.is_file():
        raise RunError(f"{path} does not exist, so there are no adversarial images to check; {advice}.")
    try:
        arrays = _unpacked(path.read_bytes())
    # zipfile says NotImplementedError of a damaged compression method
    except (OSError, ValueError, BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        raise RunError(f"{path} is damaged ({error}); {advice}.") from None
    rows = {values.shape[:1] for values in arrays.values()}
    shapes = {values.shape for name, values in arrays.items() if name in ("adversarial", "clean")}
    numbers = {name: values.dtype.kind for name, values in arrays.items()}
    wrong_shape = len(shapes) != 1 or len(next(iter(shapes))) != dimensions
    if numbers != fields or len(rows) != 1 or () in rows or wrong_shape:
        raise RunError(f"{path} does not hold the arrays {', '.join(fields)} with one row per image; {advice}.")
    return arrays


class Verification(NamedTuple):
    """How many adversarial images were checked; every problem, and all that could not be checked, as sentences.

    `complete` says whether they, and the clean accuracy, were compared with the data set.
    """

    images: int
    problems: tuple[str, ...]
    unchecked: tuple[str, ...] = ()
    complete: bool = False


@torch.no_grad()
def verify(
    card: Card, arrays: Record, model: Model, data: LabelledImages | None = None, *, batch_size: int = 200
) -> Verification:
    """Compute again all of a card that its archive, its images and its network determine; no attack is repeated.

    Args:
        arrays: of `read_archive`. model: the audited network.
        data: the audited images with their labels, in the order of the audit; without them the clean accuracy, and
            that stored images are of the data set, are not checked.
    """
    clean, adversarial = (torch.from_numpy(arrays[name]).float() for name in ("clean", "adversarial"))
    labels, eps, index = torch.from_numpy(arrays["label"]).long(), arrays["eps"], arrays["index"].tolist()
    count, network, problems = len(index), None, list[str]()
    unchecked = [
        "which attack broke an image first, and the counts of FGSM, PGD and noise: one adversarial image is stored",
        "that the attacks ran on the images that stand: no attack is repeated",
        "the screening of gradient rules, the activity, the pictures and the cost",
    ]

    def require(good: Tensor, fault: str, allowed: float = 0.0) -> None:
        bad = int((~good).sum())
        if bad > allowed * count:
            problems.append(f"{bad} of {count} images {fault}")

    if card.subject.fingerprint != weights_of(model):
        problems.append("the network's weights are not those that the card names")
    # Comparisons with NaN are false.
    require(((adversarial >= 0) & (adversarial <= 1)).flatten(1).all(1), "have pixels outside [0, 1] or not finite")
    norm = card.setting.norm
    near = distances(clean, adversarial, norm) <= torch.from_numpy(eps) + tolerance(clean, norm)
    require(near, "are further from the clean image than eps")
    positions = [*index, *card.unbroken]
    distinct = len(set(positions)) == len(positions) and all(0 <= place < card.data.images for place in positions)
    if not distinct or card.unbroken != sorted(card.unbroken):
        problems.append("the positions of broken images and of those that stand are not distinct positions of images")
    images, truth = (clean, labels) if data is None else labelled(data, None)
    if data is None:
        unchecked.append("clean accuracy, and that the stored images are those of the data set")
    elif len(images) != card.data.images:
        problems.append(f"the card names {card.data.images} images, but the data set gives {len(images)}")
    elif distinct:
        same = images[index].shape == clean.shape and (images[index] == clean).flatten(1).all(1)
        require(torch.as_tensor(same).expand(count), "are not those of the data set at their positions")
        require(truth[index] == labels, "do not have their label of the data set")
    if len(images):
        network = InstrumentedModel(model, images)
        chance = CHANCE if network.random else 0.0

        def right(pictures: Tensor, classes: Tensor) -> Tensor:
            with frozen(network), network.measured(0):
                batches = zip(torch.split(pictures, batch_size), torch.split(classes, batch_size), strict=True)
                return torch.cat([correct(network(part), of) for part, of in batches])

        if count:
            require(right(clean, labels), "are misclassified without an attack", chance)
            fault = "are classified correctly although the card counts them as broken"
            require(~right(adversarial, labels), fault, chance)
        if data is not None:
            answers = right(images, truth)
            if abs(int(answers.sum()) - card.clean.count) > chance * len(images):
                said = f"the card says {card.clean.count}"
                problems.append(f"the network classifies {int(answers.sum())} of {len(images)} correctly, {said}")
            elif not network.random and sorted({*answers.nonzero()[:, 0].tolist()} - {*index}) != card.unbroken:
                problems.append("the images that stand are not those that are classified correctly and not broken")
        problems += _subject_faults(card, network)
        if card.random is not None and data is not None and distinct:
            attacked, reached = images.clone(), eps <= parse_bound(card.setting.headline).eps + ROUNDING
            attacked[torch.tensor(index)[reached]] = adversarial[reached]
            problems += random_faults(card.random, network, images, attacked, truth, batch_size)
            unchecked.append("how many draws a gradient needs, and the votes on attacked images that stand")
    if (stated := card.corruptions) is not None:
        if data is None or network is None or network.random:
            unchecked.append("the accuracy on corrupted images")
        elif _corruptions(model, images, truth, stated.seed, batch_size) != stated:
            problems.append("the accuracy on corrupted images is another one than the card says")
    problems += [*_count_faults(card, eps), *_conclusion_faults(card, network, data is not None)]
    return Verification(count, tuple(problems), tuple(unchecked), data is not None)


def _subject_faults(card: Card, network: InstrumentedModel) -> Iterator[str]:
    """Contradictions between a card and what its network shows."""
    names, data, actual = ("timesteps", "neurons", "random", "draws", "rounds"), card.data, subject_of(network, About())
    values = [(name, getattr(card.subject, name), getattr(actual, name)) for name in names]
    values += [("output classes", len(data.classes), network.classes)]
    values += [("image size", data.size, list(network.observed.shape[1:]))]
    for name, stated, true in values:
        if stated != true:
            yield f"the card says {name} = {stated} of its network, which has {true}"


def _count_faults(card: Card, eps: np.ndarray[Any, Any]) -> Iterator[str]:
    """Contradictions between the counts of a card, its settings and the archive."""
    clean, rows = card.clean, {row.label: row for row in card.attacks}
    if len(card.unbroken) != card.curve[-1].worst.count:
        yield f"{len(card.unbroken)} images stand, but the curve ends with {card.curve[-1].worst.count}"
    setting = card.setting
    curve = AuditConfig(eps=setting.headline, bounds=tuple(setting.bounds), norm=setting.norm).curve
    bounds = [bound.label for bound in curve]
    if not bounds == card.setting.bounds == [point.bound for point in card.curve]:
        yield f"the points of the curve are not those of an audit at {', '.join(bounds)}"
    if any(not any(math.isclose(bound.eps, value, rel_tol=1e-4) for bound in curve[1:]) for value in set(eps)):
        yield "stored images were broken at bounds that the curve does not have"
    yield from (f"clean: {fault}" for fault in _share_faults(card, clean))
    for point in card.curve:
        at, true = f"at {point.bound}", parse_bound(point.bound).eps
        radius = math.inf if point.eps is None else point.eps
        if not math.isclose(true, radius, rel_tol=1e-4):
            yield f"the card gives the bound {point.bound} as eps = {point.eps}"
        if (left := clean.count - int((eps <= radius).sum())) != point.worst.count:
            yield f"{at} the images leave {left} standing, the card says {point.worst.count}"
        first = sum(row.broke.get(point.bound, 0) for row in card.attacks)
        if first != (stored := sum(math.isclose(value, true, rel_tol=1e-4) for value in eps)):
            yield f"the attacks broke {first} images first {at}, but {stored} are stored"
        names = ("fgsm", "pgd", "noise", "worst") + (("gradient",) if point.gradient else ())
        for name in names:
            yield from (f"{at}, {name}: {fault}" for fault in _share_faults(card, getattr(point, name)))
        for label, part in zip(PROTOCOL, (point.fgsm, point.pgd, point.noise), strict=True):
            most = clean.count - (rows[label].broke.get(point.bound, 0) if label in rows else 0)
            if not point.worst.count <= part.count <= most:
                limits = f"{point.worst.count} to {most}"
                yield f"{at} the attack {label} can leave {limits} images, the card says {part.count}"
    gradient = [point.gradient for point in card.curve]
    if len({part is None for part in gradient}) > 1 or any(
        part and not point.worst.count <= part.count <= clean.count
        for part, point in zip(gradient, card.curve, strict=True)
    ):
        yield "what attacks with gradients leave is missing at a bound, or no number from the worst case to clean"
    head = card.at(card.setting.headline)
    least, broken = head.gradient.count - head.worst.count if head.gradient else 0, clean.count - head.worst.count
    if not least <= len(set(card.searched)) <= broken or set(card.searched) & {*card.unbroken}:
        yield f"{len(card.searched)} images fell only to attacks without gradients, it says, not {least} to {broken}"
    for label in PROTOCOL[:2]:  # they attack every correct image at every bound
        attacked = rows[label].shown if label in rows else 0
        if attacked != (expected := clean.count * (len(card.curve) - 1)):
            yield f"the attack {label} attacked {attacked} images over all bounds, but {expected} are to be attacked"


def _share_faults(card: Card, stated: Share) -> Iterator[str]:
    exact = share(min(stated.count, stated.of), stated.of)
    if stated.of != card.data.images or stated.count > stated.of:
        yield f"the card counts {stated.count} of {stated.of} images, but {card.data.images} were audited"
    elif max(abs(getattr(stated, key) - getattr(exact, key)) for key in ("percent", "low", "high")) > TOLERANCE:
        said, true = (f"{one.percent:g} % ({one.low:g} to {one.high:g})" for one in (stated, exact))
        yield f"the card says {said}, but {stated.count} of {stated.of} are {true}"


def _conclusion_faults(card: Card, network: InstrumentedModel | None, same_images: bool) -> Iterator[str]:
    """Contradictions between the checks, the counts and the conclusion of a card."""
    observed = {check.name: check for check in network.checks(0)} if network else {}
    stated = {check.name: check for check in card.checks}
    required = {*ALWAYS, *observed}
    if BATCH in stated and stated[BATCH].result == "not checked":
        required.discard(CONSTANT)
    if network and isinstance(network.model, SpikingNetwork):
        required.add(SPIKES)
    if lacking := sorted(required - {*stated}):
        yield f"the card lacks the checks {', '.join(lacking)}"
    if unknown := sorted({*stated} - required - {*observed, *OPTIONAL}):
        yield f"an audit does not make the checks {', '.join(unknown)}"
    for name in {*stated} & {*observed} if same_images else ():
        if stated[name].result != observed[name].result and (name in CLEAN_CHECKS or stated[name].result == "passed"):
            yield f"the card says of {name}: {stated[name].result}; the network: {observed[name].detail}"
    silent = any(not layer.clean for layer in card.activity or ())
    if SPIKES in stated and (stated[SPIKES].result == "failed") != silent:
        yield f"the card says of spikes: {stated[SPIKES].result}, which its activity contradicts"
    own = next((report for report in card.screening.rules if report.rule == OWN), None)
    if own is None:
        yield "the screening lacks the network's own gradient rule"
        return
    point, preset = card.at(card.setting.headline), card.setting.preset
    actual = conclude(point, own, Evidence.stated(card), card.checks, card.random, preset=preset, command="")
    for name in ("verdict", "headline", "own"):
        said, true = getattr(card.conclusion, name), getattr(actual, name)
        if said != true:
            yield f"the {name} of the card is {said!r}, but its counts and checks give {true!r}"
    for reason in actual.reasons:  # without those that name attacks, which nothing repeats
        if reason not in (*card.conclusion.reasons, NO_DOUBT):
            yield f"the card leaves out a reason: {reason}"
