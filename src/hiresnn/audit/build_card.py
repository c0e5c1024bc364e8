"""The card of an audit: counts with their intervals, a few pictures, and the verdicts of docs/audit.md."""

from __future__ import annotations

import base64
import io
import math
import re
from collections import Counter
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
from hiresnn.audit.behaviour import OWN, ROUNDING, InstrumentedModel, outcome, seed_of
from hiresnn.audit.card import NO_DOUBT, OWN_ALONE, share, undecided
from hiresnn.audit.presets import PROTOCOL
from hiresnn.audit.sweep import WIDER, AuditResult, Broken, Record, longer_search
from hiresnn.calls import Bound
from hiresnn.errors import UsageError
from hiresnn.network import SpikingNetwork, record
from hiresnn.neurons import LIF, RULES
from hiresnn.version import __version__

PICTURES = 12
MOST_SEARCHED = 24  # further pictures, of images that only attacks without gradients broke
SPIKES = "spikes"  # name of the check that every layer spikes
SEARCHED = "{} of {} images that were broken at {} fell only to attacks without gradients"
WITHOUT_GRADIENT = "attacks without gradients broke {} of {} that all gradient attacks left"  # before version 0.3
MAY_LEAVE_LESS = "An attack that works may leave far less than {:.1f} %."
NO_ATTACK = "No attack could follow a gradient, so it may be right or far too high."
NO_GRADIENT = "no gradient rule has a gradient on {} of {} screened images"
GAP, GAP_IMAGES = 1.0, 5
"""Percentage points and images from which PGD counts as an overestimate; five against none pass the sign test."""
SOME = 0.05  # share of the images from which an effect counts in a question, or that may stand without any bound
MISSED = 0.10  # gradients fail if surely more than this share of the broken images falls only to attacks without them
MANY = 0.10  # share of the images from which an indicator counts
FAR = 0.25  # share of the images that another rule must break beyond the own rule for the own rule to count as masked
UNSTABLE = 0.5  # mean relative change of the loss from which its surface counts as jagged
FEWEST = 20  # screened images below which nothing can be concluded
HALF = 0.5  # share of the screened images without any gradient from which gradient attacks count as failed
UNFINISHED = 0.01  # share of the images that the last attack may still break for the search to count as finished
WIDE = 8.0  # width in percentage points from which an interval asks for more images
SEVERE = (parts.REPEATED, parts.BATCH, parts.CONSTANT, parts.WEIGHTS, parts.ANSWERS)
"""Checks (see `behaviour`) without which no accuracy of the network means anything."""
ENOUGH, MANY_IMAGES = 200, 1000  # images to audit next where too few agree
LARGER = {"quick": "standard", "standard": "thorough"}


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


