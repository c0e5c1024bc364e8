"""`hiresnn audit`: resolve a target, its data set and its recipe, audit the network into a folder; verify a card."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hiresnn import data
from hiresnn.app.build import COMPILE, device_of, fitting_batch
from hiresnn.app.evaluate import check_fits
from hiresnn.app.folder import MODEL, RECIPE, environment, locked
from hiresnn.app.recipe import Recipe
from hiresnn.app.targets import audit_folder, data_of, load_for, resolve_model
from hiresnn.attacks import Model
from hiresnn.audit import PRESETS, About, AuditConfig, Card, run_audit
from hiresnn.audit.behaviour import weights_of
from hiresnn.audit.card import read_card
from hiresnn.audit.events import ARCHIVE, EventCard, EventConfig, audit_events, verify_events
from hiresnn.audit.events import CARD as EVENT_CARD
from hiresnn.audit.events import PRESETS as EVENT_PRESETS
from hiresnn.audit.run import ADVERSARIAL, CARD, Verification, read_archive
from hiresnn.audit.run import verify as verify_arrays
from hiresnn.calls import Bound
from hiresnn.checks import as_floats
from hiresnn.errors import DataError, RunError, UsageError, command_line
from hiresnn.files import read_json, write_atomically
from hiresnn.foreign import Unrolled
from hiresnn.neurons import Linear, takes_rule
from hiresnn.process import cache_folder
from hiresnn.progress import Progress

PAGE, EVENT_PAGE = "report.html", "events.html"
DOWNLOADS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python", "mnist": "MNIST"}
DOWNLOADS |= {"fashion-mnist": "FashionMNIST", "svhn": "test_32x32.mat"}
"""Data set -> where torchvision keeps it."""


def audit(
    target: str,
    config: AuditConfig,
    *,
    eps: str | None = None,
    twins: Sequence[str] = (),
    source: str | None = None,
    size: int | None = None,
    images: int | None = None,
    weights: Path | None = None,
    timesteps: int | None = None,
    out: Path | None = None,
    replace: bool = False,
    command: str = "",
    page: Callable[[Card], str] | None = None,
    events: EventConfig | None = None,
    event_page: Callable[[EventCard], str] | None = None,
    progress: Progress,
) -> tuple[Card | EventCard, Path]:
    """Audit the network that `target` names; return the card and its folder, from whose work an audit continues.

    The recipe decides on the paper's PGD, on compiling, and without `eps` on the bound of the headline (else 8/255).
    `weights` is a file for the network of a function, and `timesteps` is T of one that takes a step per call.
    `twins` are targets whose networks make images for this one; `source` and `images` replace the data set of the run
    and the preset's number of test images; `size` scales and crops the images to squares. `out` is by default RUN/audit
    or a folder in audits/; a larger audit in it is kept unless `replace`. `command` is the command line that the card
    names, and `page` makes its report.html.

    With `events`, a data set of event grids is audited under a threat model of events: the card is events.json, and
    `event_page` makes its events.html.
    """
    subject = resolve_model(target, weights=weights, source=source, size=size)
    recipe, dataset = subject.recipe, data_of(target, subject, source, size)
    trial = as_floats(dataset.test.images[:1])
    subject = subject.recognised(trial, timesteps)
    if isinstance(subject.model, Unrolled):
        progress.line(f"Network: {subject.model.summary}.")
    elif subject.kind == "function" and not (
        isinstance(subject.model, nn.Module) and takes_rule(subject.model, Linear())
    ):
        found = "no spiking neurons were found, so attacks follow its own gradient alone"
        progress.line(f"Network: {subject.architecture}, in which {found}. If it spikes, see docs/papers.md.")
    if source is not None and source not in data.sources.NAMES:
        progress.line(f"Data: {dataset.summary}.")
    if events is not None and dataset.events:
        if config.norm != "linf":
            raise UsageError("an audit of events has budgets and no norm; name --threat frames for bounds in L2.")
        if config.corruptions:
            raise UsageError("an audit of events has no corruptions; measure them with hiresnn evaluate --corruptions.")
        folder, device = out or audit_folder(target, subject), device_of(recipe)
        if isinstance(subject.model, nn.Module):
            check_fits(subject.model, dataset, target)
            subject.model.to(device)
        chosen = data.in_turn(dataset.test, min(images or EVENT_PRESETS[events.preset].images, len(dataset.test)))
        about = About(
            name=subject.name, kind=subject.kind, architecture=subject.architecture, library=subject.library,
            method=recipe.method if recipe else None, data=dataset.name, split="test", classes=dataset.class_names,
            target=target, command=command, environment=environment(), identity=(subject.source, dataset.digest),
        )  # fmt: skip
        test = as_floats(chosen.images.to(device)), chosen.labels.to(device)
        events = dataclasses.replace(events, grid=dataset.events)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder, "audit folder"):
            result = audit_events(subject.model, *test, events, about=about, folder=folder, progress=progress)
            if event_page is not None:
                write_atomically(folder / EVENT_PAGE, event_page(result).encode())
        return result, folder
    if eps is not None or (recipe and config.norm == "linf"):  # the bound of a recipe is one on each pixel
        config = dataclasses.replace(config, eps=recipe.attack.eps if eps is None and recipe else eps)
    paper, compiled = paper_of(recipe, config.headline), COMPILE[recipe.compile if recipe else "auto"]
    config = dataclasses.replace(config, paper=paper, compile=compiled)
    split = data.in_turn(dataset.test, min(images or config.plan.images, len(dataset.test)))
    folder = out or audit_folder(target, subject)
    if out is None and config.norm == "l2":
        folder = folder.with_name(f"{folder.name}-l2")  # beside the audit in L-infinity
    if not replace:
        _refuse_smaller(folder, len(split), config, subject.model)
    device = device_of(recipe)
    opponents: dict[str, Model] = {}
    fingerprints = {weights_of(subject.model)}
    for text in twins:
        twin = resolve_model(text, source=source, size=size).recognised(trial)
        twin_weights = weights_of(twin.model)
        if twin_weights and twin_weights in fingerprints:
            raise UsageError(f"the twin {text} has the weights of the audited network or of another; name another.")
        fingerprints.add(twin_weights)
        opponents[f"{twin.name} ({(twin_weights or 'no weights')[:6]})"] = twin.model
    for name, model in ((target, subject.model), *opponents.items()):
        if isinstance(model, nn.Module):
            check_fits(model, dataset, name)
            model.to(device)
    if subject.kind != "function" and isinstance(subject.model, nn.Module):
        config = dataclasses.replace(config, batch_size=fitting_batch(subject.model, dataset, config.batch_size))
    about = About(
        name=subject.name, kind=subject.kind, architecture=subject.architecture, library=subject.library,
        method=recipe.method if recipe else None, data=dataset.name, split="test", classes=dataset.class_names,
        target=target, command=command, environment=environment(),
        repeat=_repeat(target, config, eps, twins, source, size, weights, timesteps, out),
        identity=(subject.source, dataset.digest),
    )  # fmt: skip
    test = as_floats(split.images.to(device)), split.labels.to(device)
    options: dict[str, Any] = {"twins": opponents, "about": about, "folder": folder, "cache": folder}
    with locked(folder, "audit folder"):
        card = run_audit(subject.model, *test, config, **options, progress=progress)
        if page is not None:
            write_atomically(folder / PAGE, page(card).encode())
    return card, folder


def paper_of(recipe: Recipe | None, headline: Bound) -> dict[str, object]:
    """The paper's PGD at the headline: the recipe's, its step in proportion to the bound; else that of sec. 5.1."""
    if recipe is None:
        return {"step": 0.01 * headline.radius / (8 / 255), "iterations": 7}
    setting = recipe.attack
    step = setting.step * headline.radius / setting.eps if setting.eps else setting.step
    return {"step": step, "iterations": setting.iterations, "random_start": setting.random_start}


def _repeat(
    target: str,
    config: AuditConfig,
    eps: str | None,
    twins: Sequence[str],
    source: str | None,
    size: int | None,
    weights: Path | None,
    timesteps: int | None,
    out: Path | None,
) -> str:
    """The command line of an audit without its preset and its number of images."""
    batch_size = config.batch_size if config.batch_size != AuditConfig.batch_size else None
    options: dict[str, Sequence[object]] = {
        "--norm": ["l2"] if config.norm == "l2" else [],
        "--data": [source], "--size": [size], "--weights": [weights], "--timesteps": [timesteps],
        "--eps": [eps], "--bounds": [",".join(config.bounds or ())], "--attack": config.attacks,
        "--twin": twins, "--as": config.views, "--seed": [config.seed], "--batch": [batch_size], "--out": [out],
    }  # fmt: skip
    arguments = [part for option, values in options.items() for value in values if value for part in (option, value)]
    return command_line("audit", target, *arguments, *["--corruptions"] * config.corruptions)


def _refuse_smaller(out: Path, images: int, config: AuditConfig, model: Model) -> None:
    """Refuse to replace the card of a larger audit: of more images, of a larger preset, or in the other norm."""
    if not (out / CARD).exists():
        return
    card, order = read_card(out / CARD, "move it elsewhere, or audit with --replace"), list(PRESETS)
    if not {card.setting.preset, config.plan.name} <= PRESETS.keys():
        return
    if card.setting.norm != config.norm:
        raise RunError(f"{out / CARD} is an audit in the other norm; choose another folder with --out, or --replace.")
    if card.data.images > images or order.index(card.setting.preset) > order.index(config.plan.name):
        larger = f"a larger audit, of {card.data.images:,} images with preset {card.setting.preset}"
        other = " of a network with other weights" if card.subject.fingerprint != weights_of(model) else ""
        remedy = "replace it with --replace, or choose another folder with --out"
        raise RunError(f"{out / CARD} is {larger}{other}; {remedy}.")


def verify(
    path: Path,
    name: str | None = None,
    *,
    weights: Path | None = None,
    timesteps: int | None = None,
    source: str | None = None,
    size: int | None = None,
) -> Verification:
    """Check a card, or the one in a folder, against the adversarial images beside it, its network and its data set.

    `name` names the network, with `weights`, `timesteps`, `source` and `size` as for `audit`; None takes the run around
    the card, or else the network that the card names, unless that is code, which no card may run. Nothing is downloaded
    unless `source` names it: without the data set, `unchecked` of the result says what that leaves open. Raises
    HiresnnError for a card, archive, network or `source` that cannot be read.
    """
    if path.is_dir():
        path = path / (CARD if (path / CARD).exists() or not (path / EVENT_CARD).exists() else EVENT_CARD)
    events = path.name == EVENT_CARD
    card = read_json(path, EventCard) if events else read_card(path)
    target = name or run_around(path) or (card.target if isinstance(card, EventCard) else card.setting.target)
    if target is None or (name is None and card.subject.kind == "function"):
        remedy = command_line("audit", "TARGET", "--verify", path)
        raise UsageError(f"{path} may not choose the code that runs; name its network: {remedy}")
    options: dict[str, Any] = {"weights": weights, "source": source, "size": size}
    subject = resolve_model(target, may_run_code=name is not None, **options)
    arrays = {} if events else read_archive(path.parent / ADVERSARIAL)
    if not events:
        clean = torch.as_tensor(arrays["clean"][:1])  # as in the audit: on a black image a network may not spike
        subject = subject.recognised(clean if len(clean) else torch.zeros(1, *clean.shape[1:]), timesteps)
    model = subject.model
    if isinstance(model, nn.Module):
        model.cpu()
    problems, unchecked, images, name = list[str](), list[str](), None, card.data.name
    recipe = subject.recipe
    command = "" if isinstance(card, EventCard) else card.setting.command
    if subject.kind == "function" and weights is None and " --weights " in command:
        problems.append("the audit loaded weights of a file, so this is another network; name them with --weights FILE")
    given = None if source is None and size is None else data_of(target, subject, source, size)
    if given and given.name != name:
        problems.append(f"the card says the data set is {name}, but --data names {given.name}")
    try:
        dataset = given or _dataset_of(name, recipe)
        classes = ("classes", card.data.classes, list(dataset.class_names))
        for field, stated, actual in (("split", card.data.split, "test"), classes):
            if stated != actual:
                problems.append(f"the card says {field} = {stated} of {name}, which has {actual}")
        split = data.in_turn(dataset.test, min(card.data.images, len(dataset.test)))
        images = as_floats(split.images), split.labels
    except (DataError, UsageError) as error:
        contradicted = name in DOWNLOADS and recipe is not None and recipe.data.source != name
        (problems if contradicted else unchecked).append(f"the data set {name} of the card: {error}")
    if isinstance(card, EventCard):
        verified = verify_events(card, path.parent / ARCHIVE, model, images)
    else:
        verified = verify_arrays(card, arrays, model, images)
    return verified._replace(problems=(*problems, *verified.problems), unchecked=(*unchecked, *verified.unchecked))


def _dataset_of(name: str, recipe: Recipe | None) -> data.DataSet:
    """The data set of a card if it is on this machine: one of the package by its name, else that of the recipe."""
    if name in DOWNLOADS and not (cache_folder("data") / DOWNLOADS[name]).exists():
        raise DataError(f"it is not on this machine; load it once with hiresnn.data.load({name!r}).")
    if name in ("digits", "saccade-digits", *DOWNLOADS):
        return load_for(recipe, name) if recipe else data.load(name)
    if recipe is None:
        raise DataError("no recipe says where it is; name it with --data.")
    dataset = load_for(recipe)
    if dataset.name != name:
        raise DataError(f"the recipe names another one, {dataset.name}.")
    return dataset


def run_around(card: Path) -> str | None:
    """The run folder whose audit a card is, such as RUN/audit/card.json."""
    folder = card.absolute().parent
    complete = all((folder.parent / name).is_file() for name in (MODEL, RECIPE))
    return str(folder.parent) if folder.name.startswith("audit") and complete else None
