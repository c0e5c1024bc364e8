"""A cache of finished units of long work as files, so that interrupted work continues where it stopped.

The audit of a network as deployed: every view is attacked itself, and by what was made on the other views.

`hiresnn audit`: audit any network on a data set, and write the card and the adversarial images into a folder.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hiresnn import data
from hiresnn.app.build import compile_neurons
from hiresnn.app.context import device_of
from hiresnn.app.evaluate import check_fits
from hiresnn.app.folder import MODEL, RECIPE, environment, locked
from hiresnn.app.memory import fitting_batch
from hiresnn.app.recipe import digest
from hiresnn.app.targets import ModelSource, audit_folder, data_of, resolve_model
from hiresnn.attacks import ATTACKS
from hiresnn.audit import PRESETS, AuditConfig, AuditResult, Card, InstrumentedModel, Record, parse_bound
from hiresnn.audit import audit as run_sweep
from hiresnn.audit.bounds import Bound, WorstCase
from hiresnn.audit.build_card import build_card, subject_of
from hiresnn.audit.card import Images
from hiresnn.audit.run import LOOKED_AT
from hiresnn.audit.verify import Verification, adversarial_archive, read_archive
from hiresnn.audit.verify import verify as verify_arrays
from hiresnn.data import DataSet
from hiresnn.errors import RunError, UsageError, command_line
from hiresnn.exchange import deployed
from hiresnn.files import json_text, utf8, write_atomically
from hiresnn.metrics import correct
from hiresnn.network import SpikingNetwork
from hiresnn.progress import Progress

KEY = "unit"
DIGEST = 32  # bytes of SHA-256 at the end of a file, which detect damage on the disk


class ArrayCache(MutableMapping[str, Mapping[str, "NDArray[Any]"]]):
    """Named arrays for each unit of work, one file per unit, complete or absent. A damaged file counts as absent.

    The folder is created on the first write; its name must identify what all units have in common.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npz"

    def __getitem__(self, key: str) -> Mapping[str, NDArray[Any]]:
        record = _read(self._path(key))
        if record is None or str(record.pop(KEY, "")) != key:
            raise KeyError(key)
        return record

    def __setitem__(self, key: str, record: Mapping[str, NDArray[Any]]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{KEY: np.asarray(key)}, **record)  # type: ignore[arg-type]
        content = buffer.getvalue()
        write_atomically(self._path(key), content + hashlib.sha256(content).digest())

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._path(key).unlink()

    def __iter__(self) -> Iterator[str]:
        for path in sorted(self.folder.glob("*.npz")):
            record = _read(path)
            if record is not None and KEY in record:
                yield str(record[KEY])

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _read(path: Path) -> dict[str, NDArray[Any]] | None:
    try:
        whole = path.read_bytes()
        content, digest = whole[:-DIGEST], whole[-DIGEST:]
        if hashlib.sha256(content).digest() != digest:
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return dict(file.items())
    except OSError:
        return None


DEPLOYED = "deployed.json"
FLOAT, ALL = "float", "all views"
"""Names of the network as it is, and of the worst case over it and all views."""


def require_views(views: Sequence[str], model: object) -> dict[str, SpikingNetwork]:
    """Return the network of each view, before any attack runs."""
    if not views:
        return {}
    if not isinstance(model, SpikingNetwork):
        raise UsageError(
            f"--as needs a spiking network of hiresnn, and this is a {type(model).__name__}; leave it out."
        )
    return {view: deployed(model, view).eval() for view in views}