def build_card(
    result: AuditResult, about: About, twins: Sequence[str] = (), corruptions: parts.Corruptions | None = None
) -> parts.Card:
    """The card of an audit with these twins; UsageError if its preset did not screen the network's own rule."""
    worst, config, cost = result.worst, result.config, result.cost
    evidence = result.screened, result.without_gradient, result.screened_at
    reports = {rule: report(rule, *evidence) for rule in result.screened}
    if OWN not in reports:
        raise UsageError(f"a card needs the network's own rule; let the last stage of the preset screen {OWN!r}.")
    curve, preset, total = {}, config.plan.name, len(result.labels)
    for bound in config.curve:
        alone = [share(total - int(result.alone[text][bound.label].sum()), total) for text in PROTOCOL]
        shares = dict(zip(("fgsm", "pgd", "noise"), alone, strict=True), worst=share(worst.count(bound), total))
        eps = None if math.isinf(bound.eps) else bound.eps
        shares["gradient"] = share(worst.count(bound, gradient=True), total)
        curve[bound.label] = parts.Point(bound=bound.label, eps=eps, **shares)
    headline, named = curve[config.headline.label], heading(result.model, about, result.images)
    with frozen(result.model):
        activity, gallery = _activity(result), _gallery(result, named["data"].classes)
    checks = list(result.checks)
    if activity:
        silent = ", ".join(layer.name for layer in activity if not layer.clean)
        checks.append(outcome(SPIKES, not silent, "every layer spikes", f"no neuron of {silent} ever spikes"))
    return parts.Card(
        **named,
        setting=parts.Setting(
            preset=preset,
            seed=config.seed,
            bounds=list(curve),
            headline=config.headline.label,
            batch_size=config.batch_size,
            twins=list(twins),
            attacks=list(config.attacks),
            command=about.command,
            target=about.target,
            norm=config.norm,
            replaced=config.replaced,
        ),
        clean=share(worst.count(worst.bounds[0]), total),
        curve=list(curve.values()),
        unbroken=worst.standing(worst.bounds[-1]).tolist(),
        searched=_searched(result),
        attacks=_rows(result),
        screening=parts.Screening(
            bound=result.screened_at.label,
            images=len(result.screened[OWN]["fgsm"]),
            cells=_cells(result),
            rules=list(reports.values()),
            selected=result.selected,
            dropped=result.dropped,
            refused=_refused(result) if named["subject"].neurons else {},
        ),
        checks=checks,
        conclusion=conclude(
            headline, reports[OWN], Evidence.of(result), checks, result.random, preset=preset, command=about.repeat
        ),
        activity=activity,
        gallery=gallery,
        budget=parts.Budget(
            forward=cost.forward,
            backward=cost.backward,
            seconds=cost.seconds,
            gradients_per_image=round(cost.backward / total, 1),
            seconds_per_image=round(cost.seconds / total, 4),
        ),
        longer=longer_search(result.searches),
        corruptions=corruptions,
        random=result.random,
    )


def heading(model: InstrumentedModel, about: About, images: Tensor) -> dict[str, Any]:
    """The fields with which the card of every audit begins: version, date, network, data and environment."""
    classes, size = list(about.classes or map(str, range(model.classes))), list(images.shape[1:])
    return {
        "hiresnn": __version__,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "subject": subject_of(model, about),
        "data": parts.Images(name=about.data, split=about.split, images=len(images), classes=classes, size=size),
        "environment": dict(about.environment),
    }


def subject_of(model: InstrumentedModel, about: About) -> parts.Subject:
    """What a card says of the network."""
    network = model.model
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


def _refused(result: AuditResult) -> dict[str, str]:
    """Why the network cannot take some of the rules that the preset screens."""
    rules = dict.fromkeys(rule for stage in result.config.plan.stages for rule in stage.rules)
    reasons = {rule: result.model.refusal(rule) for rule in rules if rule not in (OWN, ROUNDING)}
    return {rule: reason for rule, reason in reasons.items() if reason}


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


def _searched(result: AuditResult) -> list[int]:
    """The images that up to the headline broke at a smaller bound than gradient attacks reached."""
    worst, top = result.worst, result.worst.bounds.index(result.config.headline)
    return ((worst.level <= top) & (worst.level < worst.gradient_level)).nonzero()[:, 0].tolist()


def _cells(result: AuditResult) -> list[parts.Cell]:
    columns = {"FGSM": "fgsm", "PGD, cross-entropy": "entropy", "PGD, margin": "margin"}
    cells = [(name, rule, of[field]) for rule, of in result.screened.items() for name, field in columns.items()]
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
        with seeded(seed_of(result.config.seed, "activity")), record(network) as spikes:
            for batch in torch.split(images, result.config.batch_size):
                network(batch.clone())  # a network may write into its input
                activity.update(spikes)
        measured.append(activity.compute().items())
    return [
        parts.Layer(name=name, neurons=clean.neurons, clean=clean.tasa, attacked=attacked.tasa)
        for (name, clean), (_, attacked) in zip(*measured, strict=True)
    ]


