"""The card of an audit, from its result: counts with their intervals, the conclusion and a few pictures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Literal

import torch
from torch import Tensor, nn

from hiresnn import __version__
from hiresnn.analysis import SpikingActivity
from hiresnn.attacks import frozen
from hiresnn.audit import card as parts
from hiresnn.audit.bounds import Bound
from hiresnn.audit.config import AuditResult
from hiresnn.audit.gallery import amplified, choose_pictures, png
from hiresnn.audit.headline import Evidence, conclude
from hiresnn.audit.instrumented import OWN, seed_of
from hiresnn.audit.intervals import share
from hiresnn.audit.presets import PROTOCOL
from hiresnn.audit.verdict import report
from hiresnn.network import SpikingNetwork, record
from hiresnn.neurons import LIF

PICTURES = 12


def build_card(
    result: AuditResult,
    *,
    subject: parts.Subject,
    data: parts.Images,
    command: str,
    repeat: str,
    target: str | None = None,
    twins: Sequence[str] = (),
    environment: Mapping[str, Any],
) -> parts.Card:
    """The card of an audit.

    Args:
        subject, data, environment: what was audited, on what, and where.
        command: how to repeat this audit. repeat: the same without its preset, see `headline.conclude`.
        target: the network as the command line names it.
    """
    worst, config = result.worst, result.config
    reports = [report(each, result.screened, result.without_gradient, result.screened_at) for each in result.screened]
    curve = {bound.label: _point(result, bound) for bound in config.curve}
    headline, own = curve[config.headline.label], next(report for report in reports if report.rule == OWN)
    with frozen(result.model):
        activity, gallery = _activity(result), _gallery(result, data.classes)
    checks = [*result.checks, *_spike_check(activity)]
    return parts.Card(
        hiresnn=__version__,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        subject=subject,
        data=data,
        setting=parts.Setting(
            preset=config.plan.name,
            seed=config.seed,
            bounds=[bound.label for bound in config.curve],
            headline=config.headline.label,
            batch_size=config.batch_size,
            twins=list(twins),
            attacks=list(config.attacks),
            command=command,
            target=target,
        ),
        environment=dict(environment),
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
        conclusion=conclude(headline, own, evidence_of(result), checks, preset=config.plan.name, command=repeat),
        activity=activity,
        gallery=gallery,
        budget=parts.Budget(forward=result.cost.forward, backward=result.cost.backward, seconds=result.cost.seconds),
    )


def _spike_check(activity: list[parts.Layer] | None) -> list[parts.Check]:
    """Whether every layer spikes on clean images; no check for neurons of another library."""
    silent = [layer.name for layer in activity or [] if not layer.clean]
    words = f"no neuron of {', '.join(silent)} ever spikes" if silent else "every layer spikes"
    return [parts.Check(name="spikes", result="failed" if silent else "passed", detail=words)] if activity else []


def subject_of(
    result: AuditResult,
    *,
    name: str,
    kind: Literal["run", "file", "function"] = "function",
    architecture: str | None = None,
    library: str,
    method: str | None = None,
) -> parts.Subject:
    """The description of the audited network; `architecture` defaults to the name of its class."""
    model = result.model
    network = model.model
    neurons = getattr(network, "neurons", None)
    if isinstance(network, nn.Module) and neurons is None:
        neurons = sum(isinstance(module, LIF) for module in network.modules())
    timesteps = getattr(network, "timesteps", None)
    return parts.Subject(
        name=name,
        kind=kind,
        architecture=architecture or type(network).__name__,
        library=library,
        method=method,
        timesteps=timesteps if isinstance(timesteps, int) else None,
        neurons=neurons if isinstance(neurons, int | None) else len(neurons),
        random=model.random,
        draws=model.draws,
        rounds=model.rounds,
        fingerprint=model.weights,
    )


def evidence_of(result: AuditResult) -> Evidence:
    """What the attacks on all images showed, as counts."""
    worst, headline = result.worst, result.config.headline
    finite = [bound for bound in worst.bounds[1:] if not math.isinf(bound.eps)]
    gradient_left = sum(worst.count(bound, gradient=True) for bound in finite)
    left = sum(worst.count(bound) for bound in finite)
    unbounded = worst.bounds[-1] if math.isinf(worst.bounds[-1].eps) else None
    place = worst.bounds.index(headline)
    missed = ~result.alone["pgd"][headline.label]
    by = Counter(
        label
        for label, level, pgd_misses in zip(worst.by, worst.level.tolist(), missed.tolist(), strict=True)
        if label and level <= place and pgd_misses
    )
    gradient = [label for label, attack in result.attacks.items() if attack.follows_gradient]
    last = gradient[-1]
    return Evidence(
        gradient_left=gradient_left,
        without_gradient=gradient_left - left,
        unbroken=worst.count(unbounded) if unbounded else 0,
        correct=worst.count(worst.bounds[0]),
        found_by=next(iter(by.most_common(1)), ("", 0)),
        last=(last, sum(worst.broke(last).values()) if len(gradient) > 2 else 0),
    )


def _point(result: AuditResult, bound: Bound) -> parts.Point:
    total = len(result.labels)
    fgsm, pgd, noise = (share(int((~result.alone[text][bound.label]).sum()), total) for text in PROTOCOL)
    return parts.Point(
        bound=bound.label,
        eps=None if math.isinf(bound.eps) else bound.eps,
        fgsm=fgsm,
        pgd=pgd,
        noise=noise,
        worst=share(result.worst.count(bound), total),
    )


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


def _attacked(result: AuditResult) -> Tensor:
    """The images, those broken up to the headline bound replaced by their adversarial versions."""
    attacked, top = result.images.clone(), result.worst.bounds.index(result.config.headline)
    for image, adversarial in result.worst.adversarial.items():
        if result.worst.level[image] <= top:
            attacked[image] = adversarial.to(attacked)
    return attacked


@torch.no_grad()
def _activity(result: AuditResult) -> list[parts.Layer] | None:
    network = result.model.model
    if not isinstance(network, SpikingNetwork):
        return None
    measured = []
    for images in (result.images, _attacked(result)):
        activity = SpikingActivity()
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
                index=image,
                label=classes[int(result.labels[image])],
                predicted=answer,
                bound=worst.bounds[int(worst.level[image])].label,
                attack=worst.by[image],
                amplified=round(factor, 2),
                clean=png(images[image]),
                adversarial=png(adversarial),
                difference=png(difference),
            )
        )
    return pictures