def audit_views(
    networks: Mapping[str, SpikingNetwork],
    result: AuditResult,
    cache: Callable[[InstrumentedModel], MutableMapping[str, Record]],
    progress: Progress,
) -> dict[str, Any]:
    """Audit every view with the attacks of `result`, and try all adversarial images on all other views.

    A view is attacked by the whole preset with its own gradients, and by what is made on the float network at every
    bound. Afterwards every adversarial image of one network counts for each of the others that it breaks.

    `result` is the audit of the float network; `cache` returns the finished units of the audit of a network.

    Returns:
        The content of deployed.json: bounds, number of images, and for each view the percentage that stands at each
        bound ("worst"), and under attacks on that view alone ("own").
    """
    images, labels = result.images, result.labels
    subjects = {FLOAT: (result.model, result.worst)}
    for view, network in networks.items():
        model = InstrumentedModel(network, images[:LOOKED_AT])
        progress.line(f"Audit of the network as deployed: {view}")
        swept = run_sweep(
            model, images, labels, result.config, twins={FLOAT: result.model}, cache=cache(model), progress=progress
        )
        subjects[view] = (model, swept.worst)
    levels = {name: worst.level.clone() for name, (_, worst) in subjects.items()}
    for name, (model, _) in subjects.items():
        for maker, (_, worst) in subjects.items():
            if maker != name:
                _transfer(worst, model, labels, levels[name], result.config.batch_size)
    bounds = result.worst.bounds
    return {
        "bounds": [bound.label for bound in bounds],
        "headline": result.config.headline.label,
        "images": len(labels),
        "views": {
            name: {"worst": _curve(levels[name], len(bounds)), "own": _curve(worst.level, len(bounds))}
            for name, (_, worst) in subjects.items()
        },
        ALL: _curve(torch.stack(list(levels.values())).amin(0), len(bounds)),
    }


@torch.no_grad()
def _transfer(worst: WorstCase, model: InstrumentedModel, labels: Tensor, level: Tensor, size: int) -> None:
    """Lower `level` where an adversarial image of another network is misclassified by `model`, too."""
    made = list(worst.adversarial)
    for start in range(0, len(made), size):
        positions = torch.tensor(made[start : start + size])
        adversarial = torch.stack([worst.adversarial[position] for position in positions.tolist()])
        classes = labels[positions.to(labels.device)]
        wrong = ~correct(model(adversarial.to(labels.device)), classes)
        broken = positions[wrong.cpu()]
        level[broken] = torch.minimum(level[broken], worst.level[broken])


def _curve(level: Tensor, bounds: int) -> list[float]:
    """Percentage of images that stand at each bound."""
    return [round(100 * float((level > place).float().mean()), 2) for place in range(bounds)]


CARD = "card.json"
ADVERSARIAL = "adversarial.npz"
FORMAT = 3
"""Raised when units of an earlier version differ from what this version would compute."""
PASSES = 500
"""Calls per image, for deciding whether compiling the neurons pays."""


@dataclass(frozen=True)
class AuditRequest:
    """What to audit, as the command line names it."""

    target: str  # see `runs.model_source.resolve_model`
    config: AuditConfig = field(default_factory=AuditConfig)
    twins: tuple[str, ...] = ()  # targets whose networks make images for this one
    source: str | None = None  # the data set; a run has one of its own
    images: int | None = None  # how many test images, if not the preset's number
    eps: str | None = None  # the bound of the headline in place of that of `config`; None: the recipe's, or 8/255
    out: Path | None = None  # the folder; None means RUN/audit, or a folder in audits/
    replace: bool = False  # whether a smaller audit may replace a larger one
    command: str = ""  # the command line that the card names
    views: tuple[str, ...] = ()  # the network as deployed, see `hiresnn.exchange.VIEWS`