@torch.no_grad()
def _gallery(result: AuditResult, classes: Sequence[str]) -> list[parts.Picture]:
    worst, images = result.worst, result.images
    pictures = []
    levels = torch.where(worst.level < len(worst.bounds), worst.level, 0).tolist()
    chosen, searched = choose_pictures(levels, worst.bounds.index(result.config.headline), PICTURES), _searched(result)
    for image in sorted({*chosen, *searched[:MOST_SEARCHED]}, key=lambda image: (levels[image], image)):
        adversarial = worst.adversarial[image].to(images)
        difference = adversarial - images[image]
        # The largest change fills the range from black to white.
        largest = float(difference.abs().max())
        factor = 0.5 / largest if largest else 1.0
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
                searched=image in searched,
                clean=png(images[image]),
                adversarial=png(adversarial),
                difference=png(0.5 + factor * difference),
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


def severe_faults(checks: Sequence[parts.Check]) -> list[str]:
    """What the failed checks say without which no accuracy means anything."""
    return [check.detail for check in checks if check.result == "failed" and check.name in SEVERE]


def overestimates(plain: parts.Share, worst: parts.Share) -> bool:
    """Whether a plain attack leaves so much more than the worst case that its number is an overestimate."""
    gap = plain.count - worst.count
    return gap >= GAP_IMAGES and 100 * gap >= GAP * worst.of


@dataclass(frozen=True)
class Evidence:
    """What the attacks on all images showed, as counts."""

    gradient_left: int  # images that all gradient attacks left at the headline
    without_gradient: int  # how many of those attacks without gradients broke
    unbroken: int  # correct images that stand without any bound; 0 if the audit did not attack without one
    correct: int  # correctly classified images
    found_by: tuple[str, int] = ("", 0)  # the attack that broke most images that PGD left at the headline
    last: tuple[str, int] = ("", 0)  # the last gradient attack of the search, and how many images it broke first
    without: tuple[int, int] = (0, 0)  # screened images whose gradient is zero under every rule, and all screened
    own_only: bool = False  # the network takes no gradient rule but its own
    old: bool = False  # of a card before 0.3: the first two count image-bound pairs over all bounds

    @classmethod
    def of(cls, result: AuditResult) -> Evidence:
        worst, headline = result.worst, result.config.headline
        gradient_left = worst.count(headline, gradient=True)
        missed = ~result.alone["pgd"][headline.label] & (worst.level <= worst.bounds.index(headline))
        by = Counter(label for label, pgd_misses in zip(worst.by, missed.tolist(), strict=True) if label and pgd_misses)
        swept = [label for label, attack in result.attacks.items() if attack.follows_gradient and not attack.plain]
        zero = np.logical_and.reduce([screening["zero"] for screening in result.screened.values()])
        return cls(
            gradient_left=gradient_left,
            without_gradient=gradient_left - worst.count(headline),
            unbroken=worst.count(worst.bounds[-1]) if math.isinf(worst.bounds[-1].eps) else 0,
            correct=worst.count(worst.bounds[0]),
            found_by=next(iter(by.most_common(1)), ("", 0)),
            without=(int(zero.sum()), len(zero)),
            own_only=not any(result.model.takes(rule) for rule in RULES),
            last=(swept[-1], sum(worst.broke(swept[-1]).values())) if swept else ("", 0),
        )

    @classmethod
    def stated(cls, card: parts.Card) -> Evidence:
        """What a card holds of it: its counts, and the two failures that only its reasons tell."""

        def numbers(text: str) -> tuple[int, int]:
            match = re.search(re.escape(text).replace(r"\{\}", r"(\d+)"), "\n".join(card.conclusion.reasons))
            return (int(match[1]), int(match[2])) if match else (0, 0)

        broken, left = numbers(WITHOUT_GRADIENT)
        point = card.at(card.setting.headline)
        if point.gradient is not None:
            broken, left = max(point.gradient.count - point.worst.count, 0), point.gradient.count
        return cls(
            old=point.gradient is None,
            gradient_left=left,
            without_gradient=broken,
            unbroken=card.curve[-1].worst.count if card.curve[-1].eps is None else 0,
            correct=card.clean.count,
            without=numbers(NO_GRADIENT),
            own_only=card.conclusion.own_alone,
        )


