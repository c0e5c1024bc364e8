"""The card of an audit, from its result: counts with their intervals, the conclusion and a few pictures."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from hiresnn.analysis import SpikingActivity
from hiresnn.attacks import frozen, seeded
from hiresnn.audit import card as parts
from hiresnn.audit.behaviour import OWN, seed_of
from hiresnn.audit.bounds import Bound
from hiresnn.audit.card import share
from hiresnn.audit.conclusion import Evidence, conclude
from hiresnn.audit.presets import PROTOCOL
from hiresnn.audit.rules import report
from hiresnn.audit.sweep import AuditResult
from hiresnn.errors import UsageError
from hiresnn.network import SpikingNetwork, record
from hiresnn.neurons import LIF
from hiresnn.version import __version__

PICTURES = 12


@dataclass(frozen=True)
class About:
    """What a card says of an audit beyond its result."""

    name: str = "network"
    kind: Literal["run", "file", "function"] = "function"
    architecture: str | None = None  # None: the class of the network
    library: str | None = None  # None: the package of that class
    method: str | None = None
    data: str = "images"
    split: str = "given"
    classes: Sequence[str] | None = None  # None: numbers
    target: str | None = None  # the network as the command line names it
    command: str = ""  # that repeats the audit; "": the call of `run_audit`
    repeat: str = ""  # the same without its preset
    environment: Mapping[str, Any] = field(default_factory=dict)
    identity: tuple[str, ...] = ()  # digests of code and data that name the audit in a cache; (): those of the images


def build_card(result: AuditResult, about: About, twins: Sequence[str] = ()) -> parts.Card:
    """The card of an audit with these twins; UsageError if its preset did not screen the network's own rule."""
    worst, config, cost = result.worst, result.config, result.cost
    reports = [report(rule, result.screened, result.without_gradient, result.screened_at) for rule in result.screened]
    own = next((report for report in reports if report.rule == OWN), None)
    if own is None:
        raise UsageError(f"a card needs the network's own rule; let the last stage of the preset screen {OWN!r}.")
    curve = {bound.label: _point(result, bound) for bound in config.curve}
    headline = curve[config.headline.label]
    classes = list(about.classes or map(str, range(result.model.classes)))
    with frozen(result.model):
        activity, gallery = _activity(result), _gallery(result, classes)
    checks = list(result.checks)
    if activity:
        silent = ", ".join(layer.name for layer in activity if not layer.clean)
        detail = f"no neuron of {silent} ever spikes" if silent else "every layer spikes"
        checks.append(parts.Check(name="spikes", result="failed" if silent else "passed", detail=detail))
    return parts.Card(
        hiresnn=__version__,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        subject=_subject(result, about),
        data=parts.Images(
            name=about.data,
            split=about.split,
            images=len(worst.by),
            classes=classes,
            size=list(result.images.shape[1:]),
        ),
        setting=parts.Setting(
            preset=config.plan.name,
            seed=config.seed,
            bounds=list(curve),
            headline=config.headline.label,
            batch_size=config.batch_size,
            twins=list(twins),
            attacks=list(config.attacks),
            command=about.command,
            target=about.target,
        ),
        environment=dict(about.environment),
        clean=share(worst.count(worst.bounds[0]), len(result.labels)),
        curve=list(curve.values()),
        unbroken=worst.standing(worst.bounds[-1]).tolist(),
        attacks=_rows(result),
        screening=parts.Screening(
            bound=result.screened_at.label,
            images=len(result.screened[0].fgsm),
            cells=_cells(result),
            rules=reports,
            selected=result.selected,
            dropped=result.dropped,
        ),
        checks=checks,
        conclusion=conclude(headline, own, Evidence.of(result), checks, preset=config.plan.name, command=about.repeat),
        activity=activity,
        gallery=gallery,
        budget=parts.Budget(forward=cost.forward, backward=cost.backward, seconds=cost.seconds),
    )


def _subject(result: AuditResult, about: About) -> parts.Subject:
    model, network = result.model, result.model.model
    neurons, timesteps = getattr(network, "neurons", None), getattr(network, "timesteps", None)
    if isinstance(network, nn.Module) and neurons is None:
        neurons = sum(isinstance(module, LIF) for module in network.modules())
    return parts.Subject(
        name=about.name,
        kind=about.kind,
        architecture=about.architecture or type(network).__name__,
        library=about.library or type(network).__module__.partition(".")[0],
        method=about.method,
        timesteps=timesteps if isinstance(timesteps, int) else None,
        neurons=len(neurons) if isinstance(neurons, Sized) else neurons if isinstance(neurons, int) else None,
        random=model.random,
        draws=model.draws,
        rounds=model.rounds,
        fingerprint=model.weights,
    )