def audit(request: AuditRequest, *, progress: Progress) -> tuple[Card, Path]:
    """Audit a network; returns the card and its folder.

    The folder gets card.json, adversarial.npz (see `audit.verification`), with `request.views` deployed.json (see
    `audit_views`), and a cache with which an interrupted audit continues.

    Raises:
        HiresnnError: a target, data set, option or folder that cannot be used.
    """
    subject = resolve_model(request.target)
    recipe = subject.recipe
    dataset = data_of(request.target, subject, request.source)
    eps = request.eps or (recipe.attack.eps if recipe else 8 / 255)
    config = replace(request.config, eps=eps, paper=_paper(subject, parse_bound(eps)))
    split = data.in_turn(dataset.test, min(request.images or config.plan.images, len(dataset.test)))
    device = device_of(recipe)
    if subject.kind != "function" and isinstance(subject.model, nn.Module):
        check_fits(subject.model, dataset, request.target)
        batch = fitting_batch(subject.model, dataset, config.batch_size, device, progress)
        config = replace(config, batch_size=batch)
    images, labels = split.images.to(device).float() / 255, split.labels.to(device)
    out = request.out or audit_folder(request.target, subject)
    if not request.replace:
        _refuse_smaller(out, len(images), config)
    model = _instrumented(request.target, subject, dataset, images, recipe.compile if recipe else "auto", progress)
    twins = _twins(request, model, dataset, images)
    views = require_views(request.views, subject.model)
    for name in (subject.name, dataset.name, *dataset.class_names, *twins, request.command):
        utf8(name, out / CARD)  # now, and not when all the work is done
    with locked(out, "audit folder"):

        def cache_of(audited: InstrumentedModel) -> ArrayCache:
            return ArrayCache(out / f"cache-{_identity(subject, audited, dataset, config)}")

        cache = cache_of(model)
        for name, twin in twins.items():
            answers = np.asarray(str(twin.digest))
            if cache.setdefault(f"answers of {name}", {"answers": answers})["answers"] != answers:
                raise RunError(
                    f"{cache.folder} holds work with a twin {name} that gave other answers; delete that folder, or "
                    "choose another --out."
                )
        result = run_sweep(model, images, labels, config, twins=twins, cache=cache, progress=progress)
        card = _card(request, subject, dataset, result, list(twins))
        write_atomically(out / ADVERSARIAL, adversarial_archive(result))
        write_atomically(out / CARD, (card.model_dump_json(indent=2) + "\n").encode())
        if views:
            found = audit_views(views, result, cache_of, progress)
            write_atomically(out / DEPLOYED, json_text(found).encode())
    return card, out


def _card(request: AuditRequest, subject: ModelSource, dataset: DataSet, result: AuditResult, twins: list[str]) -> Card:
    recipe, images = subject.recipe, result.images
    return build_card(
        result,
        subject=subject_of(
            result, name=subject.name, kind=subject.kind, architecture=subject.architecture, library=subject.library,
            method=recipe.method if recipe else None,
        ),
        data=Images(
            name=dataset.name, split="test", images=len(images), classes=list(dataset.class_names),
            size=list(images.shape[1:]),
        ),
        command=request.command,
        repeat=_repeat(request),
        target=request.target, twins=twins, environment=environment(),
    )  # fmt: skip


def _repeat(request: AuditRequest) -> str:
    """Return the command line of an audit without its preset and its number of images."""
    config = request.config
    named: dict[str, Iterable[object]] = {
        "--data": [request.source], "--eps": [request.eps], "--bounds": [",".join(config.bounds or ())],
        "--attack": config.attacks, "--twin": request.twins, "--as": request.views, "--seed": [config.seed],
        "--batch": [config.batch_size if config.batch_size != AuditConfig.batch_size else None],
        "--out": [request.out],
    }  # fmt: skip
    words = [word for option, values in named.items() for value in values if value for word in (option, value)]
    return command_line("audit", request.target, *words)


def verify(path: Path, name: str | None = None) -> Verification:
    """Check the adversarial images beside a card, or in its folder, against the network and the card.

    Args:
        name: the audited network, see `runs.model_source.resolve_model`; None takes the run around the card, or else
            the network that the card names. A card never makes this run code: a network from FILE.py:FUNCTION must be
            named again.

    Raises:
        HiresnnError: a card, archive or network that cannot be read.
    """
    path = path / CARD if path.is_dir() else path
    card = _read_card(path, "name the card.json in the folder of an audit")
    if card is None:
        raise RunError(f"{path} does not exist; name a card.json that hiresnn audit wrote.")
    target = name or run_around(path) or card.setting.target
    if target is None or (name is None and card.subject.kind == "function"):
        raise UsageError(
            f"{path} may not choose the code that runs; name its network: "
            f"{command_line('audit', 'TARGET', '--verify', path)}"
        )
    model = resolve_model(target, may_run_code=name is not None).model
    if isinstance(model, nn.Module):
        model.cpu()
    return verify_arrays(card, read_archive(path.parent / ADVERSARIAL), model)