def surely(count: int, of: int, limit: float) -> bool:
    """Whether `count` of `of` is more than the share `limit` beyond chance: the exact 95 % interval lies above it.

    Of few images Wilson's interval, which the card writes, is narrower than 95 %.

    >>> surely(4, 13, 0.1), surely(11, 50, 0.1), surely(0, 0, 0.1)
    (False, True, False)
    """
    from scipy.stats import binomtest  # here, because its import takes longer than most commands

    return 0 < count <= of and bool(binomtest(count, of).proportion_ci(0.95, method="exact").low > limit)


def _failures(point: parts.Point, evidence: Evidence) -> tuple[str, str, str]:
    """What shows that the attacks fail, else "": searches that find more, images that stand, no gradient."""
    missed, stand, none = evidence.without_gradient, evidence.unbroken, evidence.without
    broken = evidence.correct - point.worst.count
    texts = [
        SEARCHED.format(missed, broken, point.bound),
        f"{stand} of {evidence.correct} correct images stand without any bound",
        NO_GRADIENT.format(*none),
    ]
    shown = [surely(missed, broken, MISSED), surely(stand, evidence.correct, SOME), surely(*none, HALF)]
    if evidence.old:
        texts[0] = WITHOUT_GRADIENT.format(missed, evidence.gradient_left)
        shown[0] = missed > max(SOME * evidence.gradient_left, 1)
        shown[1:] = stand > SOME * evidence.correct, none[0] > HALF * none[1]
    first, second, third = (text if fails else "" for text, fails in zip(texts, shown, strict=True))
    return first, second, third


