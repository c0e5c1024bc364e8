"""The card of an audit, from its result: counts with their intervals, the conclusion and a few pictures."""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence, Sized
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
from hiresnn.audit.card import Evidence, conclude, share
from hiresnn.audit.presets import PROTOCOL
from hiresnn.audit.rules import report
from hiresnn.audit.sweep import AuditResult
from hiresnn.errors import UsageError
from hiresnn.network import SpikingNetwork, record
from hiresnn.neurons import LIF, RULES
from hiresnn.version import __version__

PICTURES = 12


def build_card(
    result: AuditResult, *, subject: parts.Subject, data: parts.Images, command: str, repeat: str,
    target: str | None = None, twins: Sequence[str] = (), environment: Mapping[str, Any],
) -> parts.Card:  # fmt: skip
    """The card of an audit.

    Args:
        subject, data, environment: what was audited, on what, and where.
        command: how to repeat this audit. repeat: the same without its preset, see `headline.conclude`.
        target: the network as the command line names it.

    Raises:
        UsageError: the preset did not screen the network's own rule.
    """
    worst, config, cost = result.worst, result.config, result.cost
    if OWN not in [each.rule for each in result.screened]:
        raise UsageError(f"a card needs the network's own rule; let the last stage of the preset screen {OWN!r}.")
    reports = [report(each, result.screened, result.without_gradient, result.screened_at) for each in result.screened]
    curve = {bound.label: _point(result, bound) for bound in config.curve}
    headline, own = curve[config.headline.label], next(each for each in reports if each.rule == OWN)
    with frozen(result.model):
        activity, gallery = _activity(result), _gallery(result, data.classes)
    checks = list(result.checks)
    if activity:
        silent = ", ".join(layer.name for layer in activity if not layer.clean)
        words = f"no neuron of {silent} ever spikes" if silent else "every layer spikes"
        checks.append(parts.Check(name="spikes", result="failed" if silent else "passed", detail=words))
    setting = parts.Setting(
        preset=config.plan.name, seed=config.seed, bounds=list(curve), headline=config.headline.label,
        batch_size=config.batch_size, twins=list(twins), attacks=list(config.attacks), command=command, target=target,
    )  # fmt: skip
    screening = parts.Screening(
        bound=result.screened_at.label, images=len(result.screened[0].fgsm), cells=_cells(result), rules=reports,
        selected=result.selected, dropped=result.dropped,
    )  # fmt: skip
    return parts.Card(
        hiresnn=__version__,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        subject=subject,
        data=data,
        setting=setting,
        environment=dict(environment),
        clean=share(worst.count(worst.bounds[0]), len(result.labels)),
        curve=list(curve.values()),
        unbroken=worst.standing(worst.bounds[-1]).tolist(),
        attacks=_rows(result),
        screening=screening,
        checks=checks,
        conclusion=conclude(headline, own, evidence_of(result), checks, preset=config.plan.name, command=repeat),
        activity=activity,
        gallery=gallery,
        budget=parts.Budget(forward=cost.forward, backward=cost.backward, seconds=cost.seconds),
    )


def subject_of(
    result: AuditResult, *, name: str, kind: Literal["run", "file", "function"] = "function",
    architecture: str | None = None, library: str, method: str | None = None,
) -> parts.Subject:  # fmt: skip
    """The description of the audited network; `architecture` defaults to the name of its class."""
    model, network = result.model, result.model.model
    neurons, timesteps = getattr(network, "neurons", None), getattr(network, "timesteps", None)
    if isinstance(network, nn.Module) and neurons is None:
        neurons = sum(isinstance(module, LIF) for module in network.modules())
    return parts.Subject(
        name=name, kind=kind, architecture=architecture or type(network).__name__, library=library, method=method,
        timesteps=timesteps if isinstance(timesteps, int) else None,
        neurons=len(neurons) if isinstance(neurons, Sized) else neurons if isinstance(neurons, int) else None,
        random=model.random, draws=model.draws, rounds=model.rounds, fingerprint=model.weights,
    )  # fmt: skip


