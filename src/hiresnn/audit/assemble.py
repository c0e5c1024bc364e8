"""From findings to a card: counts with their intervals, questions answered, pictures chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import torch
from torch import Tensor

from hiresnn import __version__
from hiresnn.analysis import SpikingActivity
from hiresnn.audit import verdict
from hiresnn.audit.bounds import Bound
from hiresnn.audit.card import (
    AttackRow,
    Budget,
    Card,
    Cell,
    Conclusion,
    Images,
    Layer,
    Picture,
    Point,
    Scouting,
    Setting,
    Subject,
)
from hiresnn.audit.gallery import amplified, chosen, png
from hiresnn.audit.intervals import share
from hiresnn.audit.plan import Findings, Plan
from hiresnn.audit.presets import PROTOCOL
from hiresnn.audit.subject import OWN, Audited, seed_of
from hiresnn.network import SpikingNetwork, record

PICTURES = 12


def assembled(
    found: Findings,
    plan: Plan,
    model: Audited,
    images: Tensor,
    labels: Tensor,
    *,
    subject: Subject,
    data: Images,
    setting: Setting,
    environment: Mapping[str, Any],
) -> Card:
    """The card of an audit. `subject`, `data`, `setting` and `environment` say where it took place."""
    ledger, last = found.ledger, found.ledger.bounds[-1]
    reports = [verdict.report(each, found.scouted, found.blind, found.scouted_at) for each in found.scouted]
    return Card(
        hiresnn=__version__,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        subject=subject,
        data=data,
        setting=setting,
        environment=dict(environment),
        clean=share(ledger.count(ledger.bounds[0]), len(labels)),
        curve=[_point(found, bound) for bound in ledger.bounds],
        unbroken=ledger.standing(last).tolist(),
        attacks=_rows(found),
        scouting=Scouting(
            bound=found.scouted_at.label,
            images=len(found.scouted[0].fgsm) if found.scouted else 0,
            cells=_cells(found),
            rules=reports,
            kept=found.kept,
            dropped=found.dropped,
        ),
        conclusion=_conclusion(found, plan, reports),
        activity=_activity(found, plan, model, images),
        gallery=_gallery(found, plan, model, images, labels, data.classes),
        budget=Budget(**vars(found.spent)),
    )


def _point(found: Findings, bound: Bound) -> Point:
    total = len(found.ledger.level)
    fgsm, pgd, noise = (share(int((~found.alone[text][bound.label]).sum()), total) for text in PROTOCOL)
    return Point(
        bound=bound.label,
        eps=None if math.isinf(bound.eps) else bound.eps,
        fgsm=fgsm,
        pgd=pgd,
        noise=noise,
        worst=share(found.ledger.count(bound), total),
    )


def _rows(found: Findings) -> list[AttackRow]:
    return [
        AttackRow(
            label=label,
            attack=made.spec.name if made.twin is None else "transfer",
            rule=made.rule,
            loss=made.loss,
            shown=entry.shown,
            broke=found.ledger.broke(label),
            forward=entry.forward,
            backward=entry.backward,
            seconds=round(entry.seconds, 2),
        )
        for label, made in found.trials.items()
        if (entry := found.ledger.entries[label]).shown
    ]


def _cells(found: Findings) -> list[Cell]:
    cells = []
    for each in found.scouted:
        count = len(each.fgsm)
        broken = {"FGSM": each.fgsm, "PGD, cross-entropy": each.entropy, "PGD, margin": each.margin}
        cells += [
            Cell(attack=name, rule=each.rule, standing=share(count - int(done.sum()), count))
            for name, done in broken.items()
        ]
    cells += [
        Cell(attack=name, rule="none", standing=share(len(done) - int(done.sum()), len(done)))
        for name, done in found.blind.items()
    ]
    return cells


def _conclusion(found: Findings, plan: Plan, reports: Sequence[Any]) -> Conclusion:
    ledger, headline = found.ledger, plan.headline
    own = next(report for report in reports if report.rule == OWN)
    best = next(report for report in reports if report.rule == found.kept[0])
    blind = [made.label for made in found.trials.values() if made.rule is None and made.spec.name != "noise"]
    after = [ledger.entries[label] for label in blind]  # Square and twins come when the gradients are done
    audit, audit_reasons = verdict.of_audit(
        sum(entry.shown for entry in after),
        sum(sum(ledger.broke(entry.label).values()) for entry in after),
        ledger.count(ledger.bounds[-1]) if math.isinf(ledger.bounds[-1].eps) else 0,
        ledger.count(ledger.bounds[0]),
        best.rising,
    )
    total = len(ledger.level)
    said = 100 * int((~found.alone["pgd"][headline.label]).sum()) / total
    left = 100 * ledger.count(headline) / total
    sentence = (
        f"At {headline.label} the paper's PGD with the network's own gradient leaves {said:.1f} % right; "
        f"the worst case over all attacks leaves {left:.1f} %. "
    )
    sentence += {
        "consistent": "Nothing found here speaks against the network's own gradient.",
        "inconclusive": "The network's own gradient is not clearly wrong, and not clearly right.",
        "masked gradients likely": "The network's own gradient hides what breaks it; do not go by it.",
    }[own.verdict]
    return Conclusion(
        own=own.verdict, own_reasons=own.reasons, audit=audit, audit_reasons=audit_reasons, sentence=sentence
    )


def _attacked(found: Findings, plan: Plan, images: Tensor) -> Tensor:
    """The images, those that fell up to the headline's bound replaced by what broke them."""
    attacked, top = images.clone(), found.ledger.bounds.index(plan.headline)
    for image, adversarial in found.adversarial.items():
        if found.ledger.level[image] <= top:
            attacked[image] = adversarial.to(attacked)
    return attacked


@torch.no_grad()
def _activity(found: Findings, plan: Plan, model: Audited, images: Tensor) -> list[Layer] | None:
    network = model.model
    if not isinstance(network, SpikingNetwork):
        return None
    measured = []
    for shown in (images, _attacked(found, plan, images)):
        activity = SpikingActivity()
        for batch in torch.split(shown, plan.batch_size):
            with record(network) as spikes:
                network(batch)
            activity.update(spikes)
        measured.append(activity.compute())
    clean, attacked = measured
    return [
        Layer(name=name, neurons=layer.neurons, clean=layer.tasa, attacked=attacked[name].tasa)
        for name, layer in clean.items()
    ]


@torch.no_grad()
def _gallery(
    found: Findings, plan: Plan, model: Audited, images: Tensor, labels: Tensor, classes: Sequence[str]
) -> list[Picture]:
    ledger = found.ledger
    pictures = []
    fell = torch.where(ledger.level < len(ledger.bounds), ledger.level, 0)
    for image in chosen(fell.tolist(), ledger.bounds.index(plan.headline), PICTURES):
        adversarial = found.adversarial[image].to(images)
        difference, factor = amplified(images[image], adversarial)
        with model.measured(seed_of(plan.seed, f"picture {image}")):
            answer = int(model(adversarial[None]).argmax(1))
        pictures.append(
            Picture(
                index=image,
                label=classes[int(labels[image])],
                predicted=classes[answer],
                bound=ledger.bounds[int(ledger.level[image])].label,
                attack=ledger.by[image],
                amplified=round(factor, 2),
                clean=png(images[image]),
                adversarial=png(adversarial),
                difference=png(difference),
            )
        )
    return pictures