def conclude(
    point: parts.Point,
    own: parts.RuleReport,
    evidence: Evidence,
    checks: Sequence[parts.Check],
    random: parts.Randomness | None = None,
    *,
    preset: str,
    command: str,
) -> parts.Conclusion:
    """The conclusion of an audit, with `own` on its own gradient rule, that `command` repeats without its preset.

    For a `random` network the number to report is the majority vote: the curve has the worst of many draws.
    """
    pgd, worst = point.pgd, random.attacked.vote if random else point.worst
    searched, staying, blind = _failures(point, evidence)
    failures = [*filter(None, (searched, staying, blind))]
    failed = [check for check in checks if check.result == "failed"]
    severe = severe_faults(checks)
    interval = f"{worst.percent:.1f} % ({worst.low:.1f}-{worst.high:.1f})"
    interval += f" by majority vote ({random.attacked.mean:.1f} % of single draws)" if random else ""
    verdict: parts.Verdict = "unreliable"
    if severe:
        headline = f"Report no number at {point.bound}: {severe[0]}."
    elif failures:
        headline = f"Report no number at {point.bound}, in particular not {pgd.percent:.1f} %: {failures[0]}. " + (
            MAY_LEAVE_LESS.format(worst.percent) if searched or staying or evidence.old else NO_ATTACK
        )
    elif overestimates(pgd, worst):
        verdict, headline = "overestimated", f"Report at most {interval}, not {pgd.percent:.1f} %, at {point.bound}."
    else:
        headline = f"Report at most {interval} at {point.bound}; the paper's PGD says {pgd.percent:.1f} %."
        verdict = "agrees"
    alone = evidence.own_only and not severe and not failures
    headline += f" {OWN_ALONE}" if alone else ""

    reasons = [*severe]
    if evidence.own_only:
        advice = "if it spikes, the number may be far too high: docs/papers.md says how the audit finds its neurons"
        reasons.append(f"no gradient rule could be tried on this network; {advice}")
    label, count = evidence.found_by
    missed = pgd.count - point.worst.count
    if missed > 0 and count:
        several = f"the paper's PGD misses {missed} of the broken images; {count} of these fell to {label}"
        reasons.append(several if missed > 1 else f"the paper's PGD misses one broken image, which fell to {label}")
    if own.verdict != "consistent":
        reasons += [f"own gradient, {own.verdict}: {reason}" for reason in own.reasons]
    reasons += [f"this audit: {failure}" for failure in failures]
    if evidence.without_gradient and not searched and not evidence.old:
        broken = evidence.correct - point.worst.count
        reasons.append(SEARCHED.format(evidence.without_gradient, broken, point.bound) + "; the number counts them")
    reasons += [check.detail for check in failed if check.name not in SEVERE]
    unfinished = evidence.last[1] > max(UNFINISHED * worst.of, 1)
    if unfinished:
        last, broke = evidence.last
        reasons.append(f"more images may break, because the last attack still broke {broke}: {last}")
    if random and random.needed is None:
        reasons.append(random.draws)
    larger = LARGER.get(preset)
    if severe and all(check.name == parts.CONSTANT for check in failed if check.name in SEVERE):
        step = "Check that the weights are loaded, and that neurons spike (hiresnn.analysis.spike_rates); then repeat."
    elif severe:
        source = "the images alone, or on torch's global random generator"
        step = f"Make the network's answers depend on {source}; then repeat."
    elif blind or (evidence.own_only and failures):
        step = "Give the attacks a gradient, by neurons that the audit finds (docs/papers.md) or a twin (--twin)."
    elif verdict == "agrees" and undecided(pgd, worst):
        more = ENOUGH if pgd.of < ENOUGH else MANY_IMAGES
        same = f"{command} --preset {preset} --images {more}"
        step = same if command.startswith("hiresnn audit") else f"Repeat the audit with at least {more} images."
    elif larger and (unfinished or worst.high - worst.low > WIDE or failures or preset == "quick"):
        step = command + (f" --preset {larger}" if command.startswith("hiresnn audit") else f", preset={larger!r})")
    elif unfinished or failures:
        step = "Add an attack that is made for this network (--attack, docs/attacks.md)."
    else:
        step = "Publish card.json and adversarial.npz with the number, so that others can check it."
    if alone:
        step = f"If the network spikes, follow docs/papers.md and repeat the audit. If it does not: {step}"
    reasons = reasons or [NO_DOUBT]
    return parts.Conclusion(verdict=verdict, headline=headline, reasons=reasons, next_step=step, own=own.verdict)


def broken_by(screening: Record) -> Broken:
    """Which images PGD broke on either loss."""
    return screening["entropy"] | screening["margin"]


def _only(one: Broken, other: Broken) -> tuple[int, int]:
    return int((one & ~other).sum()), int((other & ~one).sum())


def questions(screening: Record, without_gradient: Mapping[str, Broken], bound: Bound) -> list[parts.Question]:
    """The five questions of Athalye et al. 2018 for one rule, screened at `bound`."""
    pgd, count = broken_by(screening), len(screening["fgsm"])
    single = _only(screening["fgsm"], pgd)
    boxes = {name: _only(broken, pgd) for name, broken in without_gradient.items()}
    best = max(boxes, key=lambda name: boxes[name][0] - boxes[name][1], default="")
    black = boxes.get(best, (0, 0))
    without = "no attack without gradients was run"
    black_box = f"only {best} breaks {black[0]}, only PGD {black[1]} of {count} images" if boxes else without
    here, there = int(screening["margin"].sum()), int(screening["wider"].sum())
    left = int((~screening["unbounded"]).sum())
    bounded = bound.norm == "l2" or bound.radius < 1
    fails = bounded and here < (1 - SOME) * count and there < here + SOME * count
    wider = f"{WIDER} times {bound.label}" if bounded else "any bound, which is no larger"
    larger = f"PGD on the margin breaks {here} of {count} images at {bound.label}, {there} at {wider}"
    noise = [broken for name, broken in without_gradient.items() if name.startswith("noise")]
    lucky = _only(np.logical_or.reduce(noise), pgd)[0] if noise else 0
    one_step = f"only one step breaks {single[0]}, only PGD on either loss {single[1]} of {count} images"
    unbounded = f"{left} of {count} images stand without a bound"
    random = f"noise breaks {lucky} of {count} images that PGD leaves"
    answers = [
        ("Is one step better than iterating?", significantly_more(*single), one_step),
        ("Is a black box better than the white box?", significantly_more(*black), black_box),
        ("Does a larger bound fail to help?", fails, larger),
        ("Does the unbounded attack stay below 100 %?", left > SOME * count, unbounded),
        ("Does random sampling find what gradients do not?", lucky > max(SOME * count, 1), random),
    ]
    return [parts.Question(name=name, yes=yes, evidence=evidence) for name, yes, evidence in answers]