def _point(result: AuditResult, bound: Bound) -> parts.Point:
    total, eps = len(result.labels), None if math.isinf(bound.eps) else bound.eps
    fgsm, pgd, noise = (share(int((~result.alone[text][bound.label]).sum()), total) for text in PROTOCOL)
    worst = share(result.worst.count(bound), total)
    return parts.Point(bound=bound.label, eps=eps, fgsm=fgsm, pgd=pgd, noise=noise, worst=worst)


def _rows(result: AuditResult) -> list[parts.AttackRow]:
    return [
        parts.AttackRow(
            label=label,
            attack=attack.spec.name if attack.twin is None else "transfer",
            rule=attack.rule,
            loss=attack.loss,
            shown=cost.attacked,
            broke=result.worst.broke(label),
            forward=cost.forward,
            backward=cost.backward,
            seconds=round(cost.seconds, 2),
        )
        for label, attack in result.attacks.items()
        if (cost := result.worst.costs[label]).attacked
    ]


def _cells(result: AuditResult) -> list[parts.Cell]:
    columns = {"FGSM": "fgsm", "PGD, cross-entropy": "entropy", "PGD, margin": "margin"}
    cells = [(name, rule.rule, getattr(rule, field)) for rule in result.screened for name, field in columns.items()]
    cells += [(name, "none", broken) for name, broken in result.without_gradient.items()]
    return [
        parts.Cell(attack=name, rule=rule, standing=share(len(broken) - int(broken.sum()), len(broken)))
        for name, rule, broken in cells
    ]


@torch.no_grad()
def _activity(result: AuditResult) -> list[parts.Layer] | None:
    """Activity on the images, and with those broken up to the headline replaced by their adversarial versions."""
    network, worst = result.model.model, result.worst
    if not isinstance(network, SpikingNetwork):
        return None
    adversarial, top = result.images.clone(), worst.bounds.index(result.config.headline)
    for image, version in worst.adversarial.items():
        if worst.level[image] <= top:
            adversarial[image] = version.to(adversarial)
    clean, attacked = (SpikingActivity(), SpikingActivity())
    for images, activity in ((result.images, clean), (adversarial, attacked)):
        with seeded(seed_of(result.config.seed, "activity")):
            for batch in torch.split(images, result.config.batch_size):
                with record(network) as spikes:
                    network(batch)
                activity.update(spikes)
    rates = attacked.compute()
    return [
        parts.Layer(name=name, neurons=layer.neurons, clean=layer.tasa, attacked=rates[name].tasa)
        for name, layer in clean.compute().items()
    ]


@torch.no_grad()
def _gallery(result: AuditResult, classes: Sequence[str]) -> list[parts.Picture]:
    worst, images = result.worst, result.images
    pictures = []
    levels = torch.where(worst.level < len(worst.bounds), worst.level, 0).tolist()
    for image in choose_pictures(levels, worst.bounds.index(result.config.headline), PICTURES):
        adversarial = worst.adversarial[image].to(images)
        difference, factor = amplified(images[image], adversarial)
        with result.model.measured(seed_of(result.config.seed, f"picture {image}")):
            logits = result.model(adversarial[None])
        answer = classes[int(logits.argmax(1))] if torch.isfinite(logits).all() else "nothing (logits not finite)"
        pictures.append(
            parts.Picture(
                index=image,
                label=classes[int(result.labels[image])],
                predicted=answer,
                bound=worst.bounds[levels[image]].label,
                attack=worst.by[image],
                amplified=round(factor, 2),
                clean=png(images[image]),
                adversarial=png(adversarial),
                difference=png(difference),
            )
        )
    return pictures


def png(image: Tensor) -> str:
    """An image [C, H, W], clipped to [0, 1], as an 8-bit PNG in base64: colour with three channels, else grey."""
    pixels = (image.detach().float().clamp(0, 1) * 255).round().to("cpu").numpy().astype(np.uint8)
    picture = Image.fromarray(pixels[0], "L") if len(pixels) != 3 else Image.fromarray(pixels.transpose(1, 2, 0), "RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def amplified(clean: Tensor, adversarial: Tensor) -> tuple[Tensor, float]:
    """(0.5 + factor * difference, factor); the factor makes the largest change fill the range from black to white."""
    difference = adversarial - clean
    largest = float(difference.abs().max())
    factor = 0.5 / largest if largest else 1.0
    return 0.5 + factor * difference, factor


def choose_pictures(levels: list[int], headline: int, count: int) -> list[int]:
    """At most `count` broken images, spread evenly from the smallest bound up to the headline, or over all bounds.

    `levels` are the positions of the smallest bound that broke each image, 0 for none; `headline` is that of its bound.
    """
    broken = [image for image, level in enumerate(levels) if 0 < level <= headline]
    broken = broken or [image for image, level in enumerate(levels) if level > 0]
    broken.sort(key=lambda image: (levels[image], image))
    if len(broken) <= count:
        return broken
    return [broken[index] for index in np.linspace(0, len(broken) - 1, count).round().astype(int)]