def evidence_of(result: AuditResult) -> Evidence:
    """What the attacks on all images showed, as counts."""
    worst, headline = result.worst, result.config.headline
    gradient_left = sum(worst.count(bound, gradient=True) for bound in worst.bounds[1:])
    place = worst.bounds.index(headline)
    missed = ~result.alone["pgd"][headline.label] & (worst.level <= place)
    by = Counter(label for label, pgd_misses in zip(worst.by, missed.tolist(), strict=True) if label and pgd_misses)
    swept = [label for label, attack in result.attacks.items() if attack.follows_gradient and not attack.plain]
    zero = np.logical_and.reduce([each.zero for each in result.screened]) if result.screened else np.zeros(0, bool)
    return Evidence(
        gradient_left=gradient_left,
        without_gradient=gradient_left - sum(worst.count(bound) for bound in worst.bounds[1:]),
        unbroken=worst.count(worst.bounds[-1]) if math.isinf(worst.bounds[-1].eps) else None,
        correct=worst.count(worst.bounds[0]),
        found_by=next(iter(by.most_common(1)), ("", 0)),
        without=(int(zero.sum()), len(zero)),
        own_only=not any(result.model.takes(rule) for rule in RULES),
        last=(swept[-1], sum(worst.broke(swept[-1]).values())) if swept else ("", 0),
    )


def _point(result: AuditResult, bound: Bound) -> parts.Point:
    total, eps = len(result.labels), None if math.isinf(bound.eps) else bound.eps
    fgsm, pgd, noise = (share(int((~result.alone[text][bound.label]).sum()), total) for text in PROTOCOL)
    worst = share(result.worst.count(bound), total)
    return parts.Point(bound=bound.label, eps=eps, fgsm=fgsm, pgd=pgd, noise=noise, worst=worst)


def _rows(result: AuditResult) -> list[parts.AttackRow]:
    return [
        parts.AttackRow(
            label=label, attack=attack.spec.name if attack.twin is None else "transfer", rule=attack.rule,
            loss=attack.loss, shown=cost.attacked, broke=result.worst.broke(label), forward=cost.forward,
            backward=cost.backward, seconds=round(cost.seconds, 2),
        )
        for label, attack in result.attacks.items()
        if (cost := result.worst.costs[label]).attacked
    ]  # fmt: skip


def _cells(result: AuditResult) -> list[parts.Cell]:
    cells = [
        (name, each.rule, broken)
        for each in result.screened
        for name, broken in (("FGSM", each.fgsm), ("PGD, cross-entropy", each.entropy), ("PGD, margin", each.margin))
    ]
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
    measured = []
    for images in (result.images, adversarial):
        activity = SpikingActivity()
        with seeded(seed_of(result.config.seed, "activity")):
            for batch in torch.split(images, result.config.batch_size):
                with record(network) as spikes:
                    network(batch)
                activity.update(spikes)
        measured.append(activity.compute())
    clean, attacked = measured
    return [
        parts.Layer(name=name, neurons=layer.neurons, clean=layer.tasa, attacked=attacked[name].tasa)
        for name, layer in clean.items()
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
                index=image, label=classes[int(result.labels[image])], predicted=answer,
                bound=worst.bounds[levels[image]].label, attack=worst.by[image], amplified=round(factor, 2),
                clean=png(images[image]), adversarial=png(adversarial), difference=png(difference),
            )
        )  # fmt: skip
    return pictures


def png(image: Tensor) -> str:
    """Encode an image [C, H, W] in [0, 1] as an 8-bit PNG in base64; values outside [0, 1] are clipped.

    Three channels become a colour picture; otherwise the first channel becomes a grey one.
    """
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
    """At most `count` broken images, spread evenly from the smallest bound up to the headline.

    Args:
        levels: for each image the position of the smallest bound that broke it; 0 if it is misclassified or unbroken.
        headline: position of the headline bound; if nothing was broken up to it, any bound counts.
    """
    broken = [image for image, level in enumerate(levels) if 0 < level <= headline]
    broken = broken or [image for image, level in enumerate(levels) if level > 0]
    broken.sort(key=lambda image: (levels[image], image))
    if len(broken) <= count:
        return broken
    places = np.linspace(0, len(broken) - 1, count).round().astype(int)
    return [broken[place] for place in places]
