"""`hiresnn audit`: any network audited on a data set, its card and the adversarial images into a folder."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hiresnn import audit as auditing
from hiresnn import data
from hiresnn.audit import Audit, Audited, Bound, Card, Plan
from hiresnn.audit.bounds import of
from hiresnn.audit.card import Images, Setting, Subject
from hiresnn.data import DataSet
from hiresnn.errors import HiresnnError, RunError, UsageError
from hiresnn.network import SpikingNetwork
from hiresnn.neurons import LIF
from hiresnn.progress import Progress
from hiresnn.runs.atomic import utf8, write_atomically
from hiresnn.runs.compile_policy import COMPILING, is_fused, should_fuse
from hiresnn.runs.context import device_of
from hiresnn.runs.environment import environment
from hiresnn.runs.evaluate import check_fits
from hiresnn.runs.lock import locked
from hiresnn.runs.model_source import ModelSource, audit_folder, in_a_line, resolve_model
from hiresnn.runs.notebook import Notebook
from hiresnn.runs.recipe import digest

CARD = "card.json"
ADVERSARIAL = "adversarial.npz"
FORMAT = 1
"""Raised where pieces of an earlier version would not be what this one would find."""
LOOKED_AT = 16
"""Images that tell whether a network is random or rounds, and whether it is the one of an earlier call."""
PASSES = 500
"""Presentations an image that decide whether compiled neurons pay."""


@dataclass(frozen=True)
class Request:
    """What the user asked for; None is a default that the target or the preset gives.

    Attributes:
        target: as `runs.model_source.resolve_model` takes it. source: data set, needed unless the target is a run.
        images: how many of the test images. eps: the headline's bound. bounds: others of the curve.
        attacks: further attacks, without a bound. twins: targets whose networks make images for this one.
    """

    target: str
    preset: str = "quick"
    source: str | None = None
    images: int | None = None
    eps: str | None = None
    bounds: tuple[str, ...] = auditing.CURVE
    attacks: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()
    seed: int = 0
    batch_size: int = 200
    out: Path | None = None
    command: str = ""


def audit(request: Request, *, progress: Progress) -> tuple[Card, Path]:
    """Audit what `request` names; returns the card and the folder, RUN/audit or one in audits/ where none is named.

    The folder gets card.json; adversarial.npz (for every image that fell: its index among the audited images, the eps
    of the bound, what broke it as float32, and the clean image); and the pieces of work that let a later call go on.

    Raises:
        HiresnnError: whatever is wrong with target, data, options or folder, in one sentence.
    """
    waves = auditing.waves(request.preset)
    subject = resolve_model(request.target)
    recipe = subject.recipe
    source = request.source or (recipe.data.source if recipe else None)
    if source is None:
        raise UsageError(f"{request.target} does not say which images it is for; name them by --data, such as digits.")
    dataset = data.load(source)
    if isinstance(subject.model, nn.Module):
        check_fits(subject.model, dataset, request.target)
    count = request.images or auditing.IMAGES[request.preset]
    shown = data.in_turn(dataset.test, min(count, len(dataset.test)))
    device = device_of(recipe) if recipe else ("cuda" if torch.cuda.is_available() else "cpu")
    images, labels = shown.images.to(device).float() / 255, shown.labels.to(device)
    headline = auditing.bound(request.eps) if request.eps else of(recipe.attack.eps if recipe else 8 / 255)
    model = _audited(subject, images, device, recipe.compile if recipe else "auto")
    if isinstance(subject.model, SpikingNetwork) and is_fused(subject.model):
        progress.line(COMPILING)
    if model.classes != dataset.num_classes:
        raise UsageError(
            f"{request.target} tells {model.classes} classes apart, {dataset.name} has {dataset.num_classes}; name by "
            "--data the images that it was trained for."
        )
    plan = Plan(
        bounds=auditing.curve(request.bounds, headline),
        headline=headline,
        waves=waves,
        extra=request.attacks,
        twins=_twins(request, model, dataset, images, device),
        seed=request.seed,
        batch_size=request.batch_size,
        paper=_paper(subject, headline),
    )
    out = request.out or audit_folder(request.target, subject)
    for name in (subject.name, dataset.name, *dataset.class_names, *plan.twins, request.command):
        utf8(name, out / CARD)  # now, and not when all the work is done
    with locked(out, "audit folder"):
        notebook = Notebook(out / f"pieces-{_identity(subject, model, dataset, plan)}")
        for name, twin in plan.twins.items():
            _check_kept(notebook, name, twin)
        found = Audit(model, images, labels, plan, notebook, progress).run()
        card = auditing.assembled(
            found, plan, model, images, labels,
            subject=_subject(subject, model),
            data=Images(
                name=dataset.name, split="test", images=len(shown), classes=list(dataset.class_names),
                size=list(images.shape[1:]),
            ),
            setting=Setting(
                preset=request.preset, seed=plan.seed, bounds=[bound.label for bound in plan.bounds],
                headline=headline.label, batch_size=plan.batch_size, twins=list(plan.twins),
                attacks=list(plan.extra), command=request.command,
            ),
            environment=environment(),
        )  # fmt: skip
        write_atomically(out / ADVERSARIAL, _adversarial(found, images, labels))
        write_atomically(out / CARD, (card.model_dump_json(indent=2) + "\n").encode())
    return card, out


def _audited(subject: ModelSource, images: Tensor, device: str, wanted: str) -> Audited:
    model = subject.model
    if isinstance(model, nn.Module):
        model.to(device)
    try:
        audited = Audited(model, images[:LOOKED_AT])
    except HiresnnError:
        raise
    except Exception as error:  # the network is the user's
        shape = " x ".join(str(size) for size in images.shape[1:])
        raise UsageError(f"the network cannot take images of {shape}: {in_a_line(error)}") from error
    if isinstance(model, SpikingNetwork):  # from here on: its answers must not depend on how much is to be done
        model.fuse(should_fuse(wanted, model, images[:1], PASSES * len(images)))
    return audited


def _twins(request: Request, audited: Audited, dataset: DataSet, images: Tensor, device: str) -> dict[str, Audited]:
    found: dict[str, Audited] = {}
    for text in request.twins:
        twin = resolve_model(text)
        if isinstance(twin.model, nn.Module):
            check_fits(twin.model, dataset, f"the twin {text}")
        model = _audited(twin, images, device, "never")
        if model.classes != audited.classes:
            raise UsageError(
                f"the twin {text} tells {model.classes} classes apart, {request.target} {audited.classes}; name a twin "
                "for the same classes."
            )
        mark = model.fingerprint()
        if mark and mark in (audited.fingerprint(), *(other.fingerprint() for other in found.values())):
            raise UsageError(f"the twin {text} has the weights of the audited network or of another twin; name others.")
        found[f"{twin.name} ({(mark or 'no weights')[:6]})"] = model
    return found


def _paper(subject: ModelSource, headline: Bound) -> dict[str, Any]:
    """The paper's PGD at the headline: the recipe's, its step in proportion to the bound; else that of sec. 5.1."""
    if subject.recipe is None:
        return {"step": 0.01 * headline.radius / (8 / 255), "iterations": 7}
    setting = subject.recipe.attack
    step = setting.step * headline.radius / setting.eps if setting.eps else setting.step
    return {"step": step, "iterations": setting.iterations, "random_start": setting.random_start}


def _subject(subject: ModelSource, model: Audited) -> Subject:
    network = model.model
    neurons = getattr(network, "neurons", None)
    if isinstance(network, nn.Module) and neurons is None:
        neurons = sum(isinstance(module, LIF) for module in network.modules())
    return Subject(
        name=subject.name,
        kind=subject.kind,
        architecture=subject.architecture,
        library=subject.library,
        method=subject.recipe.method if subject.recipe else None,
        timesteps=getattr(network, "timesteps", None),
        neurons=neurons if isinstance(neurons, int | None) else len(neurons),
        random=model.random,
        draws=model.draws,
        rounds=model.rounds,
        fingerprint=model.fingerprint(),
    )


def _identity(subject: ModelSource, model: Audited, dataset: DataSet, plan: Plan) -> str:
    """Digest of what all pieces of an audit have in common; presets, extra attacks and twins are not part of it."""
    return digest(
        {
            "format": FORMAT,
            "weights": model.fingerprint(),
            "answers": model.answers,
            "source": subject.source,
            "data": dataset.digest,
            "seed": plan.seed,
            "batch": plan.batch_size,
            "headline": plan.headline.label,
            "paper": dict(plan.paper),
        }
    )


def _check_kept(notebook: Notebook, name: str, twin: Audited) -> None:
    """Raise RunError where the pieces are of another twin that was called the same."""
    answers = str(twin.answers)
    if str(notebook.setdefault(f"answers of {name}", {"answers": np.asarray(answers)})["answers"]) != answers:
        raise RunError(
            f"{notebook.folder} holds work with a twin {name} that answered otherwise; delete that folder, or choose "
            "another --out."
        )


def _adversarial(found: auditing.Findings, images: Tensor, labels: Tensor) -> bytes:
    index = sorted(found.adversarial)
    level = found.ledger.level
    buffer = io.BytesIO()
    shape = (0, *images.shape[1:])
    np.savez_compressed(
        buffer,
        index=np.asarray(index, np.int64),
        eps=np.asarray([found.ledger.bounds[int(level[image])].eps for image in index], np.float64),
        label=labels[index].cpu().numpy(),
        adversarial=np.stack([found.adversarial[image].numpy() for image in index]) if index else np.zeros(shape, "f4"),
        clean=images[index].cpu().numpy(),
    )
    return buffer.getvalue()