def report(
    rule: str, screened: Mapping[str, Record], without_gradient: Mapping[str, Broken], bound: Bound
) -> parts.RuleReport:
    """Indicators, questions and verdict of one of the `screened` rules."""
    screening = screened[rule]
    asked, pgd = questions(screening, without_gradient, bound), broken_by(screening)
    shares = {name: float(screening[name].mean()) for name in ("zero", "zero_pixels", "silent", "rising")}
    percent = {name: f"{100 * share:.0f} %" for name, share in shares.items()}
    unstable = float(screening["unstable"].mean())
    masked = [f"{question.name} Yes: {question.evidence}" for question in asked if question.yes]
    if shares["zero"] > MANY:
        masked.append(f"{percent['zero']} of the images have a gradient of exactly zero")
    best, best_pgd = max(((name, broken_by(other)) for name, other in screened.items()), key=lambda pair: pair[1].sum())
    comparison = f"the rule {best} breaks {best_pgd.sum()} of {len(pgd)} images, this rule {pgd.sum()}"
    more, fewer = _only(best_pgd, pgd)
    advantage = (more - fewer) / len(pgd) if significantly_more(more, fewer) else 0.0
    if advantage >= FAR and rule == OWN:  # for an attacker's rule it only means that the rule is weak
        masked.append(comparison)
    signs = {
        comparison: advantage >= MANY and comparison not in masked,
        f"{percent['zero_pixels']} of the pixels have a gradient of exactly zero": shares["zero_pixels"] > MANY,
        f"PGD passes a success that its last iterate misses on {percent['silent']} of images": shares["silent"] > MANY,
        f"the loss was still rising when PGD ended on {percent['rising']} of the images": shares["rising"] > MANY,
        f"the loss changes by {100 * unstable:.0f} % in random directions": unstable > UNSTABLE,
        f"only {len(pgd)} images were screened": len(pgd) < FEWEST,
    }
    doubts = [reason for reason, holds in signs.items() if holds]
    verdict: parts.GradientVerdict = "masked gradients likely" if masked else "inconclusive" if doubts else "consistent"
    return parts.RuleReport(
        rule=rule,
        zero_gradients=shares.pop("zero"),
        unstable=unstable,
        unbounded=float((~screening["unbounded"]).mean()),
        questions=asked,
        verdict=verdict,
        reasons=masked + doubts,
        **shares,
    )


def significantly_more(more: int, fewer: int) -> bool:
    """Whether A breaks more than B beyond chance, where only A breaks `more` images and only B breaks `fewer`.

    The exact one-sided sign test at the 5 % level; five images against none are enough.

    >>> significantly_more(4, 0), significantly_more(5, 0), significantly_more(12, 8)
    (False, True, False)
    """
    from scipy.stats import binomtest  # here, because its import takes longer than most commands

    return more > fewer and bool(binomtest(more, more + fewer, alternative="greater").pvalue < 0.05)
