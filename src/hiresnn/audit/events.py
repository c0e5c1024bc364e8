"""The audit on event grids: the smallest budget of every sample over all attacks and gradient rules, from one run.

Accuracy at a budget k is the share of samples whose smallest budget is larger, so one run gives the whole curve. The
card is events.json; events.npz holds the broken samples with their adversarial grids.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from hiresnn.attacks import EventAttackSpec, Model, frozen, loss_gradient, parse_threat, recount, with_gradients
from hiresnn.attacks.events import Retiming, Threat, require_grids
from hiresnn.attacks.losses import margin
from hiresnn.audit import build_card
from hiresnn.audit import card as parts
from hiresnn.audit.behaviour import OWN, ROUNDING, Cost, InstrumentedModel, seed_of, weights_of
from hiresnn.audit.card import share
from hiresnn.audit.run import ArrayCache, Verification, packed, read_archive
from hiresnn.audit.sweep import Record, Units, cost_of, unit
from hiresnn.checks import correct, fingerprint
from hiresnn.errors import AttackError, UsageError
from hiresnn.files import write_atomically
from hiresnn.progress import Progress

CARD, ARCHIVE = "events.json", "events.npz"
FIELDS = {"index": "i", "budget": "i", "label": "i", "adversarial": "u", "clean": "u"}
"""Array of the archive -> its kind of number, one row per broken sample; grids [N, T, P, H, W] are counts, 0 to 255."""
LADDER = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
"""Budgets of the table; the card has the smallest budget of every sample, and so the whole curve."""
RULES = (ROUNDING, "arctan", "straight-through", "bptr", "conversion", "assg")
RANDOM, BASE = "random(draws=3)", "topk"
PICTURES = 6


@dataclass(frozen=True)
class Preset:
    """Images, how many rules the guided attacks use, their options, and on how many samples the search runs."""

    images: int
    rules: int
    targets: int
    searched: int


PRESETS = {"quick": Preset(100, 2, 1, 10), "standard": Preset(500, 4, 3, 50), "thorough": Preset(1000, 7, 9, 200)}


@dataclass(frozen=True)
class EventConfig:
    """The settings of an audit on events; a value that cannot be used raises UsageError.

    Attributes:
        threat: text of the threat model, see `parse_threat`. grid: "binary" or "integer", unless `threat` says it.
        headline: the budget at which the headline reports accuracy. budget: the largest that attacks try.
        attacks: in addition to those of the preset, such as "guided(targets=9, rule=erfc)".
    """

    threat: str = "flips"
    grid: Literal["binary", "integer"] = "binary"
    preset: str = "quick"
    headline: int = 10
    budget: int = 1000
    attacks: tuple[str, ...] = ()
    seed: int = 0
    batch_size: int = 50

    def __post_init__(self) -> None:
        parse_threat(self.threat, self.grid)
        if self.preset not in PRESETS or not 0 < self.headline <= self.budget:
            raise UsageError(
                f"the audit on events has the presets {', '.join(PRESETS)} and a headline from 1 to the budget "
                f"{self.budget}, not preset {self.preset!r} and headline {self.headline}."
            )
        for text in self.attacks:
            EventAttackSpec.parse(text)


class EventPoint(parts.Part):
    """Accuracy at one budget."""

    budget: int
    random: parts.Share = Field(description="Random moves, the worst of their draws.")
    topk: parts.Share = Field(description="The moves along one gradient, own rule, nothing confirmed.")
    worst: parts.Share = Field(description="The worst case per sample over all attacks and rules.")


class EventRow(parts.Part):
    """One attack: samples attacked, median of their smallest budgets (null for inf), and how often it was the best."""

    label: str
    attacked: int
    broke: int
    median: float | None
    best: int = Field(description="Samples of which no earlier attack found a smaller budget, and none later.")
    forward: int
    backward: int
    seconds: float


class EventPicture(parts.Part):
    """A sample before and after: strips of all bins, one below the other before, after and change, as PNG in base64."""

    index: int
    label: str
    predicted: str
    spent: int
    attack: str
    bins: int
    strip: str
    summed: str = Field(description="The same three, summed over the bins.")


class EventCard(parts.Part):
    """One audit on events, as events.json holds it."""

    kind: Literal["events"] = "events"
    schema_version: Literal[1] = 1
    hiresnn: str
    date: str
    subject: parts.Subject
    data: parts.Images = Field(description="Size: bins, polarities, height, width.")
    threat: str
    preset: str
    headline: int
    budget: int
    seed: int
    batch_size: int
    attacks: list[EventRow]
    command: str
    target: str | None
    environment: dict[str, Any]
    clean: parts.Share
    curve: list[EventPoint]
    smallest: list[int | None] = Field(description="Smallest budget of every sample; null where nothing broke it.")
    median: float | None = Field(description="Median of the smallest budgets of the samples that are right at first.")
    zero_gradients: float = Field(description="Share of the samples whose own gradient is exactly zero.")
    checks: list[parts.Check]
    verdict: parts.Verdict
    conclusion: str
    reasons: list[str]
    gallery: list[EventPicture]

    def _repr_html_(self) -> str:
        """What a notebook shows: the sentence to report, the curve, and up to three samples, summed over the bins."""
        pictures = [
            f"{parts.inline(picture.summed, 'before, after and change', 84)} {escape(picture.label)} read as "
            f"{escape(picture.predicted)} after {picture.spent:,} events"
            for picture in self.gallery[:3]
        ]
        columns = ("budget", "worst case, %", "random moves, %")
        rows = [(f"{point.budget:,}", point.worst, point.random) for point in self.curve]
        return parts.notebook_view(self.conclusion, columns, rows, pictures)


def standing(smallest: Tensor, budget: int) -> parts.Share:
    """The share of samples that nothing breaks within the budget."""
    return share(int((smallest > budget).sum()), len(smallest))


class Search:
    """The smallest budget of every sample so far, and what each attack found and cost."""

    def __init__(
        self, network: InstrumentedModel, grids: Tensor, labels: Tensor, config: EventConfig, cache: Units,
        progress: Progress,
    ) -> None:  # fmt: skip
        self.network, self.grids, self.labels, self.config = network, grids, labels, config
        self.threat, self.cache, self.progress = parse_threat(config.threat, config.grid), cache, progress
        self.smallest, self.made = torch.full((len(grids),), torch.inf), grids.cpu().clone()
        self.by = [""] * len(grids)  # label of the attack that found the smallest budget
        self.found: dict[str, Tensor] = {}  # label -> smallest budget of each sample that it attacked
        self.costs: dict[str, Cost] = {}

    def run(self, text: str, rule: str = OWN, first: int | None = None) -> Tensor:
        """Run an attack under a rule on all samples, or on the first ones; return the budgets that it found."""
        label = text if rule == OWN else f"{text}, {rule}"
        self.task.advance(1, label)
        self.costs[label], budgets = Cost(), []
        for rows in torch.split(torch.arange(len(self.grids))[:first], self.config.batch_size):
            key = f"{label} {rows[0]}-{rows[-1] + 1}"
            record = unit(self.network, self.cache, self.config.seed, key, partial(self._attacked, text, rule, rows))
            spent, adversarial = torch.from_numpy(record["budget"]), torch.from_numpy(record["adversarial"])
            better = spent < self.smallest[rows]
            self.smallest[rows[better]], self.made[rows[better]] = spent[better], adversarial[better].to(self.made)
            for sample in rows[better & (spent > 0)].tolist():
                self.by[sample] = label
            self.costs[label].add(cost_of(record))
            budgets.append(spent)
        self.found[label] = torch.cat(budgets)
        return self.found[label]

    def _attacked(self, text: str, rule: str, rows: Tensor) -> Record:
        """Smallest budgets of a batch under an attack and a rule, and its grids."""
        attack, rows = EventAttackSpec.parse(text), rows.to(self.grids.device)
        grids, labels, budget = self.grids[rows], self.labels[rows], self.config.budget
        with self.network.under(rule):
            found = attack(self.network, grids, labels, threat=self.threat, budget=budget)
        return {"budget": found.budgets.cpu().numpy(), "adversarial": found.grids.byte().cpu().numpy()}

    def preset(self, plan: Preset) -> tuple[tuple[Tensor, Tensor], ...]:
        """Run all attacks; return budgets of the gradient attacks beside those of the search, and of random moves."""
        rules = [rule for rule in RULES if self.network.takes(rule)]
        guided = (f"guided(targets={plan.targets})", *["relaxed"] * isinstance(self.threat, Retiming))
        selected = min(plan.rules, 1 + len(rules))
        total = 3 + len(rules) + selected * len(guided) + len(self.config.attacks)  # random, own rule, search
        with self.progress.task("audit on events", total, "attacks") as self.task:
            random = self.run(RANDOM)
            if bool((random == 0).all()):
                raise UsageError(f"the network is right on none of {len(random)} samples; check grids and classes.")
            swept = {rule: self.run(BASE, rule) for rule in (OWN, *rules)}
            ranked = torch.stack(list(swept.values())).clamp(max=self.config.budget + 1)
            wins = torch.bincount(ranked.argmin(0)[swept[OWN] > 0], minlength=len(swept))
            for row in wins.argsort(descending=True, stable=True)[: plan.rules].tolist():
                for text in guided:
                    self.run(text, list(swept)[row])
            for text in self.config.attacks:
                self.run(text)
            by_gradient = torch.stack([budgets for label, budgets in self.found.items() if label != RANDOM]).amin(0)
            searched = self.run("search(candidates=32)", first=plan.searched)
        return (by_gradient[: len(searched)], searched), (by_gradient, random)

    def rows(self) -> list[EventRow]:
        """The attacks in the order they ran."""
        rows = []
        for label, budgets in self.found.items():
            attacked, cost = budgets[budgets > 0], self.costs[label]
            rows.append(
                EventRow(
                    label=label, attacked=len(attacked), broke=int(attacked.isfinite().sum()), median=_median(attacked),
                    best=self.by.count(label), forward=cost.forward, backward=cost.backward,
                    seconds=round(cost.seconds, 2),
                )
            )  # fmt: skip
        return rows


@with_gradients
def audit_events(
    model: Model,
    grids: Tensor,
    labels: Tensor,
    config: EventConfig | None = None,
    *,
    about: build_card.About | None = None,
    folder: Path | str | None = None,
    progress: Progress | None = None,
) -> EventCard:
    """Audit a network on event grids [B, T, P, H, W] with their classes [B]; return the card.

    Args:
        model: event grids -> logits [B, K]. about: what the card says beside the result.
        folder: where to write events.json and events.npz, and to keep finished work, with which the same audit
            continues after an interruption. None writes nothing.

    Raises:
        UsageError: grids, labels or settings that cannot be used, or a network that is right on no sample.
        AttackError: an attack spent more than it says.
    """
    config, about = config or EventConfig(), about or build_card.About(classes=None, data="event grids")
    threat = parse_threat(config.threat, config.grid)
    require_grids(grids, labels, threat.grid)
    network = InstrumentedModel(model, grids)
    identity = (2, str(threat), network.weights, network.digest, config.budget, config.seed, config.batch_size)
    data = about.identity or (fingerprint([("grids", grids), ("labels", labels)]),)
    work = f"cache-{seed_of(0, repr((identity, data))):016x}"
    cache: Units = ArrayCache(Path(folder) / work) if folder else dict[str, Record]()
    search = Search(network, grids, labels, config, cache, progress or Progress(quiet=True))
    named = build_card.heading(network, about, grids)
    with frozen(network):
        blind = search.preset(PRESETS[config.preset])
        slopes = [loss_gradient(network, *batch, margin).gradient for batch in _batches(grids, labels)]
        zero, checks = float((torch.cat(slopes).flatten(1) == 0).all(1).float().mean()), network.checks(0)
        gallery = _gallery(search, named["data"].classes)
    smallest, base, random = search.smallest, search.found[BASE], search.found[RANDOM]
    right, total = smallest > 0, len(grids)
    curve = [
        EventPoint(budget=k, random=standing(random, k), topk=standing(base, k), worst=standing(smallest, k))
        for k in sorted({*(k for k in LADDER if k <= config.budget), config.headline, config.budget})
    ]
    verdict, sentence, reasons = conclude(curve, config, blind, zero, checks, threat)
    card = EventCard(
        **named,
        threat=str(threat), preset=config.preset, headline=config.headline, budget=config.budget, seed=config.seed,
        batch_size=config.batch_size, attacks=search.rows(), command=about.command, target=about.target,
        clean=share(int(right.sum()), total), curve=curve,
        smallest=[None if value == np.inf else int(value) for value in smallest.tolist()],
        median=_median(smallest[right]), zero_gradients=zero, checks=checks, verdict=verdict,
        conclusion=sentence, reasons=reasons, gallery=gallery,
    )  # fmt: skip
    if folder is not None:
        broken = (right & smallest.isfinite()).nonzero()[:, 0]
        arrays = {"index": broken, "budget": smallest[broken].long(), "label": labels.cpu()[broken]}
        arrays |= {"adversarial": search.made[broken].byte(), "clean": grids.cpu()[broken].byte()}
        write_atomically(Path(folder) / ARCHIVE, packed({name: value.numpy() for name, value in arrays.items()}))
        write_atomically(Path(folder) / CARD, (card.model_dump_json(indent=2) + "\n").encode())
    return card


def _median(budgets: Tensor) -> float | None:
    """The upper median of budgets; None for inf."""
    median = float(budgets.quantile(0.5, interpolation="higher")) if len(budgets) else np.inf
    return None if median == np.inf else median


def conclude(
    curve: Sequence[EventPoint],
    config: EventConfig,
    blind: tuple[tuple[Tensor, Tensor], ...],
    zero: float,
    checks: Sequence[parts.Check],
    threat: Threat,
) -> tuple[parts.Verdict, str, list[str]]:
    """Return the verdict on the gradient alone, the sentence with the number to report, and the reasons.

    `blind` holds the smallest budgets of gradient attacks beside those of the search, and beside those of chance.
    """
    point = next(point for point in curve if point.budget == config.headline)
    worst, base = point.worst, point.topk
    severe, failures = build_card.severe_faults(checks), []
    for name, (gradient, other) in zip(("the search without gradients", "chance"), blind, strict=True):
        more, fewer = int((other < gradient).sum()), int((gradient < other).sum())
        if build_card.significantly_more(more, fewer):
            failures.append(f"{name} needs less than every gradient attack on {more} samples, more on {fewer}")
    if zero > build_card.HALF:
        failures.append(f"the own gradient is exactly zero on {100 * zero:.0f} % of the samples")
    unbroken = curve[-1].worst.count
    reasons = [*severe, *(f"this audit: {failure}" for failure in failures)]
    if unbroken > build_card.SOME * max(curve[0].worst.count, 1):
        standing = f"{unbroken} samples stand" if unbroken > 1 else "1 sample stands"
        reasons.append(f"{standing} at the largest budget, {config.budget}, and may break at a larger one")
    if 0 < zero <= build_card.HALF:
        reasons.append(f"the own gradient is exactly zero on {100 * zero:.0f} % of the samples")
    gap, at = base.count - worst.count, "with " + threat.words(config.headline)
    interval = f"{worst.percent:.1f} % ({worst.low:.1f}-{worst.high:.1f})"
    if severe or failures:
        return "unreliable", f"Report no number {at}: {(severe or failures)[0]}.", reasons
    if build_card.overestimates(base, worst):
        reasons.append(f"confirmed moves and other rules break {gap} samples that the gradient alone leaves")
        return "overestimated", f"Report at most {interval}, not {base.percent:.1f} %, {at}.", reasons
    return "agrees", f"Report at most {interval} {at}; the gradient alone says {base.percent:.1f} %.", reasons


ON, OFF = (0.84, 0.37, 0.0), (0.0, 0.45, 0.70)  # vermillion and blue of Okabe and Ito, on white


def coloured(counts: Tensor) -> Tensor:
    """Grids [..., P, H, W] of any sign as colours [..., 3, H, W]: darker (polarity 0) is blue, brighter vermillion."""
    share = counts.abs() / counts.abs().amax((-3, -2, -1), keepdim=True).clamp(min=1)
    ink = torch.tensor([OFF, ON])[: counts.shape[-3]]
    return 1 - torch.einsum("...phw,pc->...chw", share[..., :2, :, :], 1 - ink).clamp(0, 1)


@torch.no_grad()
def _gallery(search: Search, classes: Sequence[str]) -> list[EventPicture]:
    """Broken samples from the smallest budget to the largest."""
    smallest = torch.where(search.smallest.isfinite(), search.smallest, 0).long().tolist()
    pictures = []
    for sample in build_card.choose_pictures(smallest, search.config.budget, PICTURES):
        before, after = search.grids[sample].cpu(), search.made[sample]
        answer = int(search.network(after[None].to(search.grids)).argmax(1))
        strips = [torch.cat(list(coloured(row)), 2) for row in (before, after, after - before)]
        gap = torch.full((3, 1, strips[0].shape[2]), 0.6)
        strip = torch.cat([strips[0], gap, strips[1], gap, strips[2]], 1)
        summed = torch.cat([coloured(row.sum(0)) for row in (before, after, (after - before).abs())], 2)
        pictures.append(
            EventPicture(
                index=sample, label=classes[int(search.labels[sample])], predicted=classes[answer],
                spent=smallest[sample], attack=search.by[sample], bins=len(before), strip=build_card.png(strip),
                summed=build_card.png(summed),
            )
        )  # fmt: skip
    return pictures


@torch.no_grad()
def verify_events(card: EventCard, path: Path, model: Model, data: tuple[Tensor, Tensor] | None = None) -> Verification:
    """Count every budget of the archive again, ask the network again, and compare both with the card.

    `data` are the audited grids and labels in the order of the audit; without them it is not checked that the archived
    samples are theirs, nor the clean accuracy.
    """
    arrays = read_archive(path, FIELDS, 5)
    clean, adversarial = (torch.from_numpy(arrays[name]).float() for name in ("clean", "adversarial"))
    labels, budgets = (torch.from_numpy(arrays[name]).long() for name in ("label", "budget"))
    index, count, problems = arrays["index"].tolist(), len(labels), list[str]()

    def require(holds: bool, fault: str) -> None:
        problems.extend([] if holds else [fault])

    require(card.subject.fingerprint == weights_of(model), "the network's weights are not those that the card names")
    try:
        spent = recount(parse_threat(card.threat), clean, adversarial, budgets, card.budget)
        require(torch.equal(spent, budgets), "the archived grids spend other budgets than the archive says")
    except AttackError as error:
        problems.append(str(error))
    stated = {sample: value for sample, value in enumerate(card.smallest) if value}
    same = dict(zip(index, budgets.tolist(), strict=True)) == stated
    require(same, "the smallest budgets of the card are not those of the archive")
    smallest = torch.tensor([np.inf if value is None else value for value in card.smallest])
    for k, worst in ((point.budget, point.worst) for point in card.curve):
        require(worst == standing(smallest, k), f"the share of the card at budget {k} is not that of its samples")
    wrong, right = count - _right(model, clean, labels), _right(model, adversarial, labels)
    require(not wrong, f"{wrong} of {count} archived samples are misclassified without an attack")
    require(not right, f"{right} of {count} adversarial samples are classified correctly")
    unchecked = [
        "that no attack finds a smaller budget: none is repeated",
        "random moves, the gradient alone, the cost",
    ]
    if data is None:
        unchecked.append("clean accuracy, and that the archived samples are those of the data set")
    else:
        grids, truth = data
        same = len(grids) == card.data.images and torch.equal(grids[index], clean) and torch.equal(truth[index], labels)
        require(same, "the archived samples are not those of the data set at their positions")
        right, said = _right(model, grids, truth), card.clean.count
        require(right == said, f"the network is right on {right} samples, the card says {said}")
    return Verification(count, tuple(problems), tuple(unchecked), data is not None)


def _right(model: Model, grids: Tensor, labels: Tensor) -> int:
    """How many samples the network answers correctly."""
    with frozen(model):
        return sum(int(correct(model(part), of).sum()) for part, of in _batches(grids, labels))


def _batches(grids: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(grids, 50), torch.split(labels, 50), strict=True)