def run_around(card: Path) -> str | None:
    """Return the run folder whose audit a card is, such as RUN/audit/card.json, wherever the folder is by now."""
    folder = card.absolute().parent
    run = folder.parent
    complete = folder.name.startswith("audit") and (run / MODEL).is_file() and (run / RECIPE).is_file()
    return str(run) if complete else None


def _read_card(path: Path, fix: str = "move it elsewhere, or audit with --replace") -> Card | None:
    """The card at `path`; None if there is none."""
    try:
        return Card.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError):  # also ValidationError
        raise RunError(f"{path} is not an audit card that this version can read; {fix}.") from None


def _refuse_smaller(out: Path, images: int, config: AuditConfig) -> None:
    """Refuse to replace the card of a larger audit: of more images, or of a larger preset."""
    card, order = _read_card(out / CARD), list(PRESETS)
    if card is None or card.setting.preset not in order or config.plan.name not in order:
        return
    if card.data.images > images or order.index(card.setting.preset) > order.index(config.plan.name):
        raise RunError(
            f"{out / CARD} is an audit of {card.data.images:,} images with preset {card.setting.preset}, which one of "
            f"{images:,} images with preset {config.plan.name} would replace; choose another folder with --out, or "
            "give --replace."
        )


def _instrumented(
    name: str, subject: ModelSource, dataset: DataSet, images: Tensor, compiling: str, progress: Progress | None = None
) -> InstrumentedModel:
    """The network on the device of the images, once it is known to fit them."""
    model = subject.model
    if isinstance(model, nn.Module):
        check_fits(model, dataset, name)
        model.to(images.device)
    instrumented = InstrumentedModel(model, images[:LOOKED_AT])
    if instrumented.classes != dataset.num_classes:
        raise UsageError(
            f"{name} has {instrumented.classes} output classes, but {dataset.name} has {dataset.num_classes}; name the "
            "data set that it was trained on with --data."
        )
    if isinstance(model, SpikingNetwork):  # from here on: its answers must not depend on how much is to be done
        compile_neurons(compiling, model, images[:1], PASSES * len(images), progress)
    return instrumented


def _twins(
    request: AuditRequest, audited: InstrumentedModel, dataset: DataSet, images: Tensor
) -> dict[str, InstrumentedModel]:
    twins: dict[str, InstrumentedModel] = {}
    for text in request.twins:
        source = resolve_model(text)
        twin = _instrumented(f"the twin {text}", source, dataset, images, "never")
        if twin.weights and twin.weights in (audited.weights, *(other.weights for other in twins.values())):
            raise UsageError(
                f"the twin {text} has the weights of the audited network or of another twin; name another twin."
            )
        twins[f"{source.name} ({(twin.weights or 'no weights')[:6]})"] = twin
    return twins


def _paper(subject: ModelSource, headline: Bound) -> dict[str, Any]:
    """The paper's PGD at the headline: the recipe's, its step in proportion to the bound; else that of sec. 5.1."""
    if subject.recipe is None:
        return {"step": 0.01 * headline.radius / (8 / 255), "iterations": 7}
    setting = subject.recipe.attack
    step = setting.step * headline.radius / setting.eps if setting.eps else setting.step
    return {"step": step, "iterations": setting.iterations, "random_start": setting.random_start}


def _identity(subject: ModelSource, model: InstrumentedModel, dataset: DataSet, config: AuditConfig) -> str:
    """Digest of what all units of an audit have in common; presets, added attacks and twins are not part of it.

    The source of an attack of the user's own is: its units must not outlive a change of the file.
    """
    added = {planned.spec.name for planned in config.added}
    sources = {name: source for name in sorted(added) if (source := ATTACKS[name].source)}
    return digest({
        "format": FORMAT, "weights": model.weights, "answers": model.digest, "source": subject.source,
        "data": dataset.digest, "seed": config.seed, "batch": config.batch_size, "headline": config.headline.label,
        "paper": dict(config.paper), **({"attacks": sources} if sources else {}),
    })  # fmt: skip
